"""A clock that moves only when somebody waits on it."""

from __future__ import annotations

import asyncio


class FakeClock:
    """Time stands still until `sleep` or `forward`; a sleep ends at once, at its time.

    A sleep of `longest_s` or more is housekeeping and waits until somebody moves the time that far.
    """

    def __init__(self, start_ms: int = 1_760_000_000_000, longest_s: float = float("inf")) -> None:
        self._ms = float(start_ms)
        self._longest_s = longest_s
        self._moved = asyncio.Event()

    def now_ms(self) -> int:
        return int(self._ms)

    def monotonic(self) -> float:
        return self._ms / 1000

    async def sleep(self, seconds: float) -> None:
        end = self._ms + max(seconds, 0) * 1000
        while seconds >= self._longest_s and self._ms < end:
            await self._moved.wait()
        self._ms = max(self._ms, end)
        await asyncio.sleep(0)

    def forward(self, seconds: float) -> None:
        """Let time pass without anybody waiting."""
        self._ms += seconds * 1000
        self._moved.set()
        self._moved = asyncio.Event()
