"""The Engine's event stream: framing, and a listener that never gives up (watching.md §6).

What an event means to a container is the watcher's business.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing

import msgspec
import structlog

from drydock.backoff import Backoff
from drydock.clock import Clock
from drydock.core.errors import EngineError, EngineUnreachable
from drydock.docker.api import Document, EngineReader

log = structlog.get_logger("docker.events")

LONGEST_TAIL = 1024 * 1024
FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 30.0

WATCHED: Mapping[str, Sequence[str]] = {
    "type": ["container"],
    "event": [
        "create", "destroy", "start", "stop", "pause", "unpause", "die", "update", "rename", "health_status",
        "remove", "died",  # Podman filters by its own words: destroy is remove, and die is requested as died
    ],
}  # fmt: skip

Handler = Callable[[Document], Awaitable[None] | None]


class EventParser:
    """Newline-separated JSON documents, cut anywhere. `dropped` counts what was none."""

    def __init__(self) -> None:
        self._tail = b""
        self.dropped = 0

    def feed(self, chunk: bytes) -> list[Document]:
        """The documents that `chunk` completes. Raises `EngineError` when 1 MiB holds no end of line."""
        *lines, tail = (self._tail + chunk).split(b"\n")
        found = [document for line in lines if line.strip() and (document := self._parse(line)) is not None]
        self._tail = self._eager(tail, found)
        if len(self._tail) > LONGEST_TAIL:
            self._tail = b""
            raise EngineError("The Engine sent more than 1 MiB without an end of line")
        return found

    def _eager(self, tail: bytes, found: list[Document]) -> bytes:
        text = tail.strip()
        if not (text.startswith(b"{") and text.endswith(b"}")):
            return tail
        try:
            document = msgspec.json.decode(text)
        except msgspec.DecodeError as error:
            if "truncated" in str(error):
                return tail
            self.dropped += 1
            return b""
        found.append(document)
        return b""

    def _parse(self, line: bytes) -> Document | None:
        try:
            document = msgspec.json.decode(line)
        except msgspec.DecodeError:
            document = None
        if isinstance(document, dict):
            return document
        self.dropped += 1
        log.debug("docker.events.dropped", size=len(line))
        return None


class EventListener:
    """Keeps one event stream open and hands every event to `handler`, in order.

    A lost stream is opened again after 1 s, doubling to 30 s; an accepted one resets the delay and, unless it is the very
    first attempt, calls `on_reconnect`, because events may have been missed. `on_state` hears None when the Engine
    accepts, and the reason when it cannot be reached. What `handler` raises ends `run`. `listening` is set while a stream
    is open.
    """

    def __init__(
        self,
        engine: EngineReader,
        handler: Handler,
        clock: Clock,
        *,
        on_reconnect: Callable[[], None],
        on_state: Callable[[str | None], None] = lambda _failure: None,
        filters: Mapping[str, Sequence[str]] = WATCHED,
        name: str = "",
    ) -> None:
        self._engine, self._handler, self._clock = engine, handler, clock
        self._on_reconnect, self._on_state, self._filters = on_reconnect, on_state, filters
        self._log = log.bind(watcher=name)
        self.listening = asyncio.Event()
        self._last: int | None = None
        self._opened_before = False
        self._backoff = Backoff(FIRST_DELAY_S, LONGEST_DELAY_S)
        self.failures = 0
        """Attempts that failed since the last stream was open."""
        self.delay_s: float | None = None
        """How long the pause before the next attempt is, while there is one."""

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            reason = await self._listen()
            self.listening.clear()
            self.delay_s = self._backoff.next_s()
            self.failures += 1
            tell = self._log.info if self.failures == 1 else self._log.warning
            tell("docker.events.reconnecting", attempt=self.failures, delay_s=self.delay_s, reason=reason)
            await self._clock.sleep(self.delay_s)
            self.delay_s = None

    async def _listen(self) -> str:
        """One stream to its end; why it ended."""
        try:
            await self._engine.version()
        except EngineError as error:
            return self._failed(error)
        since = None if self._last is None else self._last + 1  # nanoseconds: the event after the last one
        stream = self._engine.events(filters=self._filters, since=since, on_open=self._opened)
        async with aclosing(stream):  # type: ignore[type-var]  # the Protocol promises an iterator; members are generators
            while True:
                try:
                    event = await anext(stream)
                except StopAsyncIteration:
                    return "the Engine closed the stream"
                except EngineError as error:
                    return self._failed(error)
                if isinstance(moment := event.get("timeNano"), int):
                    self._last = max(self._last or 0, moment)
                outcome = self._handler(event)
                if inspect.isawaitable(outcome):
                    await outcome

    def _failed(self, error: EngineError) -> str:
        """Why a stream ended; an Engine that merely refuses events (a socket proxy) is not lost."""
        if isinstance(error, EngineUnreachable):
            self._on_state(error.message)
        return error.message

    def _opened(self) -> None:
        missed = self._opened_before or self.failures > 0
        self.failures = 0
        self._backoff.reset()
        self.listening.set()
        self._log.info("docker.events.listening")
        self._on_state(None)
        if missed:
            self._on_reconnect()
        self._opened_before = True
