"""Several signals, one run: a trailing debounce with a longest wait (watching.md §1.5)."""

from __future__ import annotations

import asyncio

from drydock.clock import Clock

QUIET_S = 5.0
LONGEST_S = 30.0


class Debounce:
    """`signal()` asks for a run; `wait()` returns when it has been quiet for 5 s, or 30 s after the first signal."""

    def __init__(self, clock: Clock, quiet_s: float = QUIET_S, longest_s: float = LONGEST_S) -> None:
        self._clock = clock
        self._quiet_s = quiet_s
        self._longest_s = longest_s
        self._first: float | None = None
        self._last = 0.0
        self._signalled = asyncio.Event()

    def signal(self) -> None:
        """Something happened; restart the quiet period."""
        self._last = self._clock.monotonic()
        if self._first is None:
            self._first = self._last
        self._signalled.set()

    async def wait(self) -> None:
        """Wait for the next run that is due."""
        await self._signalled.wait()
        while (remaining := self._due() - self._clock.monotonic()) > 0:
            await self._clock.sleep(remaining)
        self._first = None
        self._signalled.clear()

    def _due(self) -> float:
        first = self._last if self._first is None else self._first
        return min(self._last + self._quiet_s, first + self._longest_s)
