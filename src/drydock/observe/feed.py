"""One writer, many readers who want the newest value: readers share nothing, and a slow one only skips.

For streams whose values replace each other (snapshots, summaries). Log lines, where every one counts, are in
`logs/viewer.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


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
        self._readers: set[Reader[T]] = set()

    def __len__(self) -> int:
        return len(self._readers)

    @contextmanager
    def reader(self) -> Iterator[Reader[T]]:
        """Join the feed for the duration of the block."""
        reader: Reader[T] = Reader()
        self._readers.add(reader)
        try:
            yield reader
        finally:
            self._readers.discard(reader)

    def publish(self, value: T) -> None:
        """Hand `value` to every reader. Never blocks."""
        for reader in self._readers:
            reader.put(value)
