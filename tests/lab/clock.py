"""A clock for tests with real Engines and registries: it never makes anybody wait."""

from __future__ import annotations

import asyncio
import time


class SkippingClock:
    """Real time plus what was slept or skipped: waiting costs nothing."""

    def __init__(self) -> None:
        self._skipped = 0.0
        self.slept: list[float] = []

    def now_ms(self) -> int:
        return int((time.time() + self._skipped) * 1000)

    def monotonic(self) -> float:
        return time.monotonic() + self._skipped

    def skip(self, seconds: float) -> None:
        """Let time pass."""
        self._skipped += seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._skipped += seconds
        await asyncio.sleep(0)
