"""Logs as the API asks for them: a download, and live viewers (container-api.md §9)."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog

from drydock.clock import Clock
from drydock.core.errors import DrydockError, EngineError, NotFound, Unavailable
from drydock.core.model import Container
from drydock.docker.api import Engine
from drydock.docker.logs import STDERR, STDOUT, LineSplitter, LogLine, LogReader
from drydock.hosts.running import RUNNING, Containers, EngineFor
from drydock.logs.hub import Hub, Seam, Seat, is_precise, message
from drydock.logs.reading import PAYLOAD_LIMIT, has_tty, last_frames, too_large
from drydock.logs.selection import Selection
from drydock.logs.viewer import ROOM, Viewer
from drydock.waiting import cancel, closing, wait_at_most

log = structlog.get_logger("logs")

STALL_S = 30.0
OPEN_LIMIT_S = 1.0
"""How long a viewer's backlog waits for the live stream to be open. Later it goes on without."""


class NotRunning(DrydockError):
    """Live logs are for running containers."""

    status = 409
    code = "container-not-running"
    default = "Container is not running"


class LogService:
    """Reads logs from the Engines. `stall_s`: seconds without data after which a download fails."""

    def __init__(
        self,
        containers: Containers,
        engine_for: EngineFor,
        clock: Clock,
        stall_s: float = STALL_S,
    ) -> None:
        self._containers = containers
        self._engine_for = engine_for
        self._clock = clock
        self._stall_s = stall_s
        self._hubs: dict[str, Hub] = {}

    async def download(self, container: Container, wanted: Selection, *, timestamps: bool = True) -> bytes:
        """The log as UTF-8 text, frame headers removed; undecodable bytes become replacement characters.

        Works for stopped containers. Raises `PayloadTooLarge` over 16 MiB, `EngineError` when it cannot be read.
        """
        if wanted.empty:
            return b""
        engine = self._engine(container)
        tty = await has_tty(engine, container.id)
        make = codecs.getincrementaldecoder("utf-8")
        decoders = {stream: make(errors="replace") for stream in (STDOUT, STDERR)}
        parts, size = [], 0
        frames = last_frames(engine, container.id, wanted, tty=tty, stall_s=self._stall_s, timestamps=timestamps)
        async with closing(frames):
            async for frame in frames:
                size += len(frame.payload)
                if size > PAYLOAD_LIMIT:
                    raise too_large()
                parts.append(decoders[frame.stream].decode(frame.payload))
        parts += [decoder.decode(b"", final=True) for decoder in decoders.values()]
        return "".join(parts).encode()

    def container(self, container_id: str) -> Container:
        """The watched container with this id. Raises `NotFound`."""
        found = self._containers.get(container_id)
        if found is None:
            raise NotFound("Container not found")
        return found

    @asynccontextmanager
    async def viewer(self, container_id: str, wanted: Selection, *, follow: bool) -> AsyncIterator[Viewer]:
        """Look at a running container's log for the duration of the block.

        The viewer first gets the last `wanted.tail` lines and then, with `follow`, every new one. Raises `NotFound`,
        `NotRunning`, and `EngineError` when the watcher is not there; later failures end the viewer with an error.
        """
        container = self.container(container_id)
        if container.status != RUNNING:
            raise NotRunning()
        visit = _Visit(self, container, self._engine(container), wanted, follow=follow)
        feeding = asyncio.create_task(visit.feed(), name=f"logs:viewer:{container.name}")
        try:
            yield visit.viewer
        finally:
            visit.viewer.end()
            await cancel(feeding)
            await visit.leave()

    def open_streams(self) -> int:
        """How many containers are followed now, for tests and the debug dump."""
        return len(self._hubs)

    def hub(self, engine: Engine, container_id: str, *, tty: bool) -> Hub:
        """The live stream of a container; made here, opened by the first seat."""
        found = self._hubs.get(container_id)
        if found is None:
            found = self._hubs[container_id] = Hub(engine, container_id, tty=tty, ended=lambda: self._forget(found))
        return found

    async def opened(self, hub: Hub) -> None:
        """Wait until the Engine has opened the live stream, for a while."""
        await wait_at_most(self._clock, hub.opened, OPEN_LIMIT_S)

    @property
    def stall_s(self) -> float:
        return self._stall_s

    @property
    def now_s(self) -> int:
        return self._clock.now_ms() // 1000

    def _forget(self, hub: Hub | None) -> None:
        self._hubs = {key: each for key, each in self._hubs.items() if each is not hub}

    def _engine(self, container: Container) -> Engine:
        try:
            return self._engine_for(container.watcher, container.agent)
        except Unavailable as error:
            raise EngineError(error.message) from error


