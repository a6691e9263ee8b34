"""Bodies of list answers as bytes: put together from encoded rows, and kept while nothing changes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from drydock.fleet.settings import FleetSettings

FRESH_MS = 1000
"""A body is at most this old: ages in it move with time."""


class PageFacts(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What stands beside `data` in a list answer (container-api.md §1.12)."""

    total: int
    limit: int
    offset: int
    has_more: bool
    links: dict[str, str] | None = msgspec.field(default=None, name="_links")


def envelope(rows: Sequence[bytes], facts: PageFacts) -> bytes:
    """`{"data": […], "total": …}` around encoded rows."""
    return b'{"data":[' + b",".join(rows) + b"]," + msgspec.json.encode(facts)[1:]


class ResponseCache:
    """Finished bodies by query. All are dropped when the fleet changes; each lives a second at most."""

    def __init__(self, settings: FleetSettings) -> None:
        self._settings = settings
        self._kept: dict[object, tuple[int, bytes]] = {}
        self._version = -1
        self._bytes = 0
        self.encoded = 0
        """How many bodies were put together since the start."""

    def get(self, key: object, version: int, now_ms: int) -> bytes | None:
        """The body for `key`, when it is still true."""
        if version != self._version:
            return None
        made_at, body = self._kept.get(key, (now_ms - FRESH_MS, b""))
        return body if 0 <= now_ms - made_at < FRESH_MS else None

    def keep(self, key: object, version: int, now_ms: int, body: bytes) -> bytes:
        """Remember a body and give it back."""
        self.encoded += 1
        if version != self._version or self._full(len(body)):
            self._kept.clear()
            self._version, self._bytes = version, 0
        if not self._full(len(body)):
            self._kept[key] = (now_ms, body)
            self._bytes += len(body)
        return body

    def _full(self, more: int) -> bool:
        return (
            len(self._kept) >= self._settings.query_cache_max or self._bytes + more > self._settings.query_cache_bytes
        )
