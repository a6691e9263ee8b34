"""Live answers: server-sent events and WebSockets, the same plumbing for all of them.

Frames are encoded once and handed to every client as the same bytes. Each client has a bounded queue of its own: a
stalled one loses events and is told so, and never delays another. At shutdown `Streams.close` ends all of them first,
so that the server can stop (platform-api.md §11.4, §12; container-api.md §9.3, §10.4).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import msgspec
from litestar.connection import WebSocket
from litestar.exceptions import WebSocketDisconnect
from litestar.response import Stream

from drydock.clock import Clock

HEARTBEAT_S = 15.0
SHUTDOWN_CODE = 1001
SLOW_CODE = 1013

SSE_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache, no-transform",
    "Connection": "keep-alive",
    "X-Accel-Buffering": "no",
}


def frame(event: str | None, data: Any, id: str | None = None) -> bytes:
    """One SSE frame. `data` is encoded as one-line JSON, or sent as it is when it is bytes already."""
    payload = data if isinstance(data, bytes) else msgspec.json.encode(data)
    lines = [f"id: {id}\n".encode() if id else b"", f"event: {event}\n".encode() if event else b""]
    return b"".join([*lines, b"data: ", payload, b"\n\n"])


HEARTBEAT = frame("dd:heartbeat", b"{}")
COMMENT = b": keep-alive\n\n"


class Channel:
    """The queue of one client. Iterate it; it ends when closed.

    `offer` never blocks. When `capacity` items wait, the item is refused, `dropped` grows and the caller decides:
    drop it, or `close` the client.
    """

    def __init__(self, capacity: int = 256) -> None:
        self._items: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._capacity = capacity
        self.dropped = 0
        self.waiting_bytes = 0
        """Size of what is queued."""
        self.closed = False

    def offer(self, item: bytes) -> bool:
        """Queue an item; False when the client is closed or too slow."""
        if self.closed:
            return False
        if self._items.qsize() >= self._capacity:
            self.dropped += 1
            return False
        self._items.put_nowait(item)
        self.waiting_bytes += len(item)
        return True

    @property
    def congested(self) -> bool:
        """Something still waits to be sent: skip its heartbeat."""
        return not self._items.empty()

    def close(self) -> None:
        """End the stream after what is queued."""
        if not self.closed:
            self.closed = True
            self._items.put_nowait(None)

    async def get(self, within_s: float | None = None) -> bytes | None:
        """The next item, None at the end. Raises `TimeoutError` when nothing came in time."""
        if not self._items.empty():
            return self._taken(self._items.get_nowait())
        if within_s is None:
            return self._taken(await self._items.get())
        async with asyncio.timeout(within_s):
            return self._taken(await self._items.get())

    def _taken(self, item: bytes | None) -> bytes | None:
        self.waiting_bytes -= len(item) if item else 0
        return item


class Streams:
    """All open streams of the process, so that shutdown can end them."""

    def __init__(self) -> None:
        self._channels: set[Channel] = set()
        self.closing = False

    def open(self, capacity: int = 256) -> Channel:
        """A new client. Give it back with `release` (the helpers below do)."""
        channel = Channel(capacity)
        self._channels = {known for known in self._channels if not known.closed}
        self._channels.add(channel)
        if self.closing:
            channel.close()
        return channel

    def release(self, channel: Channel) -> None:
        channel.close()
        self._channels.discard(channel)

    def close(self) -> None:
        """End every stream; new ones end at once."""
        self.closing = True
        for channel in list(self._channels):
            channel.close()

    def __len__(self) -> int:
        return len(self._channels)


async def pump(
    channel: Channel, first: Iterable[bytes] = (), heartbeat: bytes | None = HEARTBEAT, every_s: float = HEARTBEAT_S
) -> AsyncIterator[bytes]:
    """What one SSE client is sent: `first`, then its queue, with a heartbeat whenever it was idle for `every_s`."""
    for item in first:
        yield item
    while True:
        try:
            item_or_end = await channel.get(every_s if heartbeat else None)
        except TimeoutError:
            yield heartbeat or b""
            continue
        if item_or_end is None:
            return
        yield item_or_end


async def beat(channel: Channel, clock: Clock, every_s: float = HEARTBEAT_S) -> None:
    """Offer `channel` a heartbeat every `every_s` seconds from now on, whatever else it carries. Cancel it at the end."""
    due = clock.monotonic()
    while True:
        due += every_s
        await clock.sleep(due - clock.monotonic())
        channel.offer(HEARTBEAT)


def sse(source: AsyncIterator[bytes]) -> Stream:
    """An SSE answer from an iterator of frames. Clean up in the iterator's `finally`: it is closed on disconnect."""
    return Stream(source, media_type="text/event-stream", headers=SSE_HEADERS)


async def serve_socket(
    socket: WebSocket[Any, Any, Any], channel: Channel, *, end_code: int | Callable[[], int] = 1000
) -> None:
    """Send the text frames of `channel` over an accepted WebSocket until it ends or the client goes.

    Messages of the client are ignored. Closes with `end_code` (asked at the end, when callable).
    """
    listener = asyncio.create_task(_ignore_client(socket, channel))
    try:
        while (item := await channel.get()) is not None:
            await socket.send_text(item.decode())
        if not listener.done():
            await socket.close(code=end_code() if callable(end_code) else end_code)
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)


async def _ignore_client(socket: WebSocket[Any, Any, Any], channel: Channel) -> None:
    try:
        while True:
            await socket.receive_data(mode="text")
    except WebSocketDisconnect:
        channel.close()
