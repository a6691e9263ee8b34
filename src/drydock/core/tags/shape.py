"""The shape of a tag, and what follows from the tag alone: precision, pinned, pin gate (watching.md §7.4)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

import msgspec

from drydock.core.tags import version

Precision = Literal["specific", "floating"]
Family = Literal["strict", "loose"]

MAX_LENGTH = 1024
ROLLING = frozenset(
    [
        "latest",
        "stable",
        "edge",
        "nightly",
        "canary",
        "rolling",
        "main",
        "master",
        "develop",
        "dev",
        "next",
        "beta",
        "alpha",
        "preview",
        "experimental",
        "test",
        "testing",
        "rc",
        "lts",
    ]
)

_SHAPE = re.compile(r"([^0-9\r\n]*)([0-9]+(?:\.[0-9]+)*)([^\r\n]*)")
_DIGITS = re.compile(r"[0-9]+")
_FIRST_TOKEN = re.compile(r"[-_.]")


class Shape(msgspec.Struct, frozen=True, gc=False):
    """Text before the first digit, the dotted numbers from there, and the rest."""

    prefix: str
    segments: tuple[str, ...]
    numbers: tuple[int, ...]
    suffix: str

    @property
    def template(self) -> str:
        """Lower-case suffix with each run of digits as `#`."""
        return suffix_template(self.suffix)


def parse(text: str) -> Shape | None:
    """The shape of a transformed tag; None without a digit, over several lines, or absurdly long."""
    match = _SHAPE.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if match is None:
        return None
    prefix, middle, suffix = match.groups()
    segments = tuple(middle.split("."))
    return Shape(prefix, segments, tuple(map(int, segments)), suffix)


@lru_cache(maxsize=8192)
def suffix_template(suffix: str) -> str:
    """`-Alpine3.19` → `-alpine#.#`."""
    return _DIGITS.sub("#", suffix.lower())


def raw_prefix(tag: str) -> str:
    """Text of a raw tag before its first digit; the whole tag when it has none."""
    match = _DIGITS.search(tag)
    return tag[: match.start()] if match else tag


def precision(text: str) -> Precision:
    """`specific` for three or more numbers of a tag that parses, else `floating`."""
    trimmed = text.strip()
    shape = parse(trimmed)
    if shape is None or version.parse(trimmed) is None:
        return "floating"
    return "specific" if len(shape.segments) >= 3 else "floating"


def is_pinned(text: str) -> bool:
    """Whether a transformed tag looks like a fixed name rather than a channel such as `latest` or `edge-slim`."""
    trimmed = text.strip().lower()
    if not trimmed or "\n" in trimmed or "\r" in trimmed:
        return False
    return trimmed not in ROLLING and _FIRST_TOKEN.split(trimmed, maxsplit=1)[0] not in ROLLING


def is_pin_gated(text: str, *, has_include: bool, family: Family) -> bool:
    """The pin gate: a specific tag without include filter in a strict family never climbs by itself."""
    return precision(text) == "specific" and not has_include and family != "loose"


def family_of(text: str | None) -> tuple[Family, bool]:
    """The family policy of a setting, and whether the text was understood (anything unknown is `strict`)."""
    word = (text or "").strip().lower()
    if word == "loose":
        return "loose", True
    return "strict", word in ("", "strict")
