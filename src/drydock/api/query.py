"""Reading the query string and cutting pages, for every list alike (container-api.md §1.11, §1.12)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, TypeVar
from urllib.parse import parse_qsl, urlencode

T = TypeVar("T")

_INTEGER = re.compile(r"\s*([+-]?\d+)")
_DIGITS = 18
"""Longer numbers are cut: they are clamped anyway."""


class Query:
    """Parameters in their original order; the first value of a repeated one counts, trimmed."""

    def __init__(self, raw: bytes) -> None:
        self.items = parse_qsl(raw.decode("latin-1"), keep_blank_values=True, errors="replace") if raw else []

    def text(self, name: str) -> str | None:
        """The first value, trimmed; None when absent."""
        return next((value.strip() for key, value in self.items if key == name), None)

    def every(self, name: str) -> list[str]:
        """All values of a repeated parameter."""
        return [value for key, value in self.items if key == name]

    def flag(self, name: str, default: bool = False) -> bool:
        """Exactly `true` or `false`; anything else is the default."""
        return {"true": True, "false": False}.get(self.text(name) or "", default)

    def integer(self, name: str, default: int) -> int:
        """Optional sign and leading digits (`25x` is 25); no digits is the default."""
        match = _INTEGER.match(self.text(name) or "")
        return int(match[1][:_DIGITS]) if match else default


class Page(NamedTuple):
    """Effective limit (0 = unbounded) and offset."""

    limit: int
    offset: int

    def cut(self, rows: Sequence[T]) -> Sequence[T]:
        """The rows of this page."""
        return rows[self.offset : self.offset + self.limit] if self.limit else rows[self.offset :]


LARGEST_PAGE = 200


def page(query: Query, *, default: int = 0, least: int = 0) -> Page:
    """Read `limit` (clamped to `least`…200) and `offset`; never refuses."""
    limit = min(max(query.integer("limit", default), least), LARGEST_PAGE)
    return Page(limit, max(query.integer("offset", 0), 0))


def links(path: str, query: Query, cut: Page, returned: int, total: int) -> dict[str, str]:
    """`_links` of a page: `self`, and `next` when rows remain. All other parameters are kept, first value each."""
    kept: dict[str, str] = {}
    for key, value in query.items:
        if key not in ("limit", "offset") and "[" not in key:
            kept.setdefault(key, value)
    found = {"self": _link(path, kept, cut.limit, cut.offset)}
    if cut.offset + returned < total:
        found["next"] = _link(path, kept, cut.limit, cut.offset + max(returned, cut.limit))
    return found


def _link(path: str, kept: dict[str, str], limit: int, offset: int) -> str:
    return f"{path}?{urlencode({**kept, 'limit': limit, 'offset': offset})}"
