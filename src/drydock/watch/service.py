"""All watchers of the process: their schedules, and the checks that the API asks for (watching.md §1.5–§1.7, §13)."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from random import Random
from typing import Protocol
from zoneinfo import ZoneInfo

import structlog

from drydock.core.component import Component
from drydock.core.cron import parse_cron
from drydock.core.errors import DrydockError, EngineError, NotFound
from drydock.core.model import Container, HostKey, audit_key
from drydock.core.times import to_iso
from drydock.docker.api import Document
from drydock.docker.events import EventListener
from drydock.events import ScanCause, ScanPutOff, UpdateApplied
from drydock.fleet.fleet import Fleet
from drydock.supervisor import Supervisor
from drydock.watch.checker import CRASHED
from drydock.watch.component import configuration, metadata
from drydock.watch.events import EventHandler
from drydock.watch.ledger import FleetLedger
from drydock.watch.schedule import Timetable
from drydock.watch.watcher import Reports, Watcher

log = structlog.get_logger("watcher")

START_DELAY_S = 1.0
WINDOW_POLL_S = 60.0
RETRY_S = 60.0
LONGEST_NAP_S = 300.0
NARROW = "its minute field is no *, so it opens for single minutes only"


class Memory(Protocol):
    """Small values that survive a restart."""

    async def get(self, key: str) -> str | None: ...
    async def set(self, key: str, value: str) -> None: ...


class ScheduledWatcher:
    """A watcher with its timetable, its events and its background tasks."""

    def __init__(self, watcher: Watcher, timetable: Timetable, memory: Memory, random: Random) -> None:
        self.settings = settings = watcher.host.settings
        self.watcher = watcher
        self.timetable = timetable
        self.queued = False
        self.listener: EventListener | None = None
        """What follows the Engine's events, once started; None with `WATCHEVENTS=false`."""
        self._owed = False
        self._clock = watcher.ledger.clock
        self._memory = memory
        self._random = random
        self.rescan = watcher.rescan
        if timetable.window is not None and timetable.window.opens_for_single_minutes:
            log.warning("watcher.narrow_window", watcher=watcher.name, window=settings.maintenance_window, hint=NARROW)
        self.events = EventHandler(watcher.discovery, watcher.ledger, self.rescan)

    def start(self, supervisor: Supervisor) -> None:
        """Begin to scan by schedule and to follow events."""
        name = self.watcher.id
        supervisor.start(f"{name}:schedule", self.run_schedule)
        supervisor.start(f"{name}:rescan", self.run_rescans)
        if self.settings.watch_events:
            self.listener = EventListener(
                self.watcher.host.reader,
                self.events.handle,
                self._clock,
                on_reconnect=self.rescan.signal,
                on_state=self.watcher.host.note,
                name=self.watcher.name,
            )
            supervisor.start(f"{name}:events", self.listener.run)

    async def scan(self, cause: ScanCause) -> Reports:
        """A full scan. One that reached the Engine is remembered, so that a restart does not repeat it."""
        reports = await self.watcher.scan(cause)
        self._owed = not self.watcher.host.state.connected
        if self._owed:
            self.rescan.wake_in(RETRY_S)
        else:
            self.queued = False
            await self._memory.set(self._key, str(self._clock.now_ms()))
        return reports

    async def run_schedule(self) -> None:
        """The first scan, then one per tick; a queued one as soon as the window opens."""
        await self._clock.sleep(START_DELAY_S)

        # at start the whole scan when it is due, else only a look at the host: the last picture still holds
        last, now = await self._memory.get(self._key), self._clock.now_ms()
        self.watcher.last_run_ms = int(last) if last else None
        due = self.settings.watch_at_start and self.timetable.is_due(self.watcher.last_run_ms, now)
        open_now = self.timetable.window_open(now)
        if due and open_now:
            await self.scan("start")
        else:
            if due:
                self._put_off()
            await self._look(check=open_now, light=False)

        while True:
            if await self._until_due() and self.settings.jitter:
                await self._clock.sleep(self._random.randrange(self.settings.jitter) / 1000)
            if self.timetable.window_open(self._clock.now_ms()):
                log.info("watcher.cron", watcher=self.watcher.name)
                await self.scan("cron")
            else:
                self._put_off()

    async def _until_due(self) -> bool:
        """Wait for the next tick (True), or for the window while a scan is queued (False).

        Sleeps in naps, so that a changed wall clock is noticed within a minute.
        """
        tick = self.timetable.next_tick(self._clock.now_ms())
        if tick is None:
            log.warning("watcher.never_due", watcher=self.watcher.name, cron=self.settings.cron)
        while True:
            now = self._clock.now_ms()
            if self.queued and self.timetable.window_open(now):
                return False
            if tick is not None and tick <= now:
                return True
            left = WINDOW_POLL_S if tick is None else (tick - now) / 1000
            await self._clock.sleep(min(left, WINDOW_POLL_S))

    def _put_off(self) -> None:
        """Outside the window: the scan waits until it opens."""
        self.queued = True
        self.watcher.ledger.bus.publish(ScanPutOff(host=self.watcher.host.key))
        log.info("watcher.queued", watcher=self.watcher.name, window=self.settings.maintenance_window)

    async def run_rescans(self) -> None:
        """Light enumerations after events, reconnects and settled containers, one at a time."""
        while True:
            await self.rescan.wait()
            if not self.timetable.window_open(self._clock.now_ms()):
                self._put_off()
                await self._look(check=False, light=True)
            elif self._owed:
                await self.scan("event")
            else:
                await self._look(check=True, light=True)

    async def _look(self, *, check: bool, light: bool) -> None:
        """An enumeration; an Engine that does not answer is asked again in a minute."""
        await self.watcher.look_again(check=check, light=light)
        if not self.watcher.host.state.connected:
            self.rescan.wake_in(RETRY_S)

    @property
    def _key(self) -> str:
        return f"watcher.{self.watcher.host.key}.lastRunAt"

    def now_ms(self) -> int:
        """The present moment of this watcher's clock."""
        return self._clock.now_ms()

    def next_run_ms(self) -> int | None:
        """When the schedule comes round again."""
        return self.timetable.next_run(self._clock.now_ms(), queued=self.queued)


