"""The end of a container's log, exactly as many lines as requested, from one Engine.

The Engine counts a tail over both streams and filters afterwards, so that `tail=3` of standard error may give nothing
although there are hundreds of lines. Where one stream is wanted, more is requested until there is enough.
"""

from __future__ import annotations

import asyncio
import codecs
from collections import deque
from collections.abc import AsyncIterator

from drydock.core.errors import EngineError, PayloadTooLarge
from drydock.docker.api import EngineReader
from drydock.docker.logs import STDERR, STDOUT, Demultiplexer, Frame, LineSplitter, LogLine
from drydock.logs.selection import Selection
from drydock.waiting import closing

PAYLOAD_LIMIT = 16 * 1024 * 1024
"""Bytes of a download at most, as read from the Engine (container-api.md §9.1)."""
WIDER = 20
"""How much more is requested when the other stream filled the tail; after that, everything."""


async def has_tty(engine: EngineReader, ref: str) -> bool:
    """Whether the container writes to a terminal: its log has no frames then, and one stream only."""
    document = await engine.inspect_container(ref)
    return bool((document.get("Config") or {}).get("Tty"))


async def log_text(engine: EngineReader, ref: str, wanted: Selection, *, stall_s: float, timestamps: bool) -> bytes:
    """The last lines as UTF-8 text, frame headers removed; undecodable bytes become replacement characters.

    Raises `PayloadTooLarge` over 16 MiB, and as `last_frames` does.
    """
    tty = await has_tty(engine, ref)
    make = codecs.getincrementaldecoder("utf-8")  # a character may be cut by the end of a frame
    decoders = {stream: make(errors="replace") for stream in (STDOUT, STDERR)}
    parts, size = [], 0
    async with closing(last_frames(engine, ref, wanted, tty=tty, stall_s=stall_s, timestamps=timestamps)) as frames:
        async for frame in frames:
            size += len(frame.payload)
            if size > PAYLOAD_LIMIT:
                raise _too_large()
            parts.append(decoders[frame.stream].decode(frame.payload))
    parts += [decoder.decode(b"", final=True) for decoder in decoders.values()]
    return "".join(parts).encode()


async def last_lines(
    engine: EngineReader, ref: str, wanted: Selection, *, tty: bool, stall_s: float
) -> AsyncIterator[LogLine]:
    """The last lines with their timestamps, oldest first; raises as `last_frames` does."""
    splitter = LineSplitter()
    async with closing(last_frames(engine, ref, wanted, tty=tty, stall_s=stall_s)) as frames:
        async for frame in frames:
            for line in splitter.feed(frame):
                yield line
    for line in splitter.flush():
        yield line


async def last_frames(
    engine: EngineReader, ref: str, wanted: Selection, *, tty: bool, stall_s: float, timestamps: bool = True
) -> AsyncIterator[Frame]:
    """Frames of the last `wanted.tail` lines, oldest first.

    Raises `PayloadTooLarge` as soon as one stream's lines to keep pass 16 MiB, `EngineError` when the Engine fails or
    says nothing for `stall_s` seconds.
    """
    if wanted.empty or wanted.tail == 0 or (tty and not wanted.stdout):
        return

    async def frames_of(tail: int | None) -> AsyncIterator[Frame]:
        split = None if tty else Demultiplexer()
        stream = engine.logs(
            ref, stdout=wanted.stdout, stderr=wanted.stderr, tail=tail, since=wanted.since, timestamps=timestamps
        )
        async with closing(stream) as chunks:
            async for chunk in within(chunks, stall_s):
                for frame in [Frame(STDOUT, chunk, False)] if split is None else split.feed(chunk):
                    if frame.stream in wanted.streams:
                        yield frame

    if tty or wanted.both:
        async with closing(frames_of(wanted.tail)) as frames:
            async for frame in frames:
                yield frame
        return
    for tail in (wanted.tail, wanted.tail * WIDER, None):
        kept = _LastLines(wanted.tail)
        async with closing(frames_of(tail)) as frames:
            async for frame in frames:
                kept.add(frame)
        if kept.full or tail is None:
            break
    for frame in kept.frames():
        yield frame


class _LastLines:
    """Keeps the frames of the last lines of one stream, within the payload limit."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._lines: deque[list[Frame]] = deque()
        self._open = False
        self._bytes = 0

    @property
    def full(self) -> bool:
        return len(self._lines) >= self._count

    def add(self, frame: Frame) -> None:
        if not self._open:
            self._lines.append([])
        self._lines[-1].append(frame)
        self._open = not frame.payload.endswith(b"\n")
        self._bytes += len(frame.payload)
        while len(self._lines) > self._count:
            self._bytes -= sum(len(gone.payload) for gone in self._lines.popleft())
        if self._bytes > PAYLOAD_LIMIT:
            raise _too_large()

    def frames(self) -> list[Frame]:
        return [frame for line in self._lines for frame in line]


async def within(chunks: AsyncIterator[bytes], stall_s: float) -> AsyncIterator[bytes]:
    """The chunks of a stream that must not pause for more than `stall_s` seconds: `EngineError` then."""
    while True:
        try:
            async with asyncio.timeout(stall_s):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise EngineError(f"The Engine sent no log data for {stall_s:g} s") from None
        yield chunk


def _too_large() -> PayloadTooLarge:
    return PayloadTooLarge(
        "The log is larger than 16 MiB", hint="Ask for fewer lines with `tail`, or for a later start with `since`."
    )
