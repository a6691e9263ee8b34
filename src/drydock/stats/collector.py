"""Collects the stats of one container while somebody looks (container-api.md §10.2).

One stream of the Engine serves all viewers. Who looks: open streams, and for a while everybody who read over REST.
The collector ends by itself when nobody is left; `service.py` starts it and forgets it then.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import structlog

from drydock.clock import Clock
from drydock.core.errors import DrydockError
from drydock.docker.api import Document, Engine
from drydock.latest import Feed, Sink
from drydock.stats.figures import CpuReading, figures, is_running, reading
from drydock.stats.snapshot import ContainerStats, Snapshot, snapshot
from drydock.waiting import cancel, closing, wait_at_most

log = structlog.get_logger("stats")

FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 60.0
FIRST_SAMPLE_LIMIT_S = 3.0
SHORTEST_KEEP_S = 15.0


class Rhythm(msgspec.Struct, frozen=True):
    """How often samples are accepted (seconds), and how many are kept."""

    interval_s: float = 10.0
    history_size: int = 60

    @property
    def keep_s(self) -> float:
        """How long a REST read counts as somebody looking."""
        return max(SHORTEST_KEEP_S, 3 * self.interval_s)


class Collector:
    """The samples of one container, its viewers, and the one Engine stream they share."""

    def __init__(self, container_id: str, engine: Callable[[], Engine], clock: Clock, rhythm: Rhythm) -> None:
        self.container_id = container_id
        self.feed: Feed[Snapshot] = Feed()
        self._engine = engine
        self._clock = clock
        self._rhythm = rhythm
        self._history: deque[Snapshot] = deque(maxlen=max(rhythm.history_size, 1))
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
        """Look on for the duration of the block; the newest sample, if there is one, comes at once."""
        try:
            with self.feed.joined(sink):
                if self.latest is not None:
                    sink.put(self.latest)
                yield
        finally:
            self._audience_changed.set()

    async def read(self) -> ContainerStats:
        """The samples so far; on a cold start waits for the first one, 3 s at most."""
        self._keep_until = self._clock.monotonic() + self._rhythm.keep_s
        self._audience_changed.set()
        await wait_at_most(self._clock, self._tried, FIRST_SAMPLE_LIMIT_S)
        return ContainerStats(data=self.latest, history=list(self._history))

    async def run(self, deserted: Callable[[], None]) -> None:
        """Collect until nobody looks any more; calls `deserted` at that moment, before anything is closed.

        So whoever starts looking just then gets a new collector, not one that ends.
        """
        collecting = asyncio.create_task(self._collect(), name=f"stats:collect:{self.container_id[:12]}")
        waiting = asyncio.create_task(self._until_deserted(), name=f"stats:audience:{self.container_id[:12]}")
        try:
            await asyncio.wait((collecting, waiting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            deserted()
            ended = collecting.done()
            await cancel(collecting, waiting)
        if ended:
            collecting.result()

    def deserted(self) -> bool:
        """Whether nobody looks: no open stream, and the last read is long ago."""
        return not len(self.feed) and self._clock.monotonic() >= self._keep_until

    async def _until_deserted(self) -> None:
        while not self.deserted():
            self._audience_changed.clear()
            if len(self.feed):
                await self._audience_changed.wait()
            else:
                await wait_at_most(self._clock, self._audience_changed, self._keep_until - self._clock.monotonic())

    async def _collect(self) -> None:
        """One single sample for the impatient, then the stream; a lost stream is opened again after a growing pause."""
        await self._take_first()
        delay = FIRST_RETRY_S
        while True:
            if await self._follow():
                delay = FIRST_RETRY_S
            await self._clock.sleep(delay)
            delay = min(delay * 2, LONGEST_RETRY_S)

    async def _take_first(self) -> None:
        """Sample once. The Engine takes two CPU readings for it, which the first frame of a stream lacks."""
        try:
            async with asyncio.timeout(FIRST_SAMPLE_LIMIT_S):
                self._accept(await self._engine().stats_once(self.container_id))
        except (TimeoutError, DrydockError) as error:
            self._log_lost(error)
        finally:
            self._tried.set()

    async def _follow(self) -> bool:
        """Read the stream to its end; tell whether it carried anything."""
        carried = False
        try:
            async with closing(self._engine().stats(self.container_id)) as frames:
                async for document in frames:
                    carried = True
                    self._accept(document)
        except DrydockError as error:
            self._log_lost(error)
        return carried

    def _accept(self, document: Document) -> None:
        """Keep the sample unless the container does not run or the last one is less than an interval old."""
        now_ms = self._clock.now_ms()
        due = not self._history or now_ms - self._accepted_ms >= self._rhythm.interval_s * 1000
        if not due or not is_running(document):
            return
        sample = snapshot(self.container_id, figures(document, self._previous), now_ms)
        self._previous, self._accepted_ms = reading(document), now_ms
        self._history.append(sample)
        self.feed.publish(sample)

    def _log_lost(self, error: Exception) -> None:
        log.debug("stats.stream_lost", container=self.container_id, error=str(error) or type(error).__name__)
