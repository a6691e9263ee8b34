"""All watchers of the process: their schedules, and the checks that the API asks for (watching.md §1.5–§1.7, §13)."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol

import structlog

from drydock.clock import Clock
from drydock.core.errors import DrydockError, EngineError, NotFound
from drydock.core.model import Container, audit_key
from drydock.docker.events import EventListener
from drydock.events import Bus, UpdateApplied
from drydock.fleet.fleet import Fleet
from drydock.hosts.settings import WatcherSettings
from drydock.supervisor import Supervisor
from drydock.watch.checker import CRASHED
from drydock.watch.debounce import Debounce
from drydock.watch.events import EventHandler
from drydock.watch.schedule import Timetable
from drydock.watch.watcher import Cause, Reports, Watcher

log = structlog.get_logger("watcher")

START_DELAY_S = 1.0
WINDOW_POLL_S = 60.0
RETRY_S = 60.0
NARROW = "its minute field is no *, so it opens for single minutes only"


class Memory(Protocol):
    """Small values that survive a restart."""

    async def get(self, key: str) -> str | None: ...
    async def set(self, key: str, value: str) -> None: ...


class ScheduledWatcher:
    """A watcher with its timetable, its events and its background tasks."""

    def __init__(
        self,
        settings: WatcherSettings,
        watcher: Watcher,
        timetable: Timetable,
        clock: Clock,
        memory: Memory,
        random: Random,
    ) -> None:
        self.settings = settings
        self.watcher = watcher
        self.timetable = timetable
        self.queued = False
        self.skipped_by_window = 0
        """The counter `dd_watcher_maintenance_skip_total`."""
        self.on_skip: Callable[[], None] = lambda: None
        """Called for every scan that the window puts off, after `skipped_by_window` has grown."""
        self.listener: EventListener | None = None
        """What follows the Engine's events, once started; None with `WATCHEVENTS=false`."""
        self._owed = False
        self._clock = clock
        self._memory = memory
        self._random = random
        self.rescan = Debounce(clock)
        watcher.on_pending = self._settles_at
        if timetable.window is not None and timetable.window.opens_for_single_minutes:
            log.warning("watcher.narrow_window", watcher=watcher.name, window=settings.maintenance_window, hint=NARROW)
        self.events = EventHandler(watcher.engine, watcher.discovery, watcher.fleet, watcher.ledger, self.rescan, clock)

    def start(self, supervisor: Supervisor) -> None:
        """Begin to scan by schedule and to follow events."""
        name = self.watcher.id
        supervisor.start(f"{name}:schedule", self.run_schedule)
        supervisor.start(f"{name}:rescan", self.run_rescans)
        if self.settings.watch_events:
            self.listener = EventListener(
                self.watcher.engine,
                self.events.handle,
                self._clock,
                on_reconnect=self.rescan.signal,
                on_state=self.watcher.note_connection,
                name=self.watcher.name,
            )
            supervisor.start(f"{name}:events", self.listener.run)

    async def scan(self, cause: Cause) -> Reports:
        """A full scan. One that reached the Engine is remembered, so that a restart does not repeat it."""
        reports = await self.watcher.scan(cause)
        self._owed = not self.watcher.reachable
        if self._owed:
            self.rescan.wake_in(RETRY_S)
        else:
            self.queued = False
            await self._memory.set(self._key, str(self._clock.now_ms()))
        return reports

    async def run_schedule(self) -> None:
        """The first scan, then one per tick; a queued one as soon as the window opens."""
        await self._clock.sleep(START_DELAY_S)
        await self._first_scan()
        while True:
            if await self._until_due():
                await self._tick()
            else:
                await self.scan("cron")

    async def _first_scan(self) -> None:
        """At start: the whole scan when it is due, else only a look at the host (the last picture still holds)."""
        last, now = await self._memory.get(self._key), self._clock.now_ms()
        self.watcher.last_run_ms = int(last) if last else None
        due = self.settings.watch_at_start and self.timetable.is_due(self.watcher.last_run_ms, now)
        open_now = self.timetable.window_open(now)
        if due and open_now:
            await self.scan("start")
            return
        if due:
            self._skip()
        await self._look(check=open_now, light=False)

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

    async def _tick(self) -> None:
        if self.settings.jitter:
            await self._clock.sleep(self._random.randrange(self.settings.jitter) / 1000)
        if self.timetable.window_open(self._clock.now_ms()):
            log.info("watcher.cron", watcher=self.watcher.name)
            await self.scan("cron")
        else:
            self._skip()

    def _skip(self) -> None:
        """Outside the window: the scan waits until it opens."""
        self.queued = True
        self.skipped_by_window += 1
        self.on_skip()
        log.info("watcher.queued", watcher=self.watcher.name, window=self.settings.maintenance_window)

    async def run_rescans(self) -> None:
        """Light enumerations after events, reconnects and settled containers, one at a time."""
        while True:
            await self.rescan.wait()
            if not self.timetable.window_open(self._clock.now_ms()):
                self._skip()
                await self._look(check=False, light=True)
            elif self._owed:
                await self.scan("event")
            else:
                await self._look(check=True, light=True)

    async def _look(self, *, check: bool, light: bool) -> None:
        """An enumeration; an Engine that does not answer is asked again in a minute."""
        await self.watcher.look_again(check=check, light=light)
        if not self.watcher.reachable:
            self.rescan.wake_in(RETRY_S)

    def _settles_at(self, due_ms: int) -> None:
        """A new container will have settled then: look again."""
        self.rescan.wake_in(max(0.0, (due_ms - self._clock.now_ms()) / 1000))

    @property
    def _key(self) -> str:
        return f"watcher.{self.watcher.name}.lastRunAt"

    def now_ms(self) -> int:
        """The present moment of this watcher's clock."""
        return self._clock.now_ms()

    def next_run_ms(self) -> int | None:
        """When the schedule comes round again."""
        return self.timetable.next_run(self._clock.now_ms(), queued=self.queued)


