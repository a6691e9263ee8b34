"""Families of tags and the order inside one (watching.md §7.6, §7.7 with B1, B2, B3 of §18).

Two tags are of one family when their shapes have the same number of segments and their suffixes the same words. The
*natural order* compares such tags by number where the plain version order would compare text (`-ls99`, `-ls100`).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from drydock.core.tags import version
from drydock.core.tags.shape import Family, Shape, suffix_template
from drydock.core.tags.shape import parse as parse_shape

Mismatch = Literal["segment-count", "suffix-family", "prerelease", "family-prefix", "zero-padding"]

Rank = tuple[tuple[int, ...], bool, tuple[int, ...]]

_WORDS = re.compile(r"[a-z]+")
_NUMBERS = re.compile(r"[0-9]+")
_PRERELEASE = re.compile(
    r"[-._]?(?:rc|alpha|beta|pre|preview|dev|next|canary|snapshot)(?:[-._]?[0-9]+)*",
    re.IGNORECASE,
)
CALENDAR_FROM = 1000


@lru_cache(maxsize=8192)
def _words(suffix: str) -> tuple[str, ...]:
    return tuple(_WORDS.findall(suffix.lower()))


def is_prerelease_suffix(suffix: str) -> bool:
    """Whether a suffix only says prerelease: `-rc.1`, `beta2`, `.dev`."""
    return _PRERELEASE.fullmatch(suffix) is not None


@lru_cache(maxsize=8192)
def suffixes_match(current: str, candidate: str, *, widened: bool = False) -> bool:
    """Whether a candidate's suffix stays in the family: the same words in the same order (B2).

    An empty suffix only follows an empty one; `widened` lets a release follow its own prereleases (§7.8).
    """
    if not current or not candidate:
        return current == candidate or (widened and not candidate and is_prerelease_suffix(current))
    return _words(current) == _words(candidate)


def mismatch(current: Shape, candidate: Shape, family: Family, *, widened: bool = False) -> Mismatch | None:
    """The first rule of §7.6 that the candidate breaks, None for a member of the family."""
    if len(candidate.segments) != len(current.segments):
        return "segment-count"
    if not suffixes_match(current.suffix, candidate.suffix, widened=widened):
        fresh = not current.suffix and is_prerelease_suffix(candidate.suffix)
        return "prerelease" if fresh else "suffix-family"
    if family == "loose":
        return None
    if candidate.prefix != current.prefix:
        return "family-prefix"
    # A calendar year in front says that the padding is a month's or a day's.
    if current.numbers[0] < CALENDAR_FROM and any(
        padded(new) and not padded(current.segments[i]) for i, new in enumerate(candidate.segments)
    ):
        return "zero-padding"
    return None


def padded(segment: str) -> bool:
    """Whether a number is written with leading zeros."""
    return segment[0] == "0" and len(segment) > 1


@lru_cache(maxsize=8192)
def _suffix_numbers(suffix: str) -> tuple[int, ...]:
    return tuple(map(int, _NUMBERS.findall(suffix)))


def natural_compare(a: Shape | None, b: Shape | None, *, bare_above_prerelease: bool = False) -> int | None:
    """Order of two family members by their numbers (B1); None where it does not apply.

    Different suffix templates compare equal; with `bare_above_prerelease` (§7.8) a release beats its prerelease.
    """
    if a is None or b is None or len(a.numbers) != len(b.numbers):
        return None
    related = suffixes_match(a.suffix, b.suffix) or (
        bare_above_prerelease
        and (suffixes_match(a.suffix, b.suffix, widened=True) or suffixes_match(b.suffix, a.suffix, widened=True))
    )
    if not related:
        return None
    if a.numbers != b.numbers:
        return 1 if a.numbers > b.numbers else -1
    if a.template == b.template:
        x, y = _suffix_numbers(a.suffix), _suffix_numbers(b.suffix)
        return (x > y) - (x < y)
    if bare_above_prerelease:
        return (not a.suffix and is_prerelease_suffix(b.suffix)) - (not b.suffix and is_prerelease_suffix(a.suffix))
    return 0


def rank_key(shape: Shape | None, template: str) -> Rank:
    """First part of the order of §7.7, descending: segments, the running tag's template first, suffix numbers.

    Version and name break the remaining ties.
    """
    if shape is None:
        return (), False, ()
    same = suffix_template(shape.suffix) == template
    numbers = shape.numbers
    while numbers and numbers[-1] == 0:
        numbers = numbers[:-1]
    return numbers, same, _suffix_numbers(shape.suffix) if same else ()


def severity(local: str, remote: str) -> version.Diff | None:
    """Difference of two transformed tags, falling back to the natural order's first differing segment (B1)."""
    plain = version.diff(local, remote)
    if plain is not None:
        return plain
    a, b = parse_shape(local), parse_shape(remote)
    if a is None or b is None or not natural_compare(a, b):
        return None
    return version.first_difference(a.numbers, b.numbers) or "prerelease"
