"""Stats as the API asks for them: of one container, and of the fleet (container-api.md §10)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from drydock.clock import Clock
from drydock.config.load import Settings
from drydock.core.model import Container
from drydock.fleet.containers import RUNNING, Containers
from drydock.hosts.host import Hosts
from drydock.kernel import Kernel, Room
from drydock.latest import Sink
from drydock.stats.aggregator import Aggregator
from drydock.stats.collector import Collector
from drydock.stats.settings import StatsSettings
from drydock.stats.snapshot import ContainerStats, Snapshot
from drydock.supervisor import Supervisor


@dataclass(frozen=True)
class Needs:
    """What this room wants of others."""

    hosts: Hosts


class Stats(Room):
    """One collector per container with viewers, and the aggregator of the fleet."""

    def __init__(
        self, containers: Containers, hosts: Hosts, clock: Clock, supervisor: Supervisor, settings: StatsSettings
    ) -> None:
        self.fleet = Aggregator(containers, hosts, clock, settings)
        self._containers = containers
        self._hosts = hosts
        self._clock = clock
        self._supervisor = supervisor
        self._settings = settings
        self._collectors: dict[str, Collector] = {}

    @classmethod
    def build(cls, kernel: Kernel, settings: Settings, needs: Needs) -> Self:
        """The room."""
        return cls(kernel.fleet, needs.hosts, kernel.clock, kernel.supervisor, settings[StatsSettings])

    async def start(self) -> None:
        """Keep the fleet summary running; collectors start when someone looks, and end by themselves."""
        self._supervisor.start("stats:fleet", self.fleet.run)

    async def read(self, container_id: str) -> ContainerStats:
        """The newest snapshot and the history. Raises `NotFound`; nothing is known of a container that does not run."""
        container = self._containers.need(container_id)
        if container.status != RUNNING:
            return ContainerStats(data=None, history=[])
        return await self._collector(container).read()

    @contextmanager
    def joined(self, container: Container, sink: Sink[Snapshot]) -> Iterator[None]:
        """View for the duration of the block: the newest snapshot, if there is one, comes at once, then each new one."""
        with self._collector(container).joined(sink):
            yield

    def collecting(self) -> list[str]:
        """Ids of the containers whose stats are collected now, for the debug dump and tests."""
        return sorted(self._collectors)

    def _collector(self, container: Container) -> Collector:
        found = self._collectors.get(container.id)
        if found is None:
            found = Collector(container, self._hosts, self._clock, self._settings)
            self._collectors[container.id] = found
            job = found.run(deserted=lambda: self._collectors.pop(container.id, None))
            self._supervisor.spawn(f"stats:{container.name}", job)
        return found