class WatchService:
    """What the API and other rooms ask of all watchers."""

    def __init__(self, watchers: Sequence[ScheduledWatcher], fleet: Fleet) -> None:
        self._watchers = {watcher.watcher.name: watcher for watcher in watchers}
        self._fleet = fleet

    def start(self, supervisor: Supervisor) -> None:
        """Start every watcher."""
        for watcher in self._watchers.values():
            watcher.start(supervisor)

    def follow_updates(self, bus: Bus) -> None:
        """Check a container again as soon as its update has finished (§13)."""
        bus.subscribe("watch:recheck", self._recheck, UpdateApplied)

    async def _recheck(self, event: UpdateApplied) -> None:
        """Inside the window only; a container that is not known under its new id yet is found by an enumeration.

        One that is known has taken its place already (`Watcher.replaced`), and its check is on the way.
        """
        before = event.container
        one = self._watchers.get(before.watcher) if before is not None and before.agent is None else None
        if before is None or one is None or not one.timetable.window_open(one.now_ms()):
            return
        if self._fleet.get(str(event.operation.get("newContainerId"))) is not None:
            return
        await one.watcher.look_again(check=False)
        for container in self._fleet.by_audit_key(audit_key(before)):
            await one.watcher.recheck(container)

    async def close(self) -> None:
        """End running scans."""
        await asyncio.gather(*(one.watcher.close() for one in self._watchers.values()))

    def engine_name(self) -> str | None:
        """The host name that an Engine told: a watcher on a socket first (watching.md §1.2); None while none did."""
        ranked = sorted(self._watchers.values(), key=lambda one: (one.settings.host is not None, one.watcher.name))
        return next((one.watcher.facts.name for one in ranked if one.watcher.facts and one.watcher.facts.name), None)

    async def forget_strangers(self) -> None:
        """Drop stored containers of local watchers that are not configured any more (platform.md §3)."""
        if not self._watchers:
            return
        for container in self._fleet.all():
            if container.agent is None and container.watcher.lower() not in self._watchers:
                log.info("watcher.record_dropped", container=container.name, watcher=container.watcher)
                await self._fleet.remove(container.id)

    def all(self) -> list[ScheduledWatcher]:
        """Every watcher by name."""
        return [self._watchers[name] for name in sorted(self._watchers)]

    def get(self, name: str) -> ScheduledWatcher | None:
        """The watcher of that name."""
        return self._watchers.get(name)

    def mark_fresh(self, container: Container) -> None:
        """See `Watcher.mark_fresh`."""
        self._owner(container).watcher.mark_fresh(container.id)

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

    async def watch_watcher(self, name: str) -> None:
        """Scan one watcher now. NotFound for an unknown name, WatchFailed when its Engine does not answer."""
        one = self._watchers.get(name)
        if one is None:
            raise NotFound(f"Watcher {name} not found")
        await one.scan("api")
        if not one.watcher.reachable:
            raise WatchFailed(f"The Engine of watcher {name} does not answer: {one.watcher.connection.failure}")

    async def watch_some(self, ids: Sequence[str]) -> None:
        """Check these containers now. NotFound for an unknown id, WatchFailed when a watcher is not registered."""
        groups: dict[str, list[Container]] = defaultdict(list)
        for id in ids:
            container = self._fleet.need(id)
            groups[container.watcher].append(container)
        owners = {name: self._owner(containers[0]) for name, containers in groups.items()}
        await asyncio.gather(*(owners[name].watcher.check_some(group) for name, group in groups.items()))

    async def watch_one(self, id: str) -> Container:
        """Refresh and check one container; NotFound when it is unknown or gone from its host."""
        container = self._fleet.need(id)
        try:
            checked = await self._owner(container).watcher.check_one(container)
        except EngineError as error:
            raise WatchFailed(f"The Engine of watcher {container.watcher} does not answer: {error.message}") from error
        if checked.error is not None and checked.error.code == CRASHED:
            raise WatchFailed(checked.error.message)
        return checked

    def _owner(self, container: Container) -> ScheduledWatcher:
        watcher = self._watchers.get(container.watcher) if container.agent is None else None
        if watcher is None:
            raise WatchFailed(f"Watcher {container.watcher} of this container is not registered")
        return watcher


class WatchFailed(DrydockError):
    """A check that was asked for could not run at all."""

    code = "watch-failed"
    default = "The check could not run"
