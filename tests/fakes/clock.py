"""A clock that moves only when somebody waits on it."""

from __future__ import annotations

import asyncio


class FakeClock:
    """Time stands still until `sleep` or `forward`; a sleep ends at once, at its time."""

    def __init__(self, start_ms: int = 1_760_000_000_000) -> None:
        self._ms = float(start_ms)

    def now_ms(self) -> int:
        return int(self._ms)

    def monotonic(self) -> float:
        return self._ms / 1000

    async def sleep(self, seconds: float) -> None:
        self._ms += max(seconds, 0) * 1000
        await asyncio.sleep(0)

    def forward(self, seconds: float) -> None:
        """Let time pass without anybody waiting."""
        self._ms += seconds * 1000
