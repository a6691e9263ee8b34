"""Collects the stats of one container while it has viewers (container-api.md §10.2).

One stream of the Engine serves all viewers. The audience: open streams, and for a while everyone who read over REST.
The collector ends by itself when no one is left; `room.py` starts it and forgets it then.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from drydock.backoff import Backoff
from drydock.clock import Clock
from drydock.core.errors import DrydockError
from drydock.core.model import Container
from drydock.docker.api import Document
from drydock.hosts.host import Hosts
from drydock.latest import Feed, Sink
from drydock.stats.figures import CpuReading, figures, is_running, reading
from drydock.stats.settings import StatsSettings
from drydock.stats.snapshot import ContainerStats, Snapshot, snapshot
from drydock.waiting import cancel, closing, wait_at_most

log = structlog.get_logger("stats")

FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 60.0
FIRST_SAMPLE_LIMIT_S = 3.0
"""How long a first read waits, so that it has figures already (container-api.md §10.3)."""


class Collector:
    """The samples of one container, its viewers, and the one Engine stream they share."""

    def __init__(self, container: Container, hosts: Hosts, clock: Clock, settings: StatsSettings) -> None:
        self._container = container
        self._hosts = hosts
        self._clock = clock
        self._settings = settings
        self._feed: Feed[Snapshot] = Feed()
        self._history: deque[Snapshot] = deque(maxlen=settings.history_size)
        self._previous: CpuReading | None = None
        self._accepted_ms = 0
        self._keep_until = 0.0
        self._tried = asyncio.Event()
        self._audience_changed = asyncio.Event()

    @property
    def latest(self) -> Snapshot | None:
        """The newest accepted sample."""
        return self._history[-1] if self._history else None

    @contextmanager
    def joined(self, sink: Sink[Snapshot]) -> Iterator[None]:
        """View for the duration of the block; the newest sample, if there is one, comes at once."""
        try:
            with self._feed.joined(sink):
                if self.latest is not None:
                    sink.put(self.latest)
                yield
        finally:
            self._audience_changed.set()

    async def read(self) -> ContainerStats:
        """The samples so far; on a cold start waits for the first one, 3 s at most."""
        self._keep_until = self._clock.monotonic() + self._settings.keep_s
        self._audience_changed.set()
        await wait_at_most(self._clock, self._tried, FIRST_SAMPLE_LIMIT_S)
        return ContainerStats(data=self.latest, history=list(self._history))

    async def run(self, *, deserted: Callable[[], object]) -> None:
        """Collect until there are no viewers left; calls `deserted` at that moment, before anything is closed.

        So a viewer that joins just then gets a new collector, not one that ends.
        """
        name = self._container.id[:12]
        collecting = asyncio.create_task(self._collect(), name=f"stats:collect:{name}")
        waiting = asyncio.create_task(self._until_deserted(), name=f"stats:audience:{name}")
        try:
            await asyncio.wait((collecting, waiting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            deserted()
            ended = collecting.done()
            await cancel(collecting, waiting)
        if ended:
            collecting.result()

    async def _until_deserted(self) -> None:
        """Wait until no stream is open and the last read is long ago."""
        while len(self._feed) or self._clock.monotonic() < self._keep_until:
            self._audience_changed.clear()
            if len(self._feed):
                await self._audience_changed.wait()
            else:
                await wait_at_most(self._clock, self._audience_changed, self._keep_until - self._clock.monotonic())

    async def _collect(self) -> None:
        """One single sample at once, then the stream; a lost stream is opened again after a growing pause."""
        container = self._container
        try:
            # For a single sample the Engine takes two CPU readings, which the first frame of a stream lacks.
            async with asyncio.timeout(FIRST_SAMPLE_LIMIT_S):
                self._accept(await self._hosts.of(container).reader.stats_once(container.id))
        except (TimeoutError, DrydockError) as error:
            self._log_lost(error)
        finally:
            self._tried.set()

        backoff = Backoff(FIRST_RETRY_S, LONGEST_RETRY_S)
        while True:
            try:
                async with closing(self._hosts.of(container).reader.stats(container.id)) as documents:
                    async for document in documents:
                        backoff.reset()
                        self._accept(document)
            except DrydockError as error:
                self._log_lost(error)
            await self._clock.sleep(backoff.next_s())

    def _accept(self, document: Document) -> None:
        """Keep the sample unless the container does not run or the last one is less than an interval old."""
        now_ms = self._clock.now_ms()
        due = not self._history or now_ms - self._accepted_ms >= self._settings.interval_s * 1000
        if not due or not is_running(document):
            return
        sample = snapshot(self._container.id, figures(document, self._previous), now_ms)
        self._previous, self._accepted_ms = reading(document), now_ms
        self._history.append(sample)
        self._feed.publish(sample)

    def _log_lost(self, error: Exception) -> None:
        log.debug("stats.stream_lost", container=self._container.id, error=str(error) or type(error).__name__)
