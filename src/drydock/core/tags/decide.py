"""The choice of an update candidate from a tag list (watching.md §7.5–7.8, 7.10, 7.11), with its reasons.

`decide` walks the decision tree of §7.5 once. The result does not depend on the order of the list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from heapq import nlargest

import msgspec

from drydock.core.model import UpdateInsight
from drydock.core.tags import rules, sift
from drydock.core.tags import version as versions
from drydock.core.tags.family import natural_compare, severity
from drydock.core.tags.sift import Member, Removals, Test
from drydock.core.tags.subject import Current, TagSubject, compile_subject
from drydock.core.tags.version import Part, first_difference
from drydock.core.trace import REMOVED_SHOWN, RemovedTag, TagTrace

__all__ = ["TagDecision", "TagSubject", "comparison_tag", "decide"]


class TagDecision(msgspec.Struct, frozen=True, kw_only=True):
    """What a tag list means for a container.

    `candidate` is the tag to update to, `downgrade` marks one that is lower than the running tag (B17), `insight` is
    a newer tag out of reach. `rule` (of `rules.DECISION`) is what decided; `reason_code` (of `rules.REASON`) with
    `outside` counted tags stands behind `no_update_reason`.
    """

    rule: str
    trace: TagTrace
    candidate: str | None = None
    downgrade: bool = False
    insight: UpdateInsight | None = None
    suggested: str | None = None
    reason_code: str | None = None
    outside: int = 0
    no_update_reason: str | None = None
    warnings: list[str] = []


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The outcome of one branch of the tree, before trace and texts."""

    rule: str
    kept: list[Member]
    insight: UpdateInsight | None = None
    reason_code: str | None = None
    outside: int = 0
    warnings: tuple[str, ...] = ()


_INSIGHT_KIND: dict[str | None, Part] = {
    "major": "major",
    "premajor": "major",
    "minor": "minor",
    "preminor": "minor",
}
_BARE = re.compile(r"v?[0-9]+(?:\.[0-9]+){0,2}", re.IGNORECASE)
_DATE = re.compile(r"v?[0-9]{6,}", re.IGNORECASE)


def decide(tags: Iterable[str], subject: TagSubject) -> TagDecision:
    """Decide about a tag list. Never raises: filters that cannot be used are ignored with a warning."""
    current = compile_subject(subject)
    listed = list(dict.fromkeys(tags))
    removals = Removals()
    considered = sift.filtered(listed, current, removals)
    outcome = _tree(considered, current, removals)
    warnings = [*current.warnings, *outcome.warnings]
    if current.recovers:
        warnings.append(f"dd.tag.include does not match the running tag {subject.tag}: a lower tag may be offered")
    kept = [member.tag for member in outcome.kept]
    return TagDecision(
        rule=outcome.rule,
        trace=_trace(len(listed), len(considered), removals, kept),
        candidate=kept[0] if kept else None,
        downgrade=bool(kept) and _is_lower(outcome.kept[0], current),
        insight=outcome.insight,
        suggested=suggested_tag(listed, current),
        reason_code=outcome.reason_code,
        outside=outcome.outside,
        no_update_reason=_reason_text(outcome, current),
        warnings=warnings,
    )


def _tree(tags: list[str], current: Current, removals: Removals) -> _Outcome:
    """The decision tree of §7.5: what has no version needs a filter, channels and pins wait, the rest climbs."""
    blind = not current.subject.digest_watch
    if current.version is None and not (current.family == "loose" and current.shape is not None):
        if current.has_include:
            # Step 3: the filter alone decides, for there is nothing to compare with.
            return _by_filter(tags, current, removals)
        # Step 2: digest only; a tag with a shape (`22.04`) still learns what is newer.
        if current.shape is None:
            for tag in tags:
                removals.add(rules.RUNNING_TAG if tag == current.subject.tag else rules.NO_INCLUDE, tag)
            return _Outcome(rules.NO_INCLUDE, [])
        newer = _newer_members(tags, current, removals, rules.FLOATING_TAG)
        return _Outcome(rules.NO_INCLUDE, [], _insight(newer, current), rules.FLOATING_NO_DIGEST if blind else None)
    if current.family != "loose" and current.precision == "floating":
        # Step 4: a floating tag in a strict family is followed by digest only, also with an include filter (B16).
        newer = _newer_members(tags, current, removals, rules.FLOATING_TAG)
        insight = _insight(newer, current)
        if blind:
            return _Outcome(rules.FLOATING_TAG, [], insight, rules.FLOATING_NO_DIGEST)
        if current.has_include and newer:
            beyond = len(removals.by_rule[rules.FLOATING_TAG])
            return _Outcome(rules.FLOATING_TAG, [], insight, rules.FLOATING_FILTER, beyond)
        return _Outcome(rules.FLOATING_TAG, [], insight)
    if current.pin_gated:
        # Step 5: the pin gate.
        newer = _newer_members(tags, current, removals, rules.PINNED_TAG)
        return _Outcome(rules.PINNED_TAG, [], _insight(newer, current), rules.PINNED_NO_DIGEST if blind else None)
    return _climb(tags, current, removals)


def _by_filter(tags: list[str], current: Current, removals: Removals) -> _Outcome:
    """Step 3: the best tag that the include filter allows; no family, no running shape."""
    alone = replace(current, version=None, shape=None, prefix="", warnings=[])
    any_version = Test(family=current.family, prefix=False, any_order=True)
    kept = sift.ordered(sift.members(tags, alone, any_version, removals), current)
    warning = f"{current.subject.tag} is not a version: the best tag that dd.tag.include allows is offered"
    return _Outcome(rules.INCLUDE_ONLY if kept else rules.NOTHING_LEFT, kept, warnings=(warning,))


