"""Builds the observation of containers: logs, stats, and stats by environment (container-api.md §9, §10; dockhand-stats.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msgspec import structs

from drydock.clock import Clock
from drydock.compat.dockhand.environments import Environments, Host
from drydock.compat.dockhand.host_stats import HostStats
from drydock.compat.dockhand.numbers import StoredNumbers
from drydock.config.load import Settings
from drydock.core.errors import Unavailable
from drydock.docker.api import Engine
from drydock.docker.connect import resolve
from drydock.fleet.fleet import Fleet
from drydock.hosts.settings import WatcherSettings
from drydock.http.settings import HttpSettings
from drydock.logs.service import LogService
from drydock.stats.collector import Rhythm
from drydock.stats.service import StatsService
from drydock.stats.settings import StatsSettings
from drydock.store.store import Store
from drydock.supervisor import Supervisor
from drydock.watch.service import ScheduledWatcher
from drydock.watch.watcher import Watcher


@dataclass(frozen=True)
class Observation:
    """What the routes of logs and stats call."""

    logs: LogService
    stats: StatsService
    host_stats: HostStats

    async def start(self, supervisor: Supervisor) -> None:
        """Number new environments, and keep the fleet summary running."""
        await self.host_stats.environments.all()
        supervisor.start("stats:fleet", self.stats.fleet.run)


class Engines:
    """The Engines of the configured watchers by name."""

    def __init__(self, watchers: Sequence[ScheduledWatcher]) -> None:
        self._engines: Mapping[str, Engine] = {each.settings.name: each.watcher.engine for each in watchers}

    def __call__(self, watcher: str, agent: str | None) -> Engine:
        """The Engine of a watcher. Raises `Unavailable` for one that is not running here."""
        if agent is not None:
            raise Unavailable("Agent is not connected")
        if watcher not in self._engines:
            raise Unavailable(f"Watcher {watcher} is not running")
        return self._engines[watcher]


def build_observation(
    settings: Settings,
    watchers: Sequence[ScheduledWatcher],
    fleet: Fleet,
    store: Store,
    clock: Clock,
    supervisor: Supervisor,
) -> Observation:
    """The services over the Engines of the watchers."""
    engines = Engines(watchers)
    rhythm = Rhythm(interval_s=settings[StatsSettings].interval, history_size=settings[StatsSettings].history_size)
    configured = [host(one) for one in settings.all(WatcherSettings)]
    by_name = {each.settings.name: each.watcher for each in watchers}

    def hosts() -> list[Host]:
        return [structs.replace(each, online=_online(by_name.get(each.watcher))) for each in configured]

    return Observation(
        logs=LogService(fleet, engines, clock, stall_s=settings[HttpSettings].timeout_s),
        stats=StatsService(fleet, engines, clock, supervisor, rhythm),
        host_stats=HostStats(Environments(hosts, StoredNumbers(store.documents, clock)), engines, clock),
    )


def host(settings: WatcherSettings) -> Host:
    """A configured watcher as an environment. No credential, no path of a key."""
    address = resolve(settings)
    if address.socket is not None:
        return Host(watcher=settings.name, connection_type="socket", socket_path=address.socket)
    return Host(
        watcher=settings.name,
        connection_type="direct",
        host=settings.host,
        port=settings.port,
        protocol="https" if address.base.startswith("https") else "http",
    )


def _online(watcher: Watcher | None) -> bool:
    """Whether the watcher runs and its Engine answered the last call; not asked yet counts as not known to be down."""
    return watcher is not None and watcher.blocked_reason is None and watcher.connection.failure is None
