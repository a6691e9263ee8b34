"""A container's log as an Engine serves it: frames, tail over both streams, filters afterwards, followers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

STREAMS = {"stdout": 1, "stderr": 2}


class Entry(NamedTuple):
    """One message of the log driver."""

    type: str
    at_ns: int
    text: bytes

    def stamp(self, precise: bool) -> str:
        whole = f"{datetime.fromtimestamp(self.at_ns // 10**9, UTC):%Y-%m-%dT%H:%M:%S}"
        return f"{whole}.{self.at_ns % 10**9:09d}Z" if precise else f"{whole}Z"


class PrintedLog:
    """Give it to `TalkativeEngine.logs_of`. `print` adds a line, `finish` ends the followers, `fail` breaks them."""

    def __init__(self, *, tty: bool = False, precise: bool = True, announce: bool = True, start_s: int = 10**9) -> None:
        self.entries: list[Entry] = []
        self.requests: list[dict[str, Any]] = []
        self.before_follow = asyncio.Event()
        self.before_follow.set()
        self._tty = tty
        self._precise = precise
        self._announce = announce
        self._now_ns = start_s * 10**9
        self._over: Exception | bool = False
        self._grown: set[asyncio.Event] = set()

    def print(self, text: str | bytes, type: str = "stdout", *, seconds: float = 0.000_001) -> None:
        """Add one line, `seconds` after the one before; wake the followers."""
        self._now_ns += int(seconds * 10**9)
        data = text.encode() if isinstance(text, str) else text
        self.entries.append(Entry(type, self._now_ns, data + b"\n"))
        self._wake()

    def finish(self) -> None:
        """The container stopped."""
        self._over = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """The connection breaks."""
        self._over = error
        self._wake()

    async def __call__(self, options: dict[str, Any]) -> AsyncIterator[bytes]:
        self.requests.append(options)
        if options.get("follow"):
            await self.before_follow.wait()
        if self._announce:
            yield b""
        place = len(self.entries)
        old = self.entries[:place]
        tail = options.get("tail")
        for entry in old if tail is None else old[len(old) - min(tail, len(old)) :]:
            if self._wanted(entry, options):
                yield self._bytes(entry, options)
        if options.get("follow"):
            async for chunk in self._follow(place, options):
                yield chunk

    async def _follow(self, place: int, options: dict[str, Any]) -> AsyncIterator[bytes]:
        grown = asyncio.Event()
        self._grown.add(grown)
        try:
            while True:
                grown.clear()
                fresh, place = self.entries[place:], len(self.entries)
                if chunk := b"".join(self._bytes(each, options) for each in fresh if self._wanted(each, options)):
                    yield chunk
                if isinstance(self._over, Exception):
                    raise self._over
                if self._over:
                    return
                if place == len(self.entries):
                    await grown.wait()
        finally:
            self._grown.discard(grown)

    def _wanted(self, entry: Entry, options: dict[str, Any]) -> bool:
        return bool(options.get(entry.type, True)) and entry.at_ns >= int(options.get("since", 0)) * 10**9

    def _bytes(self, entry: Entry, options: dict[str, Any]) -> bytes:
        stamp = f"{entry.stamp(self._precise)} ".encode() if options.get("timestamps", True) else b""
        payload = stamp + entry.text
        return payload if self._tty else bytes([STREAMS[entry.type], 0, 0, 0]) + len(payload).to_bytes(4) + payload

    def _wake(self) -> None:
        for grown in self._grown:
            grown.set()
