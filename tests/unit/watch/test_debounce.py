"""Signals and runs (watching.md §1.5)."""

from __future__ import annotations

import asyncio

import pytest

from drydock.watch.debounce import Debounce
from kit.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


class Runs(list[float]):
    """Seconds since the start at which runs were due."""

    def __init__(self, clock: ManualClock, debounce: Debounce) -> None:
        super().__init__()
        self._clock, self._debounce, self._start = clock, debounce, clock.monotonic()
        self.task = asyncio.ensure_future(self._collect())

    async def _collect(self) -> None:
        while True:
            await self._debounce.wait()
            self.append(round(self._clock.monotonic() - self._start, 3))


async def test_a_run_follows_five_quiet_seconds(clock: ManualClock) -> None:
    debounce = Debounce(clock)
    runs = Runs(clock, debounce)
    debounce.signal()
    await clock.pass_time(4)
    debounce.signal()
    await clock.pass_time(60)
    assert runs == [9]
    runs.task.cancel()


async def test_a_storm_of_signals_waits_thirty_seconds_at_most(clock: ManualClock) -> None:
    debounce = Debounce(clock)
    runs = Runs(clock, debounce)
    for _ in range(40):
        debounce.signal()
        await clock.pass_time(1)
    await clock.pass_time(60)
    assert runs == [30, 44]
    runs.task.cancel()


async def test_a_wish_for_later_runs_then_without_a_quiet_period(clock: ManualClock) -> None:
    debounce = Debounce(clock)
    runs = Runs(clock, debounce)
    debounce.wake_in(30)
    debounce.wake_in(90)
    await clock.pass_time(10)
    debounce.signal()
    await clock.pass_time(100)
    assert runs == [15], "the earlier run sees everything the later one would have seen"
    runs.task.cancel()


async def test_signals_during_a_run_ask_for_another_one(clock: ManualClock) -> None:
    debounce = Debounce(clock)
    debounce.signal()
    waiting = asyncio.ensure_future(debounce.wait())
    await clock.pass_time(5)
    assert waiting.done()
    debounce.signal()
    again = asyncio.ensure_future(debounce.wait())
    await clock.pass_time(4)
    assert not again.done()
    await clock.pass_time(1)
    assert again.done()
