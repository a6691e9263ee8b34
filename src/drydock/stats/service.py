"""Stats as the API asks for them: of one container, and of the fleet (container-api.md §10)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from drydock.clock import Clock
from drydock.core.errors import NotFound
from drydock.core.model import Container
from drydock.hosts.running import RUNNING, Containers, EngineFor
from drydock.latest import Sink
from drydock.stats.aggregator import Aggregator
from drydock.stats.collector import Collector, Rhythm
from drydock.stats.snapshot import ContainerStats, Snapshot
from drydock.supervisor import Supervisor

UNKNOWN = "Container not found"


class StatsService:
    """One collector per container that somebody looks at, and the aggregator of the fleet.

    `fleet.run` must be kept running by the supervisor; collectors are started here and end by themselves.
    """

    def __init__(
        self,
        containers: Containers,
        engine_for: EngineFor,
        clock: Clock,
        supervisor: Supervisor,
        rhythm: Rhythm = Rhythm(),  # noqa: B008 - frozen
    ) -> None:
        self.fleet = Aggregator(containers, engine_for, clock, rhythm)
        self._containers = containers
        self._engine_for = engine_for
        self._clock = clock
        self._supervisor = supervisor
        self._rhythm = rhythm
        self._collectors: dict[str, Collector] = {}

    async def read(self, container_id: str) -> ContainerStats:
        """The newest snapshot and the history. Raises `NotFound`; nothing is known of a container that does not run."""
        container = self.container(container_id)
        if container.status != RUNNING:
            return ContainerStats(data=None, history=[])
        return await self._collector(container).read()

    @contextmanager
    def joined(self, container: Container, sink: Sink[Snapshot]) -> Iterator[None]:
        """Look on for the duration of the block: the newest snapshot, if there is one, comes at once, then each new one."""
        with self._collector(container).joined(sink):
            yield

    def collecting(self) -> list[str]:
        """Ids of the containers whose stats are collected now, for the debug dump and tests."""
        return sorted(self._collectors)

    def container(self, container_id: str) -> Container:
        """The watched container with this id. Raises `NotFound`."""
        container = self._containers.get(container_id)
        if container is None:
            raise NotFound(UNKNOWN)
        return container

    def _collector(self, container: Container) -> Collector:
        found = self._collectors.get(container.id)
        if found is None:
            found = self._collectors[container.id] = Collector(
                container.id,
                lambda: self._engine_for(container.watcher, container.agent),
                self._clock,
                self._rhythm,
            )
            self._supervisor.spawn(f"stats:{container.name}", found.run(lambda: self._forget(container.id)))
        return found

    def _forget(self, container_id: str) -> None:
        self._collectors.pop(container_id, None)
