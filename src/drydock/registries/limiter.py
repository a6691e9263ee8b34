"""One limiter per host: requests at a time, requests a second, and a pause when the host asks for one (registries.md §6.2).

Shared by all instances, watchers and checks of a process. Waiters are served first come, first served within their
priority; the interactive priority overtakes the scheduled one but never the pause. Knows nothing about HTTP.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from drydock.clock import Clock
from drydock.registries.spec import Pace

LONG_PAUSE_S = 60.0
"""A longer pause is not waited for: the checks of that host fail with the time of the next try."""
LOWEST_RATE = 0.5
RECOVERY = 20
"""After so many answers without a 429 the pace doubles again, up to its start value."""

INTERACTIVE, SCHEDULED = 0, 1


class HostPaused(Exception):
    """The host requested a pause that is too long to wait for; `until` is the clock's monotonic second."""

    def __init__(self, until: float) -> None:
        super().__init__(until)
        self.until = until


class HostLimiter:
    """Gives out permits for requests to one host."""

    def __init__(self, clock: Clock, pace: Pace) -> None:
        self._clock = clock
        self._start = pace
        self.rate = pace.rate
        self.concurrency = pace.concurrency
        self.paused_until = 0.0
        self._permits = float(pace.burst)
        self._filled_at = clock.monotonic()
        self._active = 0
        self._good = 0
        self._order = itertools.count()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._timer: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def permit(self, priority: int) -> AsyncIterator[None]:
        """Hold a permit for one request. Raises `HostPaused` when the host is paused for long."""
        if self.paused_until - self._clock.monotonic() > LONG_PAUSE_S:
            raise HostPaused(self.paused_until)
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (priority, next(self._order), granted))
        self._serve()
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                self._active -= 1  # it was granted in the very moment of the cancellation
                self._serve()
            raise
        try:
            yield
        finally:
            self._active -= 1
            self._serve()

    def slow_down(self, wait_s: float) -> None:
        """The host answered 429: pause it, halve the rate, one request at a time."""
        self.paused_until = max(self.paused_until, self._clock.monotonic() + wait_s)
        self.rate = max(LOWEST_RATE, self.rate / 2)
        self.concurrency = 1
        self._good = 0
        if wait_s > LONG_PAUSE_S:
            waiting, self._waiting = self._waiting, []
            for _, _, granted in waiting:
                if not granted.done():
                    granted.set_exception(HostPaused(self.paused_until))

    def went_well(self) -> None:
        """The host answered without complaint; enough of these restore the pace."""
        if self.rate >= self._start.rate and self.concurrency >= self._start.concurrency:
            return
        self._good += 1
        if self._good >= RECOVERY:
            self._good = 0
            self.rate = min(self._start.rate, self.rate * 2)
            self.concurrency = min(self._start.concurrency, self.concurrency * 2)

    def pause_left(self) -> float:
        """Seconds until the host may be asked again."""
        return max(0.0, self.paused_until - self._clock.monotonic())

    def close(self) -> None:
        """Stop the timer; waiters are left to their own cancellation."""
        if self._timer is not None:
            self._timer.cancel()

    def _serve(self) -> None:
        """Grant what pace and pause allow now, and come back when they allow more."""
        now = self._clock.monotonic()
        self._permits = min(float(self._start.burst), self._permits + (now - self._filled_at) * self.rate)
        self._filled_at = now
        while self._waiting and self._active < self.concurrency:
            granted = self._waiting[0][2]
            if not granted.done():  # else its caller was cancelled while it waited
                delay = max(self.paused_until - now, (1 - self._permits) / self.rate)
                if delay > 0:
                    if self._timer is None or self._timer.done():
                        self._timer = asyncio.create_task(self._serve_in(delay), name="registries:limiter")
                    return
                self._permits -= 1
                self._active += 1
                granted.set_result(None)
            heapq.heappop(self._waiting)

    async def _serve_in(self, delay: float) -> None:
        await self._clock.sleep(delay + 0.001)  # a moment later, so that rounding does not need a second round
        self._timer = None
        self._serve()
