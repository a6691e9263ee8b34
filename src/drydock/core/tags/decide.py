"""The choice of an update candidate from a tag list (watching.md §7.5–7.8, 7.10, 7.11), with its reasons.

`decide` walks the decision tree of §7.5 once. The result does not depend on the order of the list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import nlargest

import msgspec

from drydock.core.model import UpdateInsight
from drydock.core.tags import rules, sift
from drydock.core.tags.family import natural_compare, severity
from drydock.core.tags.sift import Member, Removals, Test
from drydock.core.tags.subject import Current, TagSubject, compile_subject
from drydock.core.tags.suggest import suggested_tag
from drydock.core.tags.version import Part, first_difference, greater
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
class _Verdict:
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
_Branch = Callable[[list[str], Current, Removals], _Verdict]


def decide(tags: Iterable[str], subject: TagSubject) -> TagDecision:
    """Decide about a tag list. Never raises: filters that cannot be used are ignored with a warning."""
    current = compile_subject(subject)
    listed = list(dict.fromkeys(tags))
    removals = Removals()
    considered = sift.filtered(listed, current, removals)
    verdict = _branch(current)(considered, current, removals)
    kept = [member.tag for member in verdict.kept]
    return TagDecision(
        rule=verdict.rule,
        trace=_trace(len(listed), len(considered), removals, kept),
        candidate=kept[0] if kept else None,
        downgrade=bool(kept) and _is_lower(verdict.kept[0], current),
        insight=verdict.insight,
        suggested=suggested_tag(listed, current),
        reason_code=verdict.reason_code,
        outside=verdict.outside,
        no_update_reason=_reason_text(verdict, current),
        warnings=[*current.warnings, *verdict.warnings, *_recovery_warning(current)],
    )


def _branch(current: Current) -> _Branch:
    """The branch of §7.5: versions climb; loose tags with a shape climb too (B3); the rest needs a filter."""
    if current.version is None and not (current.family == "loose" and current.shape is not None):
        return _by_include if current.has_include else _without_version
    if current.family != "loose" and current.precision == "floating":
        return _floating
    return _pinned if current.pin_gated else _climb


def _without_version(tags: list[str], current: Current, removals: Removals) -> _Verdict:
    """Step 2: digest only; a tag with a shape (`22.04`) still learns what is newer."""
    if current.shape is None:
        _remove_all(rules.NO_INCLUDE, tags, current, removals)
        return _Verdict(rules.NO_INCLUDE, [])
    newer = _newer_members(tags, current, removals, rules.FLOATING_TAG)
    code = rules.FLOATING_NO_DIGEST if not current.subject.digest_watch else None
    return _Verdict(rules.NO_INCLUDE, [], insight=_insight(newer, current), reason_code=code)


def _by_include(tags: list[str], current: Current, removals: Removals) -> _Verdict:
    """Step 3: the filter alone decides, there is nothing to compare with."""
    any_version = Test(family=current.family, prefix=False, any_order=True)
    kept = sift.ordered(sift.members(tags, _without_shape(current), any_version, removals), current)
    warning = f"{current.subject.tag} is no version: the best tag that dd.tag.include allows is offered"
    return _Verdict(rules.INCLUDE_ONLY if kept else rules.NOTHING_LEFT, kept, warnings=(warning,))


def _floating(tags: list[str], current: Current, removals: Removals) -> _Verdict:
    """Step 4: a floating tag in a strict family is followed by digest only, also with an include filter (B16)."""
    newer = _newer_members(tags, current, removals, rules.FLOATING_TAG)
    code = None
    if not current.subject.digest_watch:
        code = rules.FLOATING_NO_DIGEST
    elif current.has_include and newer:
        code = rules.FLOATING_FILTER
    outside = len(removals.by_rule.get(rules.FLOATING_TAG, ())) if code == rules.FLOATING_FILTER else 0
    return _Verdict(rules.FLOATING_TAG, [], _insight(newer, current), code, outside)


def _pinned(tags: list[str], current: Current, removals: Removals) -> _Verdict:
    """Step 5: the pin gate."""
    newer = _newer_members(tags, current, removals, rules.PINNED_TAG)
    code = rules.PINNED_NO_DIGEST if not current.subject.digest_watch else None
    return _Verdict(rules.PINNED_TAG, [], _insight(newer, current), code)


def _climb(tags: list[str], current: Current, removals: Removals) -> _Verdict:
    """Step 6: the newest member of the family."""
    recovers = current.recovers
    test = Test(
        family=current.family,
        prefix=not current.has_include,
        any_order=recovers,
        versions_only=current.version is not None,
    )
    kept = sift.ordered(sift.members(tags, current, test, removals), current)
    if kept:
        return _Verdict(rules.RECOVERY if recovers else rules.NEWEST, kept)
    return _nothing(tags, current, removals)


def _nothing(tags: list[str], current: Current, removals: Removals) -> _Verdict:
    if not tags:
        warning = f"No tag passed the filters of {current.subject.tag}: check dd.tag.include and dd.tag.exclude"
        return _Verdict(rules.NOTHING_LEFT, [], warnings=(warning,))
    if not _family_reached(current, removals):
        warning = f"No tag belongs to the family of {current.subject.tag}"
        return _Verdict(rules.NOTHING_NEWER, [], warnings=(warning,))
    outside = sift.greater_outside(removals, current) if current.family == "strict" else 0
    if outside:
        return _Verdict(rules.OUTSIDE_FAMILY, [], reason_code=rules.STRICT_FAMILY, outside=outside)
    return _Verdict(rules.NOTHING_NEWER, [])


def _family_reached(current: Current, removals: Removals) -> bool:
    """Some tag of the list passed the family test (often the running tag itself)."""
    return current.family == "loose" or any(
        removals.by_rule.get(rule) for rule in (rules.RUNNING_TAG, rules.NOT_GREATER)
    )


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
    step = severity(current.text, best.text) or _numbers_step(best, current)
    return UpdateInsight(tag=best.tag, kind=_INSIGHT_KIND.get(step, "patch"))


def _numbers_step(best: Member, current: Current) -> str | None:
    if best.shape is None or current.shape is None:
        return None
    return first_difference(best.shape.numbers, current.shape.numbers)


def _without_shape(current: Current) -> Current:
    """Step 3 compares with nothing: no family, no running shape."""
    return Current(
        subject=current.subject,
        text=current.text,
        version=None,
        shape=None,
        prefix="",
        precision=current.precision,
        family=current.family,
        include=current.include,
        exclude=current.exclude,
        transform=current.transform,
    )


def _remove_all(rule: str, tags: list[str], current: Current, removals: Removals) -> None:
    for tag in tags:
        removals.add(rules.RUNNING_TAG if tag == current.subject.tag else rule, tag)


def _is_lower(member: Member, current: Current) -> bool:
    if current.version is None:
        return False
    natural = natural_compare(member.shape, current.shape)
    return natural < 0 if natural is not None else greater(current.text, member.text)


def _recovery_warning(current: Current) -> list[str]:
    if not current.recovers:
        return []
    return [f"dd.tag.include does not match the running tag {current.subject.tag}: a lower tag may be offered"]


def _reason_text(verdict: _Verdict, current: Current) -> str | None:
    if verdict.reason_code is None:
        return None
    tag, shown = current.subject.tag, verdict.insight is not None
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
            f"{verdict.outside} newer tag(s) match the include filter, but {tag} is a floating tag and only followed "
            "by digest. Set dd.tag.family=loose to climb."
        ),
        rules.STRICT_FAMILY: (
            f"{verdict.outside} higher tag(s) are outside the family of {tag}. Set dd.tag.family=loose to widen it."
        ),
    }[verdict.reason_code]


def _trace(listed: int, considered: int, removals: Removals, kept: list[str]) -> TagTrace:
    counts = {rule: len(tags) for rule, tags in sorted(removals.by_rule.items())}
    return TagTrace(
        listed=listed,
        considered=considered,
        removed=_shown(removals),
        removed_total=sum(counts.values()),
        removed_by_rule=counts,
        kept=kept[:REMOVED_SHOWN],
        chosen=kept[0] if kept else None,
    )


def _shown(removals: Removals) -> list[RemovedTag]:
    """At most 200 entries, an equal share for every rule so that none hides the others."""
    share = REMOVED_SHOWN // max(1, len(removals.by_rule))
    return [
        RemovedTag(tag=tag, rule=rule, reason=rules.REMOVAL[rule])
        for rule in rules.REMOVAL
        for tag in nlargest(share, removals.by_rule.get(rule, ()))
    ]


def comparison_tag(tags: Iterable[str], subject: TagSubject) -> str | None:
    """The tag whose digest a container running by digest is compared with (§7.10); None when the list has none."""
    current = compile_subject(subject)
    listed = [tag for tag in tags if tag and not tag.startswith("sha") and not tag.endswith(".sig")]
    allowed = [tag for tag in listed if _passes(tag, current)]
    latest = next((tag for tag in sorted(allowed) if tag.lower() == "latest"), None)
    return latest or suggested_tag(allowed, current, running="latest") or max(allowed, default=None)


def _passes(tag: str, current: Current) -> bool:
    if current.include is not None and not current.include.matches(tag):
        return False
    return current.exclude is None or not current.exclude.matches(tag)
