"""A clock that moves only when the test says so."""

from __future__ import annotations

import asyncio
import heapq
import itertools

TURNS = 60
"""Turns of the loop after which tasks without input or output have gone as far as they can."""


class Timeline:
    """Time stands still; `run(seconds)` lets it pass and wakes every sleeper at its own moment, in order.

    For code that waits on nothing but this clock: no sockets, no threads.
    """

    def __init__(self, start_ms: int = 1_767_225_600_000) -> None:
        self._now_ms = float(start_ms)
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = itertools.count()
        self.slept: list[float] = []

    def now_ms(self) -> int:
        return int(self._now_ms)

    def monotonic(self) -> float:
        return self._now_ms / 1000

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now_ms + seconds * 1000, next(self._number), woken))
        await woken

    async def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self._now_ms + seconds * 1000
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            moment, _, woken = heapq.heappop(self._sleepers)
            if woken.done():  # its sleeper was cancelled
                continue
            self._now_ms = max(self._now_ms, moment)
            woken.set_result(None)
            await self.settle()
        self._now_ms = end

    async def settle(self) -> None:
        """Let every task run until it waits."""
        for _ in range(TURNS):
            await asyncio.sleep(0)
