"""Several signals, one run: a trailing debounce with a longest wait (watching.md §1.5, B8)."""

from __future__ import annotations

import asyncio
from math import inf

from drydock.clock import Clock

QUIET_S = 5.0
LONGEST_S = 30.0


class Debounce:
    """`signal()` asks for a run; `wait()` returns when it has been quiet for 5 s, or 30 s after the first signal.

    `wake_in()` asks for one run at a later moment, without any quiet period. Runs do not overlap: signals that arrive
    during a run ask for another one.
    """

    def __init__(self, clock: Clock, quiet_s: float = QUIET_S, longest_s: float = LONGEST_S) -> None:
        self._clock = clock
        self._quiet_s = quiet_s
        self._longest_s = longest_s
        self._latest = inf
        self._quiet_at = inf
        self._wake_at = inf
        self._changed = asyncio.Event()

    def signal(self) -> None:
        """Something happened; restart the quiet period."""
        now = self._clock.monotonic()
        if self._latest == inf:
            self._latest = now + self._longest_s
        self._quiet_at = min(now + self._quiet_s, self._latest)
        self._changed.set()

    def wake_in(self, seconds: float) -> None:
        """Run once after `seconds`, or earlier if an earlier run is wished already."""
        self._wake_at = min(self._wake_at, self._clock.monotonic() + seconds)
        self._changed.set()

    async def wait(self) -> None:
        """Wait for the next run that is due."""
        while (left := min(self._quiet_at, self._wake_at) - self._clock.monotonic()) > 0:
            await self._changed_within(left)
        self._latest = self._quiet_at = self._wake_at = inf

    async def _changed_within(self, seconds: float) -> None:
        """Return at a new signal, or after `seconds`."""
        self._changed.clear()
        if seconds == inf:
            await self._changed.wait()
            return
        racers = [asyncio.ensure_future(self._changed.wait()), asyncio.ensure_future(self._clock.sleep(seconds))]
        try:
            await asyncio.wait(racers, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for racer in racers:
                racer.cancel()
            await asyncio.gather(*racers, return_exceptions=True)
