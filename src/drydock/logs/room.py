"""Container logs as the API asks for them: a download, and live viewers (container-api.md §9)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

import structlog

from drydock.clock import Clock
from drydock.config.load import Settings
from drydock.core.errors import DrydockError, EngineError, HostUnavailable
from drydock.core.model import Container
from drydock.docker.api import EngineReader
from drydock.fleet.containers import RUNNING, Containers
from drydock.hosts.host import Hosts
from drydock.http.settings import HttpSettings
from drydock.kernel import Kernel, Room
from drydock.logs.reading import has_tty, log_text
from drydock.logs.selection import Selection
from drydock.logs.stream import LogStream, ViewerSession
from drydock.logs.viewer import Viewer
from drydock.waiting import cancel, wait_at_most

log = structlog.get_logger("logs")

STALL_S = 30.0
"""The default of DD_OUTBOUND_HTTP_TIMEOUT_MS."""
OPEN_LIMIT_S = 1.0
"""How long a viewer's backlog waits for the live stream to be open. Later it goes on without."""


class NotRunning(DrydockError):
    """Live logs are for running containers."""

    status = 409
    code = "container-not-running"
    default = "Container is not running"


@dataclass(frozen=True)
class Needs:
    """What this room wants of others."""

    hosts: Hosts


class Logs(Room):
    """Reads logs from the Engines. `stall_s`: seconds without data after which a download fails."""

    def __init__(self, containers: Containers, hosts: Hosts, clock: Clock, stall_s: float = STALL_S) -> None:
        self._containers = containers
        self._hosts = hosts
        self._clock = clock
        self._stall_s = stall_s
        self._streams: dict[str, LogStream] = {}

    @classmethod
    def build(cls, kernel: Kernel, settings: Settings, needs: Needs) -> Self:
        """The room; it has no background work."""
        return cls(kernel.fleet, needs.hosts, kernel.clock, settings[HttpSettings].timeout_s)

    async def download(self, container: Container, wanted: Selection, *, timestamps: bool = True) -> bytes:
        """The log as UTF-8 text, frame headers removed; undecodable bytes become replacement characters.

        Works for stopped containers. Raises `PayloadTooLarge` over 16 MiB, `EngineError` when it cannot be read.
        """
        if wanted.empty:
            return b""
        try:
            engine = self._hosts.of(container).reader
            return await log_text(engine, container.id, wanted, stall_s=self._stall_s, timestamps=timestamps)
        except HostUnavailable as error:  # a missing host answers 500 here like every other failure (§9.1)
            raise EngineError(error.message) from error

    @asynccontextmanager
    async def viewer(self, container_id: str, wanted: Selection, *, follow: bool) -> AsyncIterator[Viewer]:
        """View a running container's log for the duration of the block.

        The viewer first gets the last `wanted.tail` lines and then, with `follow`, every new one. Raises `NotFound`,
        `NotRunning`, and `HostUnavailable` when the host is not there; later failures end the viewer with an error.
        """
        container = self._containers.need(container_id)
        if container.status != RUNNING:
            raise NotRunning()
        engine, viewer = self._hosts.of(container).reader, Viewer()
        session = ViewerSession(viewer, engine, container.id, wanted, self._stall_s)
        feeding = asyncio.create_task(
            self._feed(session, engine, container.id, wanted, follow=follow), name=f"logs:viewer:{container.name}"
        )
        try:
            yield viewer
        finally:
            viewer.end()
            await cancel(feeding)
            if session.stream is not None:
                await session.stream.leave(session)

    def open_streams(self) -> int:
        """How many containers are followed now, for tests and the debug dump."""
        return len(self._streams)

    async def _feed(
        self, session: ViewerSession, engine: EngineReader, container_id: str, wanted: Selection, *, follow: bool
    ) -> None:
        """Bring everything to the viewer until the log ends; live lines of a shared stream come without this task."""
        try:
            tty = await has_tty(engine, container_id)
            if not follow:
                await session.send_backlog(tty)
                session.viewer.end()
                return
            # One that begins in the future is not shared: the Engine alone knows when it has come.
            if wanted.empty or wanted.since <= self._clock.now_ms() // 1000:
                stream = self._stream(engine, container_id, tty=tty)
                stream.join(session)
                await wait_at_most(self._clock, stream.opened, OPEN_LIMIT_S)
                if await session.send_backlog(tty, precise=True):
                    session.catch_up()
                    return
                await stream.leave(session)
            await session.follow_alone(tty)
        except DrydockError as error:
            session.viewer.end(error)
        except Exception:
            log.exception("logs.viewer_failed", container=container_id)
            session.viewer.end(EngineError("The log stream failed"))

    def _stream(self, engine: EngineReader, container_id: str, *, tty: bool) -> LogStream:
        """The live stream of a container; the first session that joins opens it."""
        found = self._streams.get(container_id)
        if found is None:

            def forget() -> None:
                if self._streams.get(container_id) is found:
                    del self._streams[container_id]

            found = self._streams[container_id] = LogStream(engine, container_id, tty=tty, ended=forget)
        return found