class WatchService:
    """What the API and other rooms ask of all watchers."""

    def __init__(self, watchers: Iterable[ScheduledWatcher], fleet: Fleet) -> None:
        self._watchers = {one.watcher.host.key: one for one in watchers}
        self._fleet = fleet

    def start(self, supervisor: Supervisor) -> None:
        """Start every watcher."""
        for watcher in self.all():
            watcher.start(supervisor)

    async def close(self) -> None:
        """End running scans."""
        await asyncio.gather(*(one.watcher.close() for one in self._watchers.values()))

    def all(self) -> list[ScheduledWatcher]:
        """Every watcher by agent and name."""
        return [self._watchers[key] for key in sorted(self._watchers, key=lambda key: (key.agent or "", key.watcher))]

    def components(self) -> list[Component]:
        """The watchers as the API lists them; it adds the counts of their containers."""
        return [
            Component(
                id=one.watcher.id,
                type="docker",
                name=one.watcher.name,
                configuration=configuration(one),
                metadata=metadata(one),
            )
            for one in self.all()
        ]

    def work(self) -> bool:
        """Whether every Engine answers."""
        return all(one.watcher.host.state.connected for one in self.all())

    def get(self, host: HostKey) -> ScheduledWatcher | None:
        """The watcher of that host."""
        return self._watchers.get(host)

    def engine_name(self) -> str | None:
        """The host name reported by an Engine: a watcher on a socket first (watching.md §1.2); None while none has."""
        ranked = sorted(self.all(), key=lambda one: one.settings.host is not None)
        facts = (one.watcher.host.facts for one in ranked)
        return next((found.name for found in facts if found is not None and found.name), None)

    def window_open(self, container: Container) -> bool | None:
        """Whether the maintenance window of the container's watcher is open; None where no watcher serves it."""
        one = self._watchers.get(container.host)
        return one.timetable.window_open(one.now_ms()) if one else None

    def next_check_at(self, container: Container) -> str | None:
        """When the schedule of the container's watcher comes round again (ISO)."""
        one = self._watchers.get(container.host)
        moment = one.next_run_ms() if one else None
        return to_iso(moment) if moment is not None else None

    async def forget_strangers(self) -> None:
        """Drop stored containers of hosts that are not configured any more (platform.md §3).

        Judged only where something is configured: without any watcher, or for an agent that is not set up, all stay.
        """
        agents = {key.agent for key in self._watchers}
        for container in self._fleet.all():
            key = HostKey(container.agent, container.watcher.lower())
            if key.agent in agents and key not in self._watchers:
                log.info("watcher.record_dropped", container=container.name, watcher=container.watcher)
                await self._fleet.remove(container.id)

    # after updates

    async def on_update_applied(self, event: UpdateApplied) -> None:
        """Check a container again as soon as its update has finished (§13).

        Inside the window only; a container that is not known under its new id yet is found by an enumeration. One that
        is known has taken its place already (`replaced`), and its check is on the way.
        """
        before = event.container
        one = self._watchers.get(before.host) if before is not None else None
        if before is None or one is None or not one.timetable.window_open(one.now_ms()):
            return
        if self._fleet.get(str(event.operation.get("newContainerId"))) is not None:
            return
        await one.watcher.look_again(check=False)
        for container in self._fleet.by_audit_key(audit_key(before)):
            await one.watcher.recheck(container)

    async def look_again(self, host: HostKey) -> None:
        """See what runs on a host now, and check what is new."""
        if (one := self._watchers.get(host)) is not None:
            await one.watcher.look_again()

    async def replaced(
        self, old: Container, new_id: str, inspected: Document | None = None, image: Document | None = None
    ) -> Container | None:
        """The new container takes the place of the old one at once; gives it when it is to be checked now.

        Outside of the maintenance window no registry is asked: the scan at its opening does that.
        """
        one = self._watchers.get(old.host)
        if one is None:
            return None
        new = await one.watcher.replaced(old, new_id, inspected, image)
        return new if one.timetable.window_open(one.now_ms()) else None

    def mark_fresh(self, container: Container) -> None:
        """See `Watcher.mark_fresh`."""
        self._of(container).watcher.mark_fresh(container.id)

    # manual checks

    async def watch_all(self) -> None:
        """Scan every watcher now. Raises WatchFailed only when none of them could run."""
        if not self._watchers:
            return
        outcomes = await asyncio.gather(*(w.scan("api") for w in self._watchers.values()), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, DrydockError):
                raise outcome
        if all(isinstance(outcome, BaseException) for outcome in outcomes):
            raise WatchFailed("No watcher could run")

    async def watch_watcher(self, name: str, agent: str | None = None) -> None:
        """Scan one watcher now. NotFound for an unknown name, WatchFailed when its Engine does not answer."""
        one = self._watchers.get(HostKey(agent, name))
        if one is None:
            raise NotFound(f"Watcher {name} not found")
        await one.scan("api")
        if not one.watcher.host.state.connected:
            raise WatchFailed(f"The Engine of watcher {name} does not answer: {one.watcher.host.state.reason}")

    async def watch_some(self, ids: Sequence[str]) -> None:
        """Check these containers now. NotFound for an unknown id, WatchFailed when a watcher is not registered."""
        groups: dict[HostKey, list[Container]] = defaultdict(list)
        for id in ids:
            container = self._fleet.need(id)
            groups[container.host].append(container)
        owners = {host: self._of(containers[0]) for host, containers in groups.items()}
        await asyncio.gather(*(owners[host].watcher.check_some(group) for host, group in groups.items()))

    async def watch_one(self, id: str) -> Container:
        """Refresh and check one container; NotFound when it is unknown or gone from its host."""
        container = self._fleet.need(id)
        try:
            checked = await self._of(container).watcher.check_one(container)
        except EngineError as error:
            raise WatchFailed(f"The Engine of watcher {container.watcher} does not answer: {error.message}") from error
        if checked.error is not None and checked.error.code == CRASHED:
            raise WatchFailed(checked.error.message)
        return checked

    def _of(self, container: Container) -> ScheduledWatcher:
        one = self._watchers.get(container.host)
        if one is None:
            raise WatchFailed(f"Watcher {container.watcher} of this container is not registered")
        return one


class WatchFailed(DrydockError):
    """A requested check could not run at all."""

    code = "watch-failed"
    default = "The check could not run"


class MaturitySweep:
    """Looks, by schedule, for updates whose maturity gate opened meanwhile (§11.4). Asks no registry."""

    def __init__(self, ledger: FleetLedger, expression: str, zone: ZoneInfo) -> None:
        self._ledger = ledger
        self._cron = parse_cron(expression)
        self._zone = zone

    async def run(self) -> None:
        """One sweep per tick, until cancelled; never two at a time."""
        clock = self._ledger.clock
        while True:
            tick = self._cron.next_after(clock.now_ms(), self._zone)
            # naps, so that a changed wall clock is noticed
            while tick is None or (left := (tick - clock.now_ms()) / 1000) > 0:
                await clock.sleep(LONGEST_NAP_S if tick is None else min(left, LONGEST_NAP_S))
            await self._ledger.sweep()
