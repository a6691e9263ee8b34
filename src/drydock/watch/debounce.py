"""Several signals, one run: a trailing debounce with a longest wait (watching.md §1.5)."""

from __future__ import annotations

import asyncio

from drydock.clock import Clock

QUIET_S = 5.0
LONGEST_S = 30.0


class Debounce:
    """`signal()` asks for a run; `wait()` returns when it has been quiet for 5 s, or 30 s after the first signal.

    `wake_in()` asks for one run at a later moment, without any quiet period.
    """

    def __init__(self, clock: Clock, quiet_s: float = QUIET_S, longest_s: float = LONGEST_S) -> None:
        self._clock = clock
        self._quiet_s = quiet_s
        self._longest_s = longest_s
        self._first: float | None = None
        self._due = 0.0
        self._signalled = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def signal(self) -> None:
        """Something happened; restart the quiet period."""
        now = self._clock.monotonic()
        if self._first is None:
            self._first = now
        self._due = min(now + self._quiet_s, self._first + self._longest_s)
        self._signalled.set()

    def wake_in(self, seconds: float) -> None:
        """Run once after `seconds`; replaces an earlier wish."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._signalled.set()

    async def wait(self) -> None:
        """Wait for the next run that is due."""
        await self._signalled.wait()
        while (remaining := self._due - self._clock.monotonic()) > 0:
            await self._clock.sleep(remaining)
        self._first = None
        self._signalled.clear()
