"""One limiter per host: requests at a time, requests a second, and a pause when the host asks for one (registries.md §6.2).

Shared by all instances, watchers and checks of a process. Waiters are served first come, first served within their
lane; the interactive lane overtakes the scheduled one but never the pause. Knows nothing about HTTP.
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
    """The host asked for a pause that is too long to wait for; `until` is the clock's monotonic second."""

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
    async def permit(self, lane: int) -> AsyncIterator[None]:
        """Hold a permit for one request. Raises `HostPaused` when the host is paused for long."""
        self._refuse_if_long_paused()
        await self._acquire(lane)
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
            self._fail_all()

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

    async def _acquire(self, lane: int) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (lane, next(self._order), future))
        self._serve()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._active -= 1
                self._serve()
            raise

    def _serve(self) -> None:
        self._refill()
        while self._waiting and self._active < self.concurrency:
            if self._waiting[0][2].done():
                heapq.heappop(self._waiting)
                continue
            delay = self._delay()
            if delay > 0:
                self._wake_in(delay)
                return
            future = heapq.heappop(self._waiting)[2]
            self._permits -= 1
            self._active += 1
            future.set_result(None)

    def _delay(self) -> float:
        short = max(0.0, 1 - self._permits) / self.rate
        return max(self.pause_left(), short)

    def _refill(self) -> None:
        now = self._clock.monotonic()
        earned = (now - self._filled_at) * self.rate
        self._permits = min(float(self._start.burst), self._permits + earned)
        self._filled_at = now

    def _wake_in(self, delay: float) -> None:
        if self._timer is None or self._timer.done():
            self._timer = asyncio.create_task(self._wake(delay), name="registries:limiter")

    async def _wake(self, delay: float) -> None:
        await self._clock.sleep(delay + 0.001)
        self._timer = None
        self._serve()

    def _refuse_if_long_paused(self) -> None:
        if self.pause_left() > LONG_PAUSE_S:
            raise HostPaused(self.paused_until)

    def _fail_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        for _, _, future in waiting:
            if not future.done():
                future.set_exception(HostPaused(self.paused_until))
