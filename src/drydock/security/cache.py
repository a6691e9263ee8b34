"""What is known about an image by its digest (security.md §6): results are reused, errors only held for a while.

Raw findings are kept, so that DD_SECURITY_BLOCK_SEVERITY applies when they are read. The store keeps them over a
restart; a new vulnerability database makes them worthless.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import Protocol
from zoneinfo import ZoneInfo

import msgspec

from drydock.clock import Clock
from drydock.core.cron import CronError, parse_cron
from drydock.core.times import DAY_MS
from drydock.security.findings import Found

ERROR_FLOOR_MS = 15 * 60_000
"""So long an error stands for the next one: a broken scanner is not started for every container."""
LOOK_AHEAD = 64
"""Runs of the schedule among which the shortest gap is found."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One result and when it was made (epoch ms)."""

    fingerprint: str
    at: int
    found: Found


class Rows(Protocol):
    """Where results are kept; `store.scans.ScanRecords`."""

    async def load(self) -> list[tuple[str, str]]:
        """Key and document, oldest first."""
        ...

    async def put(self, key: str, document: str, at: int) -> None: ...

    async def remove(self, keys: list[str]) -> None: ...


class DigestCache:
    """At most `capacity` results, the least recently used go first. `interval_ms`: how long a result is good."""

    def __init__(self, rows: Rows | None, clock: Clock, *, capacity: int, interval_ms: int) -> None:
        self._rows = rows
        self._clock = clock
        self._capacity = capacity
        self._interval_ms = interval_ms
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._errors: dict[tuple[str, str], tuple[int, str]] = {}

    async def load(self) -> None:
        """Read what an earlier process left; entries that cannot be read any more are forgotten."""
        for key, document in await self._rows.load() if self._rows else []:
            try:
                self._entries[key] = msgspec.json.decode(document, type=Entry)
            except msgspec.MsgspecError:
                await self._forget([key])
        await self._make_room()

    def get(self, key: str, fingerprint: str) -> Found | None:
        """The result for this digest by this scanner and database, if young enough."""
        entry = self._entries.get(key)
        if entry is None or entry.fingerprint != fingerprint or self._age(entry.at) >= self._interval_ms:
            return None
        self._entries.move_to_end(key)
        return entry.found

    def error(self, key: str, fingerprint: str) -> str | None:
        """The error of the last 15 minutes for this digest, scanner and database."""
        at, text = self._errors.get((key, fingerprint), (None, ""))
        return None if at is None or self._age(at) >= ERROR_FLOOR_MS else text

    async def put(self, key: str, fingerprint: str, found: Found) -> None:
        """Keep a result; one with errors only holds back the next attempts."""
        now = self._clock.now_ms()
        if found.errors:
            self._errors = {k: kept for k, kept in self._errors.items() if self._age(kept[0]) < ERROR_FLOOR_MS}
            self._errors[key, fingerprint] = (now, "; ".join(found.errors))
            return
        self._errors.pop((key, fingerprint), None)
        entry = Entry(fingerprint=fingerprint, at=now, found=found)
        self._entries[key] = entry
        self._entries.move_to_end(key)
        if self._rows:
            await self._rows.put(key, msgspec.json.encode(entry).decode(), now)
        await self._make_room()

    def __len__(self) -> int:
        return len(self._entries)

    def _age(self, at: int) -> int:
        return self._clock.now_ms() - at

    async def _make_room(self) -> None:
        gone = [self._entries.popitem(last=False)[0] for _ in range(len(self._entries) - self._capacity)]
        if gone:
            await self._forget(gone)

    async def _forget(self, keys: list[str]) -> None:
        if self._rows:
            await self._rows.remove(keys)


def interval_of(cron: str | None, now_ms: int) -> int:
    """The shortest gap among the next 64 runs of the schedule in UTC; a day without one."""
    if not cron:
        return DAY_MS
    try:
        schedule = parse_cron(cron)
    except CronError:
        return DAY_MS
    runs: list[int] = []
    at: int | None = now_ms
    while at is not None and len(runs) < LOOK_AHEAD:
        at = schedule.next_after(at, ZoneInfo("UTC"))
        if at is not None:
            runs.append(at)
    return min((later - earlier for earlier, later in itertools.pairwise(runs)), default=DAY_MS)
