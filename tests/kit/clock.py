"""Clocks for tests. All implement `drydock.clock.Clock` and have `advance(seconds)`.

`ManualClock` stands until the test moves it. On `SkippingClock` nobody waits: a sleep moves the time. `ShiftedClock` is the
machine's clock plus what the test skipped; on `ImpatientClock`, which is one, sleeps are skipped too.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from typing import Any

from drydock.clock import SystemClock

from .wait import settle

START_MS = 1_772_000_000_000
"""2026-02-25T06:13:20Z."""

NEW_YEAR_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z: for tests that read times."""


class ManualClock:
    """Time stands still until the test moves it; a sleeper wakes when the time has come to its moment."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self.slept: list[float] = []
        self._ms = float(now_ms)
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now_ms(self) -> int:
        return round(self._ms)

    def monotonic(self) -> float:
        return self._ms / 1000

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._ms + seconds * 1000, next(self._order), woken))
        await woken

    def advance(self, seconds: float) -> None:
        """Jump forward, or back: every sleeper whose moment has come wakes at the new time."""
        self._ms += seconds * 1000
        while self._sleepers and self._sleepers[0][0] <= self._ms:
            self._wake_next()

    async def pass_time(self, seconds: float) -> None:
        """Let time pass: every sleeper wakes at its own moment, and what it does is done before the next one wakes."""
        end = self._ms + seconds * 1000
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            moment = self._sleepers[0][0]
            if self._wake_next():
                self._ms = max(self._ms, moment)
                await settle()
        self._ms = end
        await settle()

    async def step(self) -> bool:
        """Once no task has anything left to do, jump to the next sleeper's moment; False when nobody sleeps.

        For simulations that wait on nothing but this clock: no sockets, no threads.
        """
        await self._exhaust()
        while self._sleepers:
            moment = self._sleepers[0][0]
            if self._wake_next():
                self._ms = max(self._ms, moment)
                await self._exhaust()
                return True
        return False

    def _wake_next(self) -> bool:
        _, _, woken = heapq.heappop(self._sleepers)
        if woken.done():  # its sleeper was cancelled
            return False
        woken.set_result(None)
        return True

    @staticmethod
    async def _exhaust() -> None:
        ready: Any = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]  # nothing public tells it
        await asyncio.sleep(0)
        while ready:  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0)


class SkippingClock(ManualClock):
    """A sleep ends at once, at its time.

    A sleep of `longest_s` or more is housekeeping: it waits until the test moves the time that far.
    """

    def __init__(self, now_ms: int = START_MS, longest_s: float = float("inf")) -> None:
        super().__init__(now_ms)
        self._longest_s = longest_s

    async def sleep(self, seconds: float) -> None:
        end = self._ms + max(seconds, 0) * 1000
        if seconds >= self._longest_s:
            await super().sleep(seconds)
        else:
            self.slept.append(seconds)
        self._ms = max(self._ms, end)
        await asyncio.sleep(0)


class ShiftedClock(SystemClock):
    """The machine's time plus what the test skipped."""

    def __init__(self) -> None:
        self.skipped = 0.0

    def now_ms(self) -> int:
        return super().now_ms() + int(self.skipped * 1000)

    def monotonic(self) -> float:
        return super().monotonic() + self.skipped

    def advance(self, seconds: float) -> None:
        """Skip some time."""
        self.skipped += seconds


class ImpatientClock(ShiftedClock):
    """Real time, and sleeps cost nothing: for code that waits on sockets as well as on this clock."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.skipped += seconds
        await asyncio.sleep(0)
