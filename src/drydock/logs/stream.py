"""One live Engine stream of a container, shared by all its viewers, and what one viewer gets of it.

The stream begins at the present; what came before is each viewer's own backlog. A viewer joins the stream first and reads
its backlog then, so nothing falls between; lines that are in both are recognised by their nanosecond timestamps.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

import msgspec
import structlog

from drydock.core.errors import DrydockError, EngineError
from drydock.docker.api import EngineReader
from drydock.docker.logs import LogLine, LogReader
from drydock.logs.reading import last_lines
from drydock.logs.selection import Selection
from drydock.logs.viewer import ROOM, WAITING_LIMIT, Viewer
from drydock.waiting import cancel, closing

log = structlog.get_logger("logs")

PACE_S = 0.25
"""How long the stream waits for its viewers after one portion."""
REMEMBERED = 16_384
"""Lines of a backlog that are remembered to recognise them in the live stream: more than the longest backlog has."""

_encode = msgspec.json.Encoder().encode


class Message(NamedTuple):
    """A line and its JSON, encoded once for all viewers."""

    line: LogLine
    encoded: bytes


def is_precise(line: LogLine) -> bool:
    """Whether the timestamp has nanoseconds, so that it distinguishes lines; some engines give whole seconds."""
    return len(line.ts) == 30 and line.ts.endswith("Z") and not line.ts.endswith(".000000000Z")


class BacklogDedup:
    """Finds the live lines that a viewer's backlog already contained.

    Timestamps rise within each of the two streams; between them they may be a few microseconds out of order.
    """

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._last = ""
        self._seen: deque[int] = deque(maxlen=REMEMBERED)
        self._known: frozenset[int] = frozenset()
        self.needed = True
        """False once a line newer than the backlog came: nothing can repeat after it."""

    def remember(self, line: LogLine) -> None:
        """A line of the backlog."""
        self._first.setdefault(line.type, line.ts)
        self._last = max(self._last, line.ts)
        self._seen.append(hash((line.type, line.ts, line.line)))

    def complete(self) -> None:
        """The backlog has ended."""
        self._known = frozenset(self._seen)
        self._seen.clear()
        self.needed = bool(self._last)

    def repeats(self, line: LogLine) -> bool:
        """Whether a live line was in the backlog, or is older than all of it."""
        if not self.needed:
            return False
        if line.ts > self._last:
            self.needed = False
            return False
        first = self._first.get(line.type) or min(self._first.values())
        return line.ts < first or hash((line.type, line.ts, line.line)) in self._known


class ViewerSession:
    """Brings one container's log to one viewer: the last lines first, then the live ones.

    `stall_s`: seconds without data after which the backlog counts as failed.
    """

    def __init__(
        self, viewer: Viewer, engine: EngineReader, container_id: str, wanted: Selection, stall_s: float
    ) -> None:
        self.viewer = viewer
        self.caught_up = asyncio.Event()
        """Set when the backlog is sent; from then on live lines go straight to the viewer."""
        self.early_bytes = 0
        self.stream: LogStream | None = None
        self._engine = engine
        self._container_id = container_id
        self._wanted = wanted
        self._stall_s = stall_s
        types = (("stdout", wanted.stdout), ("stderr", wanted.stderr))
        self._types = frozenset(name for name, chosen in types if chosen)
        self._dedup = BacklogDedup()
        self._early: list[Message] = []
        self._ended_early: tuple[DrydockError | None] | None = None

    # what the session itself brings

    async def send_backlog(self, tty: bool, *, precise: bool = False) -> bool:
        """Send the last lines; with `precise`, False before anything was sent if their timestamps are coarse."""
        portion: list[LogLine] = []
        size = 0
        lines = last_lines(self._engine, self._container_id, self._wanted, tty=tty, stall_s=self._stall_s)
        async with closing(lines):
            async for line in lines:
                if precise and not is_precise(line):
                    return False
                precise = False  # the first line speaks for all of them
                self._dedup.remember(line)
                portion.append(line)
                size += len(line.line)
                if size > ROOM:
                    await self._put(portion)
                    portion, size = [], 0
        await self._put(portion)
        return True

    async def follow_alone(self, tty: bool) -> None:
        """Send an Engine stream of the viewer's own, from its first line to its end."""
        reader, wanted = LogReader(tty=tty), self._wanted
        chunks = self._engine.logs(
            self._container_id,
            stdout=wanted.stdout,
            stderr=wanted.stderr,
            follow=True,
            tail=wanted.tail,
            since=wanted.since,
        )
        async with closing(chunks):
            async for chunk in chunks:
                await self._put(reader.feed(chunk))
        await self._put(reader.finish())
        self.viewer.end()

    async def _put(self, lines: Sequence[LogLine]) -> None:
        if lines:
            encoded = [_encode(line) for line in lines]
            await self.viewer.put(encoded, sum(map(len, encoded)))

    # what the shared stream brings

    def deliver(self, messages: Sequence[Message], encoded: Sequence[bytes], size: int) -> None:
        """Live lines, in order; `encoded` is their JSON, of `size` bytes together."""
        if self.viewer.ended:
            return
        if self.caught_up.is_set():
            if self._dedup.needed or len(self._types) < 2:
                self._pass(messages)
            else:
                self.viewer.offer(encoded, size)
            return
        self._early.extend(messages)
        self.early_bytes += size
        if self.early_bytes > WAITING_LIMIT:
            self._early, self.early_bytes = [], 0
            self.viewer.cut()

    def catch_up(self) -> None:
        """The backlog is sent: pass on what came meanwhile, and everything from now on."""
        self._dedup.complete()
        self._pass(self._early)
        self._early, self.early_bytes = [], 0
        self.caught_up.set()
        if self._ended_early is not None:
            self.viewer.end(self._ended_early[0])

    def end(self, error: DrydockError | None) -> None:
        """The stream ended; the viewer still gets its backlog."""
        if self.caught_up.is_set():
            self.viewer.end(error)
        else:
            self._ended_early = (error,)

    def _pass(self, messages: Sequence[Message]) -> None:
        repeats = self._dedup.repeats
        wanted = [each.encoded for each in messages if each.line.type in self._types and not repeats(each.line)]
        if wanted:
            self.viewer.offer(wanted, sum(map(len, wanted)))


