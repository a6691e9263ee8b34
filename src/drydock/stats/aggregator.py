"""The fleet summary: one round over all running containers per interval, while there are viewers (container-api.md §10.5).

Rounds never overlap. Without a viewer no Engine is asked at all; the first read after a pause starts a round at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import structlog

from drydock.clock import Clock
from drydock.core.errors import DrydockError
from drydock.core.model import Container
from drydock.core.temporary import is_temporary
from drydock.fleet.containers import RUNNING, Containers
from drydock.hosts.host import Hosts
from drydock.latest import Feed, Sink
from drydock.stats.figures import CpuReading, figures, is_running, reading
from drydock.stats.settings import StatsSettings
from drydock.stats.snapshot import FleetRow, FleetSummary, row, summarise
from drydock.waiting import wait_at_most

log = structlog.get_logger("stats")

CONCURRENT_CALLS = 10
"""Rounds go on all the time: they leave the Engines room for other work."""
CALL_LIMIT_S = 8.0
"""The Engine takes one to two seconds for a sample; one that takes longer than this is left out of the round."""
FIRST_ROUND_LIMIT_S = 10.0
"""How long a read waits for the round it started."""


class Tick(msgspec.Struct, frozen=True):
    """A finished round: the summary, its JSON, encoded once for all readers, and every container of it."""

    summary: FleetSummary
    encoded: bytes
    rows: list[FleetRow]


class Aggregator:
    """Holds the newest summary and renews it every interval while there is an audience."""

    def __init__(self, containers: Containers, hosts: Hosts, clock: Clock, settings: StatsSettings) -> None:
        self._containers = containers
        self._hosts = hosts
        self._clock = clock
        self._settings = settings
        self._feed: Feed[Tick] = Feed()
        self._calls = asyncio.Semaphore(CONCURRENT_CALLS)
        self._baselines: dict[str, CpuReading] = {}
        self._keep_until = 0.0
        self._wanted = asyncio.Event()
        self._fresh = asyncio.Event()
        self.tick = _tick([], clock.now_ms())

    @contextmanager
    def joined(self, sink: Sink[Tick]) -> Iterator[None]:
        """View for the duration of the block: the newest summary comes at once, then every finished round."""
        with self._feed.joined(sink):
            sink.put(self.tick)
            self._wanted.set()
            yield

    async def read(self) -> FleetSummary:
        """The newest summary. After a pause without audience it waits for the round that the read starts."""
        self._keep_until = self._clock.monotonic() + self._settings.keep_s
        self._wanted.set()
        await wait_at_most(self._clock, self._fresh, FIRST_ROUND_LIMIT_S)
        return self.tick.summary

    async def run(self) -> None:
        """Do a round every interval while there are viewers. Runs until cancelled."""
        while True:
            if not len(self._feed) and self._clock.monotonic() >= self._keep_until:
                # Whatever was read by now is stale for the next one who looks: `read` waits for the new round.
                self._fresh.clear()
                self._wanted.clear()
                await self._wanted.wait()
            began = self._clock.monotonic()
            await self._round()
            await self._clock.sleep(max(began + self._settings.interval_s - self._clock.monotonic(), 0.0))

    async def _round(self) -> None:
        running = [each for each in self._containers.all() if each.status == RUNNING and not is_temporary(each.name)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._sample(each)) for each in running]
        known = {each.id for each in running}
        self._baselines = {key: value for key, value in self._baselines.items() if key in known}
        self.tick = _tick([found for task in tasks if (found := task.result())], self._clock.now_ms())
        self._fresh.set()
        self._feed.publish(self.tick)

    async def _sample(self, container: Container) -> FleetRow | None:
        """One container's row; None if it no longer runs or its Engine does not answer in time."""
        try:
            async with self._calls, asyncio.timeout(CALL_LIMIT_S):
                document = await self._hosts.of(container).reader.stats_once(container.id)
        except (TimeoutError, DrydockError) as error:
            log.debug("stats.skipped", container=container.name, error=str(error) or type(error).__name__)
            return None
        if not is_running(document):
            return None
        computed = figures(document, self._baselines.get(container.id))
        self._baselines[container.id] = reading(document)
        return row(container.id, container.name, computed)


def _tick(rows: list[FleetRow], at_ms: int) -> Tick:
    summary = summarise(rows, at_ms)
    return Tick(summary, msgspec.json.encode(summary), rows)
