"""Server-sent events and WebSockets as the framework serves them; queues, frames and heartbeats are in `drydock.sse`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from litestar.connection import WebSocket
from litestar.exceptions import WebSocketDisconnect
from litestar.response import Stream

from drydock.waiting import cancel

SHUTDOWN_CODE = 1001
REASON_BYTES = 123
"""A close frame has room for this much text."""

SSE_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache, no-transform",
    "Connection": "keep-alive",
    "X-Accel-Buffering": "no",
}


def sse(source: AsyncIterator[bytes]) -> Stream:
    """An SSE answer from an iterator of frames. Clean up in the iterator's `finally`: it is closed on disconnect."""
    return Stream(source, media_type="text/event-stream", headers=SSE_HEADERS)


async def serve_socket(
    socket: WebSocket[Any, Any, Any], take: Callable[[], Awaitable[Sequence[bytes]]], *ends: Awaitable[Any]
) -> bool:
    """Send what `take` gives as text frames until it gives nothing, one of `ends` happens, or the client goes.

    Tells whether the client is still there, to be closed with a code. What it says meanwhile is ignored.
    """

    async def send() -> None:
        while messages := await take():
            for message in messages:
                await socket.send({"type": "websocket.send", "bytes": None, "text": message.decode()})

    async def until_gone() -> None:
        while (await socket.receive())["type"] != "websocket.disconnect":
            pass

    sender, client = asyncio.create_task(send()), asyncio.create_task(until_gone())
    others = [asyncio.ensure_future(end) for end in ends]
    try:
        await asyncio.wait((sender, client, *others), return_when=asyncio.FIRST_COMPLETED)
        gone = client.done() or (sender.done() and sender.exception() is not None)
    finally:
        await cancel(sender, client, *others)
    return not gone


async def close_socket(socket: WebSocket[Any, Any, Any], code: int, reason: str = "") -> None:
    """Close with a code and as much of the reason as fits; the client may be gone already."""
    with contextlib.suppress(WebSocketDisconnect, OSError):
        await socket.close(code, reason.encode()[:REASON_BYTES].decode(errors="ignore"))
