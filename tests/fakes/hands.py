"""A clock whose hands a test moves: sleepers wake when their moment has come."""

from __future__ import annotations

import asyncio
import heapq
import itertools


class HandClock:
    """Implements `drydock.clock.Clock`. Time stands still between calls of `advance`."""

    def __init__(self, now_ms: int = 1_767_225_600_000) -> None:
        self._start_ms = now_ms
        self._elapsed = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now_ms(self) -> int:
        return self._start_ms + round(self._elapsed * 1000)

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._order), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Move time on, waking every sleeper in the order of its moment, and let woken tasks run."""
        target = self._elapsed + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= target:
            self._elapsed, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)
            await settle()
        self._elapsed = target
        await settle()


async def settle(turns: int = 30) -> None:
    """Give every ready task its turn."""
    for _ in range(turns):
        await asyncio.sleep(0)
