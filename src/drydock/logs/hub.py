"""One live Engine stream of a container for all its viewers.

The stream begins at the present; what came before is each viewer's own backlog. A viewer sits down first and reads its
backlog then, so nothing falls between; lines that are in both are recognised by their nanosecond timestamps.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

import msgspec
import structlog

from drydock.core.errors import DrydockError, EngineError
from drydock.docker.api import Engine
from drydock.docker.logs import LogLine, LogReader
from drydock.logs.viewer import ROOM, WAITING_LIMIT, Viewer, ViewerTooSlow
from drydock.waiting import cancel, closing

log = structlog.get_logger("logs")

PACE_S = 0.25
"""How long the stream waits for its viewers after one portion."""
REMEMBERED = 16_384
"""Lines of a backlog that are remembered to recognise them in the live stream."""

_encode = msgspec.json.Encoder().encode


class Message(NamedTuple):
    """A line and its JSON, encoded once for all viewers."""

    line: LogLine
    encoded: bytes


def message(line: LogLine) -> Message:
    """Encode a line."""
    return Message(line, _encode(line))


def is_precise(line: LogLine) -> bool:
    """Whether the timestamp has nanoseconds, so that it tells lines apart; some engines give whole seconds."""
    return len(line.ts) == 30 and line.ts.endswith("Z") and not line.ts.endswith(".000000000Z")


class Seam:
    """Where a viewer's backlog meets the live stream: tells which live lines were in the backlog already.

    Timestamps rise within each of the two streams; between them they may be a few microseconds out of order.
    """

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._last = ""
        self._seen: deque[int] = deque(maxlen=REMEMBERED)
        self._known: frozenset[int] = frozenset()
        self.open = True

    def remember(self, line: LogLine) -> None:
        """A line of the backlog."""
        self._first.setdefault(line.type, line.ts)
        self._last = max(self._last, line.ts)
        self._seen.append(hash((line.type, line.ts, line.line)))

    def seal(self) -> None:
        """The backlog is complete."""
        self._known = frozenset(self._seen)
        self._seen.clear()
        self.open = bool(self._last)

    def repeats(self, line: LogLine) -> bool:
        """Whether a live line was in the backlog, or is older than all of it. Passed for good once a newer line comes."""
        if not self.open:
            return False
        if line.ts > self._last:
            self.open = False
            return False
        first = self._first.get(line.type) or min(self._first.values())
        return line.ts < first or hash((line.type, line.ts, line.line)) in self._known


class Seat:
    """One viewer's place at a hub: which streams it wants, and what came while it still read its backlog."""

    def __init__(self, viewer: Viewer, types: frozenset[str]) -> None:
        self.viewer = viewer
        self._types = types
        self.settled = asyncio.Event()
        self._seam: Seam | None = None
        self._early: list[Message] = []
        self.early_bytes = 0
        self._over: tuple[DrydockError | None] | None = None

    def deliver(self, messages: Sequence[Message], encoded: Sequence[bytes], size: int) -> None:
        """Live lines, in order."""
        if self.viewer.ended:
            return
        if self._seam is None:
            self._keep(messages, size)
        elif self._seam.open or len(self._types) < 2:
            self._pass(messages)
        else:
            self.viewer.offer(encoded, size)

    def settle(self, seam: Seam) -> None:
        """The backlog is sent: from now on lines go straight to the viewer."""
        seam.seal()
        self._seam = seam
        self._pass(self._early)
        self._early, self.early_bytes = [], 0
        self.settled.set()
        if self._over is not None:
            self.viewer.end(self._over[0])

    def end(self, error: DrydockError | None) -> None:
        """The stream ended; the viewer still gets its backlog."""
        if self._seam is None:
            self._over = (error,)
        else:
            self.viewer.end(error)

    def _keep(self, messages: Sequence[Message], size: int) -> None:
        self._early.extend(messages)
        self.early_bytes += size
        if self.early_bytes > WAITING_LIMIT:
            self._early = []
            self.early_bytes = 0
            self.viewer.end(ViewerTooSlow())
            self.viewer.cut_off.set()

    def _pass(self, messages: Sequence[Message]) -> None:
        seam = self._seam
        wanted = [
            each.encoded
            for each in messages
            if each.line.type in self._types and not (seam is not None and seam.repeats(each.line))
        ]
        if wanted:
            self.viewer.offer(wanted, sum(map(len, wanted)))


class Hub:
    """Reads one container's log as it grows and hands every line to every seat; ends with the last seat."""

    def __init__(self, engine: Engine, ref: str, *, tty: bool, ended: Callable[[], None]) -> None:
        self.opened = asyncio.Event()
        self._engine = engine
        self._ref = ref
        self._tty = tty
        self._ended = ended
        self._seats: set[Seat] = set()
        self._task: asyncio.Task[None] | None = None

    def join(self, seat: Seat) -> None:
        """Take a seat; the first one opens the Engine's stream."""
        self._seats.add(seat)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"logs:{self._ref[:12]}")

    async def leave(self, seat: Seat) -> None:
        """Leave; the last one closes the Engine's stream."""
        self._seats.discard(seat)
        if not self._seats and self._task is not None:
            self._ended()
            await cancel(self._task)

    async def _run(self) -> None:
        error: DrydockError | None = None
        try:
            await self._read()
        except DrydockError as failure:
            error = failure
            log.debug("logs.stream_lost", container=self._ref, error=failure.message)
        except Exception:
            error = EngineError("The log stream failed")
            log.exception("logs.stream_failed", container=self._ref)
        finally:
            self._ended()
            self.opened.set()
            for seat in self._seats:
                seat.end(error)

    async def _read(self) -> None:
        reader = LogReader(tty=self._tty)
        async with closing(self._engine.logs(self._ref, follow=True, tail=0)) as chunks:
            async for chunk in chunks:
                self.opened.set()
                self._hand_out(reader.feed(chunk))
                await self._pace()
        self._hand_out(reader.finish())

    def _hand_out(self, lines: Sequence[LogLine]) -> None:
        if lines:
            messages = [message(line) for line in lines]
            encoded = [each.encoded for each in messages]
            size = sum(map(len, encoded))
            for seat in self._seats:
                seat.deliver(messages, encoded, size)

    async def _pace(self) -> None:
        """Newcomers get time to read their backlog, then the fastest viewer sets the pace.

        What is not read yet waits on the Engine's disk and not in our memory. One pause is 0.25 s at most.
        """
        newcomers = [seat.settled.wait() for seat in self._seats if seat.early_bytes > ROOM]
        await _pause(newcomers, asyncio.ALL_COMPLETED)
        watching = [seat.viewer for seat in self._seats if seat.settled.is_set() and not seat.viewer.ended]
        if watching and min(viewer.waiting_bytes for viewer in watching) > ROOM:
            await _pause([viewer.room() for viewer in watching], asyncio.FIRST_COMPLETED)


async def _pause(conditions: Sequence[Coroutine[Any, Any, object]], until: str) -> None:
    if conditions:
        waits = [asyncio.ensure_future(each) for each in conditions]
        try:
            await asyncio.wait(waits, timeout=PACE_S, return_when=until)
        finally:
            await cancel(*waits)
