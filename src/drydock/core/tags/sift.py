"""Two passes over a tag list: the filters (watching.md §7.5.1), then membership and order (§7.5.6, §7.8).

Every removed tag is noted with the id of the rule that removed it. The list may have 25,000 entries: each tag is
looked at once per pass, and only survivors are parsed as versions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from drydock.core.tags import rules
from drydock.core.tags import shape as shapes
from drydock.core.tags import version as versions
from drydock.core.tags.family import Mismatch, Rank, mismatch, natural_compare, padded, rank_key
from drydock.core.tags.shape import Family, Shape
from drydock.core.tags.subject import Current
from drydock.core.trace import REMOVED_SHOWN


@dataclass(slots=True)
class Removals:
    """Which rule removed which tags."""

    by_rule: dict[str, list[str]] = field(default_factory=dict)

    def add(self, rule: str, tag: str) -> None:
        """Note one removed tag."""
        self.by_rule.setdefault(rule, []).append(tag)


class Member(msgspec.Struct, frozen=True, gc=False):
    """A tag of the running tag's family: raw name, transformed text, shape."""

    tag: str
    text: str
    shape: Shape | None


@dataclass(frozen=True, slots=True)
class Test:
    """How members are tested: the three callers of the family test differ in these switches only."""

    family: Family
    prefix: bool
    widened: bool = False
    any_order: bool = False
    versions_only: bool = True


def filtered(tags: Iterable[str], current: Current, removals: Removals) -> list[str]:
    """Step 1: include, or no `sha…`; exclude; no `.sig`."""
    include, exclude = current.include, current.exclude
    drop_sha = not current.has_include
    kept = []
    for tag in tags:
        if include is not None and not include.matches(tag):
            removals.add(rules.INCLUDE_REGEX, tag)
        elif (drop_sha and tag.startswith("sha")) or tag.endswith(".sig"):
            removals.add(rules.SHA_OR_SIGNATURE, tag)
        elif exclude is not None and exclude.matches(tag):
            removals.add(rules.EXCLUDE_REGEX, tag)
        else:
            kept.append(tag)
    return kept


def members(tags: Iterable[str], current: Current, test: Test, removals: Removals) -> list[Member]:
    """Step 6: the tags that may follow the running one, in no order. The rest is noted in `removals`."""
    kept = []
    for tag in tags:
        rule = _raw_objection(tag, current, test)
        if rule is None:
            member = _parsed(tag, current)
            rule = _objection(member, current, test)
        if rule is None:
            kept.append(member)
        else:
            removals.add(rule, tag)
    return kept


def _parsed(tag: str, current: Current) -> Member:
    text = current.transform.apply(tag)
    return Member(tag, text, shapes.parse(text))


def _raw_objection(tag: str, current: Current, test: Test) -> str | None:
    """What the raw tag alone decides, before anything is parsed."""
    if tag == current.subject.tag and not test.any_order:
        return rules.RUNNING_TAG
    return rules.PREFIX if test.prefix and not has_prefix(tag, current.prefix) else None


def _objection(member: Member, current: Current, test: Test) -> str | None:
    rule = _family_objection(member, current, test)
    if rule is not None:
        return rule
    if test.versions_only and not is_version(member):
        return rules.NOT_A_VERSION
    return None if test.any_order or is_newer(member, current, test) else rules.NOT_GREATER


def is_version(member: Member) -> bool:
    """Whether the text parses as a version: unpadded short numbers always do, the rest is parsed."""
    if member.shape is not None and all(len(part) < 16 and not padded(part) for part in member.shape.segments[:3]):
        return True
    return versions.parse(member.text) is not None


def has_prefix(tag: str, prefix: str) -> bool:
    """The raw tag begins like the running one; with nothing before the first digit it must begin with a digit."""
    return tag.startswith(prefix) if prefix else "0" <= tag[:1] <= "9"


def _family_objection(member: Member, current: Current, test: Test) -> str | None:
    if current.shape is None:
        return None
    if member.shape is None:
        return rules.NOT_A_VERSION
    found: Mismatch | None = mismatch(current.shape, member.shape, test.family, widened=test.widened)
    if found is None and test.widened and _is_same_numbers_other_variant(member.shape, current.shape):
        return rules.NOT_GREATER
    return found


def _is_same_numbers_other_variant(candidate: Shape, current: Shape) -> bool:
    """§7.8: equal segments count as newer only with the same template, or as the release of a prerelease."""
    return candidate.numbers == current.numbers and bool(candidate.suffix) and candidate.template != current.template


def is_newer(member: Member, current: Current, test: Test) -> bool:
    """Strictly greater: natural order inside a family, else the version order."""
    natural = natural_compare(member.shape, current.shape, bare_above_prerelease=test.widened)
    return natural > 0 if natural is not None else versions.greater(member.text, current.text)


def ordered(found: Iterable[Member], current: Current) -> list[Member]:
    """The best 200, best first (§7.7); the order of the registry's list never matters.

    Versions are parsed only for those that can be among them: numbers and suffix decide most of the order.
    """
    template = current.template
    keyed = sorted(((rank_key(m.shape, template), m) for m in found), key=_first, reverse=True)
    if len(keyed) > REMOVED_SHOWN:
        last = keyed[REMOVED_SHOWN - 1][0]
        keyed = [item for item in keyed if item[0] >= last]
    best = sorted(keyed, key=lambda item: (item[0], _tie_key(item[1])), reverse=True)
    return [member for _, member in best[:REMOVED_SHOWN]]


def _first(item: tuple[Rank, Member]) -> Rank:
    return item[0]


def _tie_key(member: Member) -> tuple[object, ...]:
    version = versions.parse(member.text)
    return (version.key if version else (), member.tag)


def greater_outside(removals: Removals, current: Current) -> int:
    """How many tags failed only the family test and are greater than the running one (STRICT-FAMILY)."""
    failed = [rules.SEGMENT_COUNT, rules.SUFFIX_FAMILY, rules.PRERELEASE, rules.FAMILY_PREFIX, rules.ZERO_PADDING]
    tags = [tag for rule in failed for tag in removals.by_rule.get(rule, ())]
    test = Test(family="strict", prefix=False)
    return sum(1 for tag in tags if _is_greater_version(_parsed(tag, current), current, test))


def _is_greater_version(member: Member, current: Current, test: Test) -> bool:
    return versions.parse(member.text) is not None and is_newer(member, current, test)
