"""Exponential back-off: how long to wait before the next attempt."""

from __future__ import annotations


class Backoff:
    """Delays in seconds that begin with `first_s` and double up to `longest_s`.

    Waiting is the caller's work: `await clock.sleep(backoff.next_s())`; a success calls `reset`.
    """

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._next_s = first_s

    def next_s(self) -> float:
        """The delay before the next attempt; the one after it is twice as long."""
        delay, self._next_s = self._next_s, min(self._next_s * 2, self._longest_s)
        return min(delay, self._longest_s)

    def reset(self) -> None:
        """Begin again with the first delay."""
        self._next_s = self._first_s
