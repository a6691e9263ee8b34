"""Scans by the clock."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from drydock.core.times import DAY_MS, HOUR_MS
from drydock.events import ScanCycleCompleted
from drydock.security.cache import interval_of
from drydock.security.cycles import uuid7
from drydock.security.room import scan_by_schedule
from kit.containers import container
from kit.security import Room


@pytest.mark.parametrize(
    ("cron", "interval"),
    [
        ("0 * * * *", HOUR_MS),
        ("0 3 * * *", DAY_MS),
        ("0 3,4 * * *", HOUR_MS),
        ("0 3 1 1 *", 365 * DAY_MS),
        (None, DAY_MS),
        ("nonsense", DAY_MS),
    ],
)
def test_how_long_a_result_is_good(cron: str | None, interval: int) -> None:
    assert interval_of(cron, 1_772_442_900_000) == interval


def test_identifiers_are_in_the_order_of_time() -> None:
    made = [uuid7(ms) for ms in (1, 2, 1_772_442_900_000, 1_772_442_900_001)]
    assert made == sorted(made)
    assert {(one[14], one[19] in "89ab") for one in made} == {("7", True)}
    assert len({uuid7(5) for _ in range(100)}) == 100


class Until:
    """A clock that stops its sleeper for good after some time."""

    def __init__(self, clock: Any, end_ms: int) -> None:
        self._clock, self._end_ms = clock, end_ms
        self.now_ms, self.monotonic = clock.now_ms, clock.monotonic

    async def sleep(self, seconds: float) -> None:
        if self._clock.now_ms() >= self._end_ms:
            raise asyncio.CancelledError
        await self._clock.sleep(seconds)


async def test_every_run_within_its_jitter(room: Room) -> None:
    room.build(scan_cron="0 3 * * *", scan_jitter_s=60.0)
    await room.fleet.put(container(1))
    start = room.clock.now_ms()
    with pytest.raises(asyncio.CancelledError):
        await scan_by_schedule(room.security, Until(room.clock, start + 3 * DAY_MS), Random(1))
    ends = [event.summary for event in room.of(ScanCycleCompleted)]
    assert [end["scope"] for end in ends] == ["scheduled"] * 3
    assert {end["startedAt"][11:16] for end in ends} <= {"03:00", "03:01"}
    assert len(room.scans()) == 3


async def test_no_schedule(room: Room) -> None:
    await scan_by_schedule(room.security, room.clock, Random())
    assert room.of(ScanCycleCompleted) == []
