"""Two passes over a tag list: the filters (watching.md §7.5.1), then membership and order (§7.5.6, §7.8).

Every removed tag is noted with the id of the rule that removed it. The list may have 25,000 entries: each tag is
looked at once per pass, and only survivors are parsed as versions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import itemgetter

import msgspec

from drydock.core.tags import rules
from drydock.core.tags import shape as shapes
from drydock.core.tags import version as versions
from drydock.core.tags.family import mismatch, natural_compare, padded, rank_key
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
        # What the raw tag alone decides comes first: nothing is parsed for it.
        if tag == current.subject.tag and not test.any_order:
            removals.add(rules.RUNNING_TAG, tag)
            continue
        if test.prefix and not has_prefix(tag, current.prefix):
            removals.add(rules.PREFIX, tag)
            continue
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


def _objection(member: Member, current: Current, test: Test) -> str | None:
    """The rule that keeps a tag from following the running one: family, version, order."""
    mine, its = current.shape, member.shape
    if mine is not None:
        if its is None:
            return rules.NOT_A_VERSION
        broken = mismatch(mine, its, test.family, widened=test.widened)
        if broken is not None:
            return broken
        # §7.8: equal segments count as newer only with the same template, or as the release of a prerelease.
        if test.widened and its.numbers == mine.numbers and its.suffix and its.template != mine.template:
            return rules.NOT_GREATER
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


def is_newer(member: Member, current: Current, test: Test) -> bool:
    """Strictly greater: natural order inside a family, else the version order."""
    natural = natural_compare(member.shape, current.shape, bare_above_prerelease=test.widened)
    return natural > 0 if natural is not None else versions.greater(member.text, current.text)


def ordered(found: Iterable[Member], current: Current) -> list[Member]:
    """The best 200, best first (§7.7); the order of the registry's list never matters.

    Versions are parsed only for those that can be among them: numbers and suffix decide most of the order.
    """
    keyed = sorted(((rank_key(m.shape, current.template), m) for m in found), key=itemgetter(0), reverse=True)
    if len(keyed) > REMOVED_SHOWN:
        last = keyed[REMOVED_SHOWN - 1][0]
        keyed = [item for item in keyed if item[0] >= last]
    best = sorted((member for _, member in keyed), key=lambda m: order_key(m, current.template), reverse=True)
    return best[:REMOVED_SHOWN]


def order_key(member: Member, template: str) -> tuple[object, ...]:
    """The whole order of §7.7, ascending; `template` is the suffix template of the running tag."""
    version = versions.parse(member.text)
    return rank_key(member.shape, template), version.key if version else (), member.tag


def greater_outside(removals: Removals, current: Current) -> int:
    """How many tags failed only the family test and are greater than the running one (STRICT-FAMILY)."""
    failed = [rules.SEGMENT_COUNT, rules.SUFFIX_FAMILY, rules.PRERELEASE, rules.FAMILY_PREFIX, rules.ZERO_PADDING]
    tags = [tag for rule in failed for tag in removals.by_rule.get(rule, ())]
    test = Test(family="strict", prefix=False)
    outside = (_parsed(tag, current) for tag in tags)
    return sum(1 for each in outside if versions.parse(each.text) is not None and is_newer(each, current, test))
