"""One writer, many readers who want the newest value: readers share nothing, and a slow one only skips.

For streams whose values replace each other (snapshots, summaries). Log lines, where every one counts, are in
`logs/viewer.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
S = TypeVar("S", contravariant=True)


class Sink(Protocol[S]):
    """Takes values of a feed."""

    def put(self, value: S) -> None:
        """Take `value`. Must neither block nor raise."""
        ...


class Reader(Generic[T]):
    """One reader's place in a feed: at most one waiting value, the newest."""

    def __init__(self) -> None:
        self._value: T | None = None
        self._arrived = asyncio.Event()

    def put(self, value: T) -> None:
        """Leave `value` for the reader, in place of one it has not taken yet."""
        self._value = value
        self._arrived.set()

    async def next(self) -> T:
        """Wait for a value not taken before. Cancelling the wait loses nothing."""
        await self._arrived.wait()
        self._arrived.clear()
        value, self._value = self._value, None
        if value is None:
            raise RuntimeError("a feed carries values, never None")
        return value


class Feed(Generic[T]):
    """The readers of one source."""

    def __init__(self) -> None:
        self._sinks: set[Sink[T]] = set()

    def __len__(self) -> int:
        return len(self._sinks)

    @contextmanager
    def joined(self, sink: Sink[T]) -> Iterator[None]:
        """Hand every value to `sink` for the duration of the block."""
        self._sinks.add(sink)
        try:
            yield
        finally:
            self._sinks.discard(sink)

    def publish(self, value: T) -> None:
        """Hand `value` to every sink. Never blocks."""
        for sink in tuple(self._sinks):
            sink.put(value)
