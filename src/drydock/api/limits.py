"""Fixed-window rate limits in memory (container-api.md §1.8, platform-api.md §1.7)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from drydock.clock import Clock

SWEEP_EVERY = 100
LARGEST_TABLE = 10_000


class Verdict(NamedTuple):
    """Where a key stands after one request: admitted or not, and what the headers say."""

    allowed: bool
    maximum: int
    window_s: int
    remaining: int
    reset_s: int

    def headers(self) -> dict[str, str]:
        """`RateLimit-*` for every answer of a limited route, and `Retry-After` on a refusal."""
        found = {
            "RateLimit-Policy": f"{self.maximum};w={self.window_s}",
            "RateLimit-Limit": str(self.maximum),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_s),
        }
        return found if self.allowed else {**found, "Retry-After": str(self.reset_s)}

    def encoded(self) -> list[tuple[bytes, bytes]]:
        """The same as ASGI wants it."""
        return [(name.lower().encode(), value.encode()) for name, value in self.headers().items()]


class FixedWindow:
    """At most `maximum` requests per key in a window of `window_s` seconds that opens at the key's first request.

    When `LARGEST_TABLE` keys are live, new keys are refused: a flood of addresses must not eat the memory.
    """

    def __init__(self, clock: Clock, maximum: int, window_s: int) -> None:
        self._clock = clock
        self.maximum = maximum
        self.window_s = window_s
        self._windows: dict[str, list[float]] = {}
        self._calls = 0

    def hit(self, key: str) -> Verdict:
        """Count one request of `key`."""
        now = self._clock.monotonic()
        self._sweep(now)
        window = self._windows.get(key)
        if window is None or window[0] <= now:
            if window is None and len(self._windows) >= LARGEST_TABLE:
                return Verdict(False, self.maximum, self.window_s, 0, self.window_s)
            window = self._windows[key] = [now + self.window_s, 0]
        window[1] += 1
        left = max(0, self.maximum - int(window[1]))
        return Verdict(window[1] <= self.maximum, self.maximum, self.window_s, left, math.ceil(window[0] - now))

    def give_back(self, key: str) -> None:
        """Take back one counted request."""
        window = self._windows.get(key)
        if window is not None and window[1] > 0:
            window[1] -= 1

    def _sweep(self, now: float) -> None:
        self._calls += 1
        if self._calls % SWEEP_EVERY == 0:
            self._windows = {key: window for key, window in self._windows.items() if window[0] > now}


class Concurrency:
    """At most `maximum` open streams per key."""

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self._open: Counter[str] = Counter()

    def has_room(self, key: str) -> bool:
        """Whether `key` may open one more."""
        return self._open[key] < self.maximum

    @contextmanager
    def entered(self, key: str) -> Iterator[None]:
        """One more is open for the duration of the block."""
        self._open[key] += 1
        try:
            yield
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]
