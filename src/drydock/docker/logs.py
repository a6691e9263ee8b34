"""Container logs as pure functions of bytes: frames, lines, text (container-api.md §9.2, §9.3).

Frames may be cut anywhere; memory stays bounded whatever the container prints. Where the bytes come from and who reads
the lines is not known here.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

import msgspec

HEADER = 8
STDOUT, STDERR = 1, 2

LONGEST_LINE = 1024 * 1024
"""Bytes of one line that are held back at most; the rest of a longer line follows as further lines."""

_REPEATED_STAMP = re.compile(rb"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d) ")


class Frame(NamedTuple):
    """A piece of a frame's payload. `starts`: the piece begins a frame, that is, one message of the log driver."""

    stream: int
    payload: bytes
    starts: bool


class LogLine(msgspec.Struct, frozen=True):
    """One line. `ts` is the Engine's own timestamp text, empty without one; `line` keeps ANSI escapes."""

    type: Literal["stdout", "stderr"]
    ts: str
    line: str


class Demultiplexer:
    """Splits the framed stream of a container without TTY. Holds at most a cut header."""

    def __init__(self) -> None:
        self._head = b""
        self._stream = 0
        self._left = 0

    def feed(self, chunk: bytes) -> list[Frame]:
        """The payload pieces in `chunk`, in order; a frame cut by the chunk's end continues with the next one."""
        frames: list[Frame] = []
        at = 0
        if self._left:  # a frame that the last chunk cut goes on
            piece = chunk[: self._left]
            self._left -= len(piece)
            frames.append(Frame(self._stream, piece, False))
            at = len(piece)
        if self._head:
            chunk, at, self._head = self._head + chunk[at:], 0, b""
        end = len(chunk)
        while end - at >= HEADER:
            size = int.from_bytes(chunk[at + 4 : at + 8], "big")
            stop = at + HEADER + size
            frames.append(Frame(chunk[at], chunk[at + HEADER : stop], True))
            if stop > end:
                self._stream, self._left = chunk[at], stop - end
                return frames
            at = stop
        self._head = chunk[at:]
        return frames


class LineSplitter:
    """Lines of one log, each stream with its own unfinished tail. Streams other than 1 and 2 are ignored."""

    def __init__(self) -> None:
        self._tails = {STDOUT: b"", STDERR: b""}

    def feed(self, frame: Frame) -> list[LogLine]:
        """The lines that `frame` completes."""
        stream, payload, starts = frame
        tail = self._tails.get(stream)
        if tail is None:
            return []
        if tail:
            # A long line arrives in pieces; the Engine puts the timestamp before each of them.
            payload = tail + (_REPEATED_STAMP.sub(b"", payload, count=1) if starts else payload)
        *whole, rest = payload.split(b"\n")
        lines = [_line(stream, text) for text in whole]
        if len(rest) > LONGEST_LINE:
            cut = _character_boundary(rest)
            lines.append(_line(stream, rest[:cut]))
            stamp = _REPEATED_STAMP.match(rest)
            rest = (stamp[0] if stamp else b"") + rest[cut:]
        self._tails[stream] = rest
        return lines

    def flush(self) -> list[LogLine]:
        """What is left when the stream ends."""
        left = [_line(stream, tail) for stream, tail in self._tails.items() if tail]
        self._tails = dict.fromkeys(self._tails, b"")
        return left


class LogReader:
    """From the Engine's bytes to lines; `tty` from the container's `Config.Tty`."""

    def __init__(self, *, tty: bool) -> None:
        self._frames = None if tty else Demultiplexer()
        self._lines = LineSplitter()

    def feed(self, chunk: bytes) -> list[LogLine]:
        """The lines that `chunk` completes."""
        if self._frames is None:
            return self._lines.feed(Frame(STDOUT, chunk, False))
        feed = self._lines.feed
        return [line for frame in self._frames.feed(chunk) for line in feed(frame)]

    def finish(self) -> list[LogLine]:
        """What is left when the stream ends."""
        return self._lines.flush()


def _line(stream: int, text: bytes) -> LogLine:
    decoded = text.decode("utf-8", "replace").removesuffix("\r")
    stamp, space, line = decoded.partition(" ")
    kind: Literal["stdout", "stderr"] = "stdout" if stream == STDOUT else "stderr"
    return LogLine(kind, stamp, line) if space else LogLine(kind, "", decoded)


def _character_boundary(data: bytes) -> int:
    cut = len(data)
    while cut > len(data) - 4 and data[cut - 1] & 0xC0 == 0x80:
        cut -= 1
    return cut - 1 if data[cut - 1] >= 0xC0 else len(data)
