"""Live answers without the framework: frames of server-sent events, and the queue of each client.

Frames are encoded once and handed to every client as the same bytes. Each client has its own bounded queue: a
stalled one loses events and is notified, and never delays another. At shutdown `Streams.close` ends all of them first,
so that the server can stop (platform-api.md §11.4, §12; container-api.md §9.3, §10.4).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import msgspec

from drydock.clock import Clock
from drydock.waiting import cancel

HEARTBEAT_S = 15.0


def frame(event: str | None, data: Any, id: str | None = None) -> bytes:
    """One SSE frame. `data` is encoded as one-line JSON, or sent as it is when it is bytes already."""
    payload = data if isinstance(data, bytes) else msgspec.json.encode(data)
    head = (f"id: {id}\n" if id else "") + (f"event: {event}\n" if event else "")
    return b"".join((head.encode(), b"data: ", payload, b"\n\n"))


HEARTBEAT = frame("dd:heartbeat", b"{}")


class Channel:
    """The queue of one client, to be closed by the code that serves it.

    `offer` never blocks. When `capacity` items wait, the item is refused and the caller decides: drop it, or `close`
    the client.
    """

    def __init__(self, capacity: int = 256) -> None:
        self._items: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._capacity = capacity
        self.waiting_bytes = 0
        """Size of what is queued."""
        self.closed = False

    @property
    def waiting(self) -> int:
        """How many items are queued."""
        return self._items.qsize()

    def offer(self, item: bytes) -> bool:
        """Queue an item; False when the client is closed or too slow."""
        if self.closed or self.waiting >= self._capacity:
            return False
        self._items.put_nowait(item)
        self.waiting_bytes += len(item)
        return True

    def close(self) -> None:
        """End the stream after what is queued."""
        if not self.closed:
            self.closed = True
            self._items.put_nowait(None)

    async def get(self) -> bytes | None:
        """The next item, None at the end."""
        item = await self._items.get()
        if item is None:
            self._items.put_nowait(None)  # it stays at its end, however often it is asked
        else:
            self.waiting_bytes -= len(item)
        return item


class Streams:
    """Every open stream of the process, so that all of them can be ended at shutdown."""

    def __init__(self) -> None:
        self._channels: list[Channel] = []
        self.closing = False

    def open(self, capacity: int = 256) -> Channel:
        """The channel of a new stream. Close it when the client is gone; `frames` does."""
        channel = Channel(capacity)
        self._channels = [*self.current(), channel]
        if self.closing:
            channel.close()
        return channel

    def current(self) -> list[Channel]:
        """The channels that are not closed."""
        return [channel for channel in self._channels if not channel.closed]

    def close(self) -> None:
        """End every stream; new ones end at once."""
        self.closing = True
        for channel in self.current():
            channel.close()


async def frames(channel: Channel, clock: Clock, first: Iterable[bytes] = ()) -> AsyncIterator[bytes]:
    """What one SSE client is sent until its channel is closed: `first`, its queue, and a heartbeat every 15 s from now.

    A client that does not take what waits for it gets no heartbeat on top. Closes the channel at the end.
    """
    heart = asyncio.create_task(_beat(channel, clock), name="sse:heartbeat")
    try:
        for item in first:
            yield item
        while (queued := await channel.get()) is not None:
            yield queued
    finally:
        channel.close()
        await cancel(heart)


async def _beat(channel: Channel, clock: Clock) -> None:
    due = clock.monotonic()
    while True:
        due += HEARTBEAT_S
        await clock.sleep(due - clock.monotonic())
        if channel.waiting <= 1:  # one event may have come at this very moment; more than that is a client that stalls
            channel.offer(HEARTBEAT)
