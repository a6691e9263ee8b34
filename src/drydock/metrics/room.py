"""Puts the metrics together: what events count, and the numbers of other rooms, read at each scrape (platform.md §10)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Self

import msgspec

from drydock.config.load import Settings
from drydock.kernel import Kernel, Room
from drydock.latest import Sink
from drydock.metrics import computed, containers, process
from drydock.metrics.counters import COUNTED, Counters
from drydock.metrics.families import Registry
from drydock.metrics.settings import ContainerMetricsSettings, MetricsSettings
from drydock.registries.room import Registries


@dataclass(frozen=True, kw_only=True)
class Needs:
    """The numbers of other rooms."""

    version: str
    registries: Registries
    watchers: Callable[[], Iterable[computed.WatcherFigures]]
    legacy_inputs: Callable[[], Mapping[tuple[str, str], int]]
    """How often an old name was used, by source and name."""
    locked_out: Callable[[], tuple[int, int]]
    """Accounts and addresses that are locked now."""
    running_updates: Callable[[], int]
    stream_clients: Callable[[], int]
    usage: Callable[[Sink[computed.UsageRound]], AbstractContextManager[None]]
    """Hands every round of container statistics to a sink, and keeps rounds going for it."""


class Metrics(Room):
    """What `GET /metrics` answers; nothing is counted or answered with `DD_PROMETHEUS_ENABLED=false`."""

    def __init__(self, kernel: Kernel, settings: Settings, needs: Needs) -> None:
        self.enabled = settings[MetricsSettings].enabled
        self.counters = Counters()
        self._supervisor = kernel.supervisor
        self._lag = process.LoopLag(kernel.clock)
        self._usage = computed.Usage(kernel.fleet.get) if settings[ContainerMetricsSettings].containerstats else None
        self._join_usage = needs.usage
        self._joined = ExitStack()
        self.registry = Registry(
            *containers.families(lambda: map(msgspec.to_builtins, kernel.fleet.views())),
            *self.counters.families(),
            *computed.of_registries(needs.registries),
            *computed.of_watchers(needs.watchers),
            computed.of_findings(kernel.fleet.all),
            computed.legacy_inputs(needs.legacy_inputs),
            *computed.locked_out(needs.locked_out),
            computed.number("dd_update_active", "Updates that run now", needs.running_updates),
            computed.number("drydock_event_stream_clients", "Clients of the event stream", needs.stream_clients),
            *(self._usage.families() if self._usage else ()),
            *process.families(needs.version),
            self._lag.gauge,
        )

    @classmethod
    def build(cls, kernel: Kernel, settings: Settings, needs: Needs) -> Self:
        """The metrics, counting from the first event."""
        made = cls(kernel, settings, needs)
        if made.enabled:
            kernel.bus.subscribe_batches("metrics", made.counters.handle, *COUNTED)
            needs.registries.observe(made.counters.registry_answered)
        return made

    async def start(self) -> None:
        """Measure the event loop, and follow the statistics of containers if they are wanted."""
        if self.enabled:
            self._supervisor.start("metrics:loop-lag", self._lag.run)
            if self._usage is not None:
                self._joined.enter_context(self._join_usage(self._usage))

    async def stop(self) -> None:
        """Let statistics pause again."""
        self._joined.close()

    def text(self) -> bytes:
        """The body of `GET /metrics`."""
        return self.registry.text() if self.enabled else b""