class LogStream:
    """Reads one container's log as it grows and hands every line to every session; ends with the last of them."""

    def __init__(self, engine: EngineReader, container_id: str, *, tty: bool, ended: Callable[[], None]) -> None:
        self.opened = asyncio.Event()
        self._engine = engine
        self._container_id = container_id
        self._tty = tty
        self._ended = ended
        self._sessions: set[ViewerSession] = set()
        self._task: asyncio.Task[None] | None = None

    def join(self, session: ViewerSession) -> None:
        """Deliver to `session` from now on; the first one opens the Engine's stream."""
        self._sessions.add(session)
        session.stream = self
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"logs:{self._container_id[:12]}")

    async def leave(self, session: ViewerSession) -> None:
        """Deliver no more; the last one to leave closes the Engine's stream."""
        session.stream = None
        self._sessions.discard(session)
        if not self._sessions and self._task is not None:
            self._ended()
            await cancel(self._task)

    async def _run(self) -> None:
        error: DrydockError | None = None
        reader = LogReader(tty=self._tty)
        try:
            async with closing(self._engine.logs(self._container_id, follow=True, tail=0)) as chunks:
                async for chunk in chunks:
                    self.opened.set()
                    self._hand_out(reader.feed(chunk))
                    await self._pace()
            self._hand_out(reader.finish())
        except DrydockError as failure:
            error = failure
            log.debug("logs.stream_lost", container=self._container_id, error=failure.message)
        except Exception:
            error = EngineError("The log stream failed")
            log.exception("logs.stream_failed", container=self._container_id)
        finally:
            self._ended()
            self.opened.set()
            for session in self._sessions:
                session.end(error)

    def _hand_out(self, lines: Sequence[LogLine]) -> None:
        if lines:
            messages = [Message(line, _encode(line)) for line in lines]
            encoded = [each.encoded for each in messages]
            size = sum(map(len, encoded))
            for session in self._sessions:
                session.deliver(messages, encoded, size)

    async def _pace(self) -> None:
        """Newcomers get time to read their backlog, then the fastest viewer sets the pace.

        What is not read yet waits on the Engine's disk and not in memory. One pause is 0.25 s at most.
        """
        newcomers = [each.caught_up.wait() for each in self._sessions if each.early_bytes > ROOM]
        await _pause(newcomers, asyncio.ALL_COMPLETED)
        watching = [each.viewer for each in self._sessions if each.caught_up.is_set() and not each.viewer.ended]
        if watching and min(viewer.waiting_bytes for viewer in watching) > ROOM:
            await _pause([viewer.room() for viewer in watching], asyncio.FIRST_COMPLETED)


async def _pause(conditions: Sequence[Coroutine[Any, Any, object]], until: str) -> None:
    if conditions:
        waits = [asyncio.ensure_future(each) for each in conditions]
        try:
            await asyncio.wait(waits, timeout=PACE_S, return_when=until)
        finally:
            await cancel(*waits)
