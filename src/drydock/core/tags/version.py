"""Versions in tags: parsing, order and difference (watching.md §7.1, §7.2).

The parser is deliberately generous (`jdk21` is 21.0.0). Which tags may follow which is the business of `family`.
"""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from typing import Literal

import msgspec

Path = Literal["multi", "direct", "coerce"]
Diff = Literal["major", "minor", "patch", "premajor", "preminor", "prepatch", "prerelease"]
Part = Literal["major", "minor", "patch"]

MAX_NUMBER = 2**53 - 1
MAX_LENGTH = 256

_MULTI = re.compile(r"v?([0-9]+(?:\.[0-9]+){3,})")
_DIRECT = re.compile(
    r"[v=\s]*([0-9]+)\.([0-9]+)\.([0-9]+)"
    r"(?:-?([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?",
)
_COERCE = re.compile(r"(?:^|[^0-9])([0-9]{1,16})(?:\.([0-9]{1,16}))?(?:\.([0-9]{1,16}))?(?:\Z|[^0-9])")
_PARTS: tuple[Part, Part, Part] = ("major", "minor", "patch")
_PREFIXED: dict[Part, Diff] = {"major": "premajor", "minor": "preminor", "patch": "prepatch"}


class Version(msgspec.Struct, frozen=True, dict=True):
    """A version: core numbers, prerelease identifiers, and how the text was read."""

    major: int
    minor: int
    patch: int
    prerelease: tuple[int | str, ...] = ()
    path: Path = "direct"

    @property
    def core(self) -> tuple[int, int, int]:
        """(major, minor, patch)."""
        return self.major, self.minor, self.patch

    @cached_property
    def key(self) -> tuple[object, ...]:
        """Sort key of §7.2: core, then a release above its prereleases, integers below texts, shorter lists lower."""
        pre = tuple((0, item, "") if isinstance(item, int) else (1, 0, item) for item in self.prerelease)
        return (*self.core, not self.prerelease, pre)

    def __str__(self) -> str:
        core = f"{self.major}.{self.minor}.{self.patch}"
        return f"{core}-{'.'.join(map(str, self.prerelease))}" if self.prerelease else core


@lru_cache(maxsize=4096)
def parse(text: str) -> Version | None:
    """Read a version from a (transformed) tag, or None. Never raises."""
    if len(text) > MAX_LENGTH:
        return None
    if match := _MULTI.fullmatch(text):
        numbers = [int(part) for part in match[1].split(".")]
        if found := _version(numbers[:3], tuple(numbers[3:]), "multi"):
            return found
    if match := _DIRECT.fullmatch(text.strip()):
        identifiers = match[4].split(".") if match[4] else []
        prerelease = tuple(int(item) if item.isdigit() else item for item in identifiers)
        if found := _version([int(part) for part in match.groups()[:3]], prerelease, "direct"):
            return found
    if match := _COERCE.search(text):
        parts = [part or "0" for part in match.groups()]
        if not any(len(part) > 1 and part[0] == "0" for part in parts):
            return _version([int(part) for part in parts], (), "coerce")
    return None


def _version(core: list[int], prerelease: tuple[int | str, ...], path: Path) -> Version | None:
    if max(core) > MAX_NUMBER:
        return None
    return Version(core[0], core[1], core[2], prerelease, path)


def compare(a: Version, b: Version) -> int:
    """-1, 0 or 1 by the order of §7.2."""
    return (a.key > b.key) - (a.key < b.key)


def greater(a: str, b: str) -> bool:
    """Whether `a` is a strictly higher version than `b`; False when either is none."""
    left, right = parse(a), parse(b)
    return left is not None and right is not None and compare(left, right) > 0


def diff(a: str, b: str) -> Diff | None:
    """The kind of step between two version texts, in either direction; None if equal or one is no version."""
    left, right = parse(a), parse(b)
    if left is None or right is None or compare(left, right) == 0:
        return None
    low, high = (left, right) if compare(left, right) < 0 else (right, left)
    if low.prerelease and not high.prerelease:
        # Out of a prerelease: it already announced the part that changes.
        if low.minor == 0 and low.patch == 0:
            return "major"
        if low.core == high.core:
            return "minor" if low.minor != 0 and low.patch == 0 else "patch"
    part = first_difference(low.core, high.core)
    if part is None:
        return "prerelease"
    return _PREFIXED[part] if high.prerelease else part


def first_difference(a: tuple[int, ...], b: tuple[int, ...]) -> Part | None:
    """Name of the first of the leading three numbers that differs; None if they agree."""
    return next((part for part, x, y in zip(_PARTS, a, b, strict=False) if x != y), None)
