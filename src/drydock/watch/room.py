"""The room: a watcher for every host, their schedules, and the sweep of maturity gates (watching.md §1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from zoneinfo import ZoneInfo

import structlog

from drydock.config.load import Settings
from drydock.core.cron import CronError
from drydock.events import UpdateApplied
from drydock.hosts.host import Hosts
from drydock.kernel import Kernel, Room
from drydock.registries.room import Registries
from drydock.store.documents import Documents
from drydock.supervisor import Supervisor
from drydock.watch.checker import Checker
from drydock.watch.debounce import Debounce
from drydock.watch.discovery import Discovery, context_of
from drydock.watch.ledger import FleetLedger
from drydock.watch.notices import Notices
from drydock.watch.schedule import timetable
from drydock.watch.service import MaturitySweep, ScheduledWatcher, WatchService
from drydock.watch.settings import WatchingSettings
from drydock.watch.watcher import Watcher

log = structlog.get_logger("watcher")

STATE = "watchers"


@dataclass(frozen=True)
class Needs:
    """Hosts to watch, registries to ask, the zone of schedules, and where uses of old labels are counted."""

    hosts: Hosts
    registries: Registries
    zone: ZoneInfo
    count_legacy_label: Callable[[str], None]


class Watching(Room):
    """All watchers of the process."""

    def __init__(self, service: WatchService, sweep: MaturitySweep | None, supervisor: Supervisor) -> None:
        self.service = service
        self._sweep = sweep
        self._supervisor = supervisor

    @classmethod
    async def build(cls, kernel: Kernel, settings: Settings, needs: Needs) -> Watching:
        """Subscribes to finished updates. A watcher that cannot be scheduled is left out with a warning."""
        ledger = FleetLedger(kernel.fleet, kernel.bus, kernel.clock)
        notices = Notices(
            # what a label can miss depends on the triggers that are configured
            has_actions=settings.configures("DD_ACTION_"),
            has_notifications=settings.configures("DD_NOTIFICATION_"),
            count_legacy=needs.count_legacy_label,
        )
        memory = WatcherMemory(kernel.store.documents)
        watchers: list[ScheduledWatcher] = []
        for host in needs.hosts.all():
            try:
                calendar = timetable(host.settings, needs.zone)
            except CronError as error:
                log.warning("watcher.not_started", watcher=str(host.key), reason=str(error))
                continue
            discovery = Discovery(host, context_of(host, needs.registries), kernel.clock, notices)
            watcher = Watcher(
                host,
                discovery,
                Checker(needs.registries, ledger, kernel.clock),
                ledger,
                Debounce(kernel.clock),
                needs.hosts.same_source(host),
            )
            watchers.append(ScheduledWatcher(watcher, calendar, memory, Random()))
        service = WatchService(watchers, kernel.fleet)
        await service.forget_strangers()
        kernel.bus.subscribe("watch:recheck", service.on_update_applied, UpdateApplied)
        cron = settings[WatchingSettings].maturity_sweep_cron
        sweep = MaturitySweep(ledger, cron, needs.zone) if cron is not None else None
        return cls(service, sweep, kernel.supervisor)

    async def start(self) -> None:
        """Scan by schedule, follow events, open maturity gates."""
        self.service.start(self._supervisor)
        if self._sweep is not None:
            self._supervisor.start("maturity-sweep", self._sweep.run)

    async def stop(self) -> None:
        """End running scans."""
        await self.service.close()


class WatcherMemory:
    """When each watcher ran last, across restarts."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def get(self, key: str) -> str | None:
        return await self._documents.get(STATE, key, str)

    async def set(self, key: str, value: str) -> None:
        await self._documents.put(STATE, key, value)