class _Visit:
    """One viewer's way through a log: backlog first, then the live stream."""

    def __init__(
        self, service: LogService, container: Container, engine: Engine, wanted: Selection, *, follow: bool
    ) -> None:
        self.viewer = Viewer()
        self._service = service
        self._ref = container.id
        self._engine = engine
        self._wanted = wanted
        self._follow = follow
        self._hub: Hub | None = None
        types = (("stdout", wanted.stdout), ("stderr", wanted.stderr))
        self._types = frozenset(name for name, chosen in types if chosen)
        self._seat = Seat(self.viewer, self._types)

    async def feed(self) -> None:
        """Bring everything to the viewer until the log ends; live lines of a shared stream come without this task."""
        try:
            tty = await has_tty(self._engine, self._ref)
            if not self._follow:
                await self._backlog(Seam(), tty)
                self.viewer.end()
            elif not self._shareable() or not await self._shared(tty):
                await self._alone(tty)
        except DrydockError as error:
            self.viewer.end(error)
        except Exception:
            log.exception("logs.viewer_failed", container=self._ref)
            self.viewer.end(EngineError("The log stream failed"))

    async def leave(self) -> None:
        """Give the seat back."""
        if self._hub is not None:
            hub, self._hub = self._hub, None
            await hub.leave(self._seat)

    def _shareable(self) -> bool:
        """A stream that begins in the future is the Engine's business alone."""
        return self._wanted.empty or self._wanted.since <= self._service.now_s

    async def _shared(self, tty: bool) -> bool:
        """Sit down at the container's hub; False where its timestamps cannot tell old lines from new ones."""
        self._hub = hub = self._service.hub(self._engine, self._ref, tty=tty)
        hub.join(self._seat)
        await self._service.opened(hub)
        seam = Seam()
        if not await self._backlog(seam, tty, precise=True):
            await self.leave()
            return False
        self._seat.settle(seam)
        return True

    async def _backlog(self, seam: Seam, tty: bool, *, precise: bool = False) -> bool:
        """Send the last lines; with `precise`, False before anything was sent if their timestamps are coarse."""
        portion: list[LogLine] = []
        size = 0
        async with closing(self._lines(tty)) as lines:
            async for line in lines:
                if precise and not is_precise(line):
                    return False
                precise = False
                seam.remember(line)
                portion.append(line)
                size += len(line.line)
                if size > ROOM:
                    await self._put(portion)
                    portion, size = [], 0
        await self._put(portion)
        return True

    async def _lines(self, tty: bool) -> AsyncIterator[LogLine]:
        splitter = LineSplitter()
        frames = last_frames(self._engine, self._ref, self._wanted, tty=tty, stall_s=self._service.stall_s)
        async with closing(frames):
            async for frame in frames:
                for line in splitter.feed(frame):
                    yield line
        for line in splitter.flush():
            yield line

    async def _alone(self, tty: bool) -> None:
        """A stream of the viewer's own, from its first line to its end."""
        reader = LogReader(tty=tty)
        stream = self._engine.logs(
            self._ref,
            stdout=self._wanted.stdout,
            stderr=self._wanted.stderr,
            follow=True,
            tail=self._wanted.tail,
            since=self._wanted.since,
        )
        async with closing(stream) as chunks:
            async for chunk in chunks:
                await self._put(reader.feed(chunk))
        await self._put(reader.finish())
        self.viewer.end()

    async def _put(self, lines: Sequence[LogLine]) -> None:
        if lines:
            encoded = [message(line).encoded for line in lines]
            await self.viewer.put(encoded, sum(map(len, encoded)))
