"""One viewer of a live log: what waits to be sent to it, and how it ended.

The queue is bounded by bytes. A viewer that cannot keep up is disconnected with a reason; it never delays another one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from drydock.core.errors import DrydockError

WAITING_LIMIT = 1024 * 1024
"""Bytes that may wait for one viewer (container-api.md §9.3, close 1013)."""
ROOM = 128 * 1024
"""The backlog of a stream is fed in portions of about this size."""


class ViewerTooSlow(DrydockError):
    """More than 1 MiB waits for a viewer that does not take it."""

    code = "viewer-too-slow"
    default = "The viewer is too slow"


class Viewer:
    """Encoded messages on their way to one client.

    `take` until it returns nothing: the log ended, `error` says why if it was not the log's own end. `cut_off` is set at
    the moment the viewer is found too slow, so that a sender that hangs can be stopped.
    """

    def __init__(self) -> None:
        self.error: DrydockError | None = None
        self.cut_off = asyncio.Event()
        self.waiting_bytes = 0
        self._batches: deque[tuple[Sequence[bytes], int]] = deque()
        self._ended = False
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()

    @property
    def ended(self) -> bool:
        """Whether nothing more is taken in."""
        return self._ended

    def offer(self, messages: Sequence[bytes], size: int) -> None:
        """Queue messages of `size` bytes together; cuts the viewer off when too much waits already."""
        if self._ended:
            return
        if self.waiting_bytes > WAITING_LIMIT:
            self.cut()
            return
        self._batches.append((messages, size))
        self.waiting_bytes += size
        self._arrived.set()

    def cut(self) -> None:
        """Drop what waits, and end: the viewer is too slow."""
        self._batches.clear()
        self.waiting_bytes = 0
        self.end(ViewerTooSlow())
        self.cut_off.set()

    async def put(self, messages: Sequence[bytes], size: int) -> None:
        """Queue messages once there is room: for what can wait at its source."""
        await self.room()
        self.offer(messages, size)

    def end(self, error: DrydockError | None = None) -> None:
        """Nothing more will come, after what is queued."""
        if not self._ended:
            self._ended, self.error = True, error
        self._arrived.set()
        self._taken.set()

    async def take(self) -> Sequence[bytes]:
        """The next messages, at least one; nothing at the end."""
        while not self._batches:
            if self._ended:
                return ()
            self._arrived.clear()
            await self._arrived.wait()
        messages, size = self._batches.popleft()
        self.waiting_bytes -= size
        self._taken.set()
        return messages

    async def room(self) -> None:
        """Wait until the viewer has taken almost everything, or ended."""
        while self.waiting_bytes > ROOM and not self._ended:
            self._taken.clear()
            await self._taken.wait()