def _climb(tags: list[str], current: Current, removals: Removals) -> _Outcome:
    """Step 6: the newest member of the family, else why there is none."""
    recovers, tag = current.recovers, current.subject.tag
    test = Test(
        family=current.family,
        prefix=not current.has_include,
        any_order=recovers,
        versions_only=current.version is not None,
    )
    kept = sift.ordered(sift.members(tags, current, test, removals), current)
    if kept:
        return _Outcome(rules.RECOVERY if recovers else rules.NEWEST, kept)
    if not tags:
        warning = f"No tag passed the filters of {tag}: check dd.tag.include and dd.tag.exclude"
        return _Outcome(rules.NOTHING_LEFT, [], warnings=(warning,))
    if current.family == "loose":
        return _Outcome(rules.NOTHING_NEWER, [])
    # The family is known by its other members, often by the running tag itself.
    if not (removals.by_rule.get(rules.RUNNING_TAG) or removals.by_rule.get(rules.NOT_GREATER)):
        return _Outcome(rules.NOTHING_NEWER, [], warnings=(f"No tag belongs to the family of {tag}",))
    outside = sift.greater_outside(removals, current)
    if outside:
        return _Outcome(rules.OUTSIDE_FAMILY, [], reason_code=rules.STRICT_FAMILY, outside=outside)
    return _Outcome(rules.NOTHING_NEWER, [])


def _newer_members(tags: list[str], current: Current, removals: Removals, gate: str) -> list[Member]:
    """Members that an open gate would let through, best first; the trace says that the gate removed them (§7.8)."""
    test = Test(family="strict", prefix=True, widened=True, versions_only=current.version is not None)
    newer = sift.members(tags, current, test, removals)
    for member in newer:
        removals.add(gate, member.tag)
    return sift.ordered(newer, current)


def _insight(newer: list[Member], current: Current) -> UpdateInsight | None:
    if not newer or not current.subject.pin_info:
        return None
    best = newer[0]
    step: str | None = severity(current.text, best.text)
    if step is None and best.shape is not None and current.shape is not None:
        step = first_difference(best.shape.numbers, current.shape.numbers)
    return UpdateInsight(tag=best.tag, kind=_INSIGHT_KIND.get(step, "patch"))


def _is_lower(member: Member, current: Current) -> bool:
    if current.version is None:
        return False
    natural = natural_compare(member.shape, current.shape)
    return natural < 0 if natural is not None else versions.greater(current.text, member.text)


def _reason_text(outcome: _Outcome, current: Current) -> str | None:
    if outcome.reason_code is None:
        return None
    tag, shown = current.subject.tag, outcome.insight is not None
    return {
        rules.FLOATING_NO_DIGEST: (
            f"Digest watching is off for this container, so rebuilds of the floating tag {tag} are not noticed. "
            "Remove dd.watch.digest=false, or set dd.tag.family=loose to follow newer tags."
        ),
        rules.PINNED_NO_DIGEST: (
            f"{tag} is a pinned tag and digest watching is off, so there is no {'actionable ' if shown else ''}"
            "update detection. Remove dd.watch.digest=false, or set dd.tag.include or dd.tag.family=loose."
        ),
        rules.FLOATING_FILTER: (
            f"{outcome.outside} newer tag(s) match the include filter, but {tag} is a floating tag and only followed "
            "by digest. Set dd.tag.family=loose to climb."
        ),
        rules.STRICT_FAMILY: (
            f"{outcome.outside} higher tag(s) are outside the family of {tag}. Set dd.tag.family=loose to widen it."
        ),
    }[outcome.reason_code]


def _trace(listed: int, considered: int, removals: Removals, kept: list[str]) -> TagTrace:
    counts = {rule: len(tags) for rule, tags in sorted(removals.by_rule.items())}
    # At most 200 entries, an equal share for every rule so that none hides the others.
    share = REMOVED_SHOWN // max(1, len(counts))
    shown = [
        RemovedTag(tag=tag, rule=rule, reason=rules.REMOVAL[rule])
        for rule in rules.REMOVAL
        for tag in nlargest(share, removals.by_rule.get(rule, ()))
    ]
    return TagTrace(
        listed=listed,
        considered=considered,
        removed=shown,
        removed_total=sum(counts.values()),
        removed_by_rule=counts,
        kept=kept[:REMOVED_SHOWN],
        chosen=kept[0] if kept else None,
    )


def suggested_tag(tags: Iterable[str], current: Current, *, running: str | None = None) -> str | None:
    """The tag to pin to when a container runs `latest` (§7.11): the highest stable version of the list.

    Bare numbers of six digits and more are taken for dates and lose against anything else (B13). `running` stands in
    for the running tag where a digest has none (§7.10).
    """
    tag = current.subject.tag if running is None else running
    if tag.strip().lower() not in ("", "latest"):
        return None
    found = []
    for name in filter(current.allows, tags):
        version = versions.parse(name)
        if version is None or version.prerelease or (version.path == "coerce" and not _BARE.fullmatch(name)):
            continue
        found.append((version.core, name))
    best = max([item for item in found if not _DATE.fullmatch(item[1])] or found, default=None)
    return best[1] if best else None


def comparison_tag(tags: Iterable[str], subject: TagSubject) -> str | None:
    """The tag whose digest a container running by digest is compared with (§7.10); None when the list has none."""
    current = compile_subject(subject)
    listed = [tag for tag in tags if tag and not tag.startswith("sha") and not tag.endswith(".sig")]
    allowed = list(filter(current.allows, listed))
    latest = next((tag for tag in sorted(allowed) if tag.lower() == "latest"), None)
    return latest or suggested_tag(allowed, current, running="latest") or max(allowed, default=None)
