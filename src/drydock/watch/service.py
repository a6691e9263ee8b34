"""All watchers of the process: their schedules, and the checks that the API asks for (watching.md §1.5–§1.7, §13)."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from random import Random
from typing import Any, Protocol

import structlog

from drydock.clock import Clock
from drydock.config.reader import MASK
from drydock.config.sections.watching import WatcherSettings
from drydock.core.errors import DrydockError, EngineError
from drydock.core.model import Container
from drydock.core.times import to_iso
from drydock.docker.events import EventListener
from drydock.fleet.fleet import Fleet
from drydock.supervisor import Supervisor
from drydock.watch.debounce import Debounce
from drydock.watch.events import EventHandler
from drydock.watch.schedule import Timetable
from drydock.watch.watcher import Reports, Watcher

log = structlog.get_logger("watcher")

START_DELAY_S = 1.0
WINDOW_POLL_S = 60.0
LONGEST_NAP_S = 300.0


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
        self._clock = clock
        self._memory = memory
        self._random = random
        self.rescan = Debounce(clock)
        watcher.on_pending = self._settles_at
        self._handler = EventHandler(
            watcher.engine, watcher.discovery, watcher.fleet, watcher.ledger, self.rescan, clock
        )

    def start(self, supervisor: Supervisor) -> None:
        """Begin to scan by schedule and to follow events."""
        name = self.watcher.id
        supervisor.start(f"{name}:schedule", self._schedule)
        supervisor.start(f"{name}:rescan", self._rescans)
        if self.settings.watch_events:
            listener = EventListener(
                self.watcher.engine,
                self._handler.handle,
                self._clock,
                on_reconnect=self.rescan.signal,
                name=self.watcher.name,
            )
            supervisor.start(f"{name}:events", listener.run)

    async def scan(self, cause: Any) -> Reports:
        """A full scan; remembers when it ended."""
        try:
            return await self.watcher.scan(cause)
        finally:
            await self._memory.set(self._key, str(self._clock.now_ms()))

    async def _schedule(self) -> None:
        await self._clock.sleep(START_DELAY_S)
        await self._first_scan()
        while True:
            await self._sleep_until_tick()
            await self._scheduled_scan()

    async def _first_scan(self) -> None:
        """At start: the whole scan when it is due, else only a look at the host (the last picture still holds)."""
        last = await self._memory.get(self._key)
        self.watcher.last_run_ms = int(last) if last else None
        now = self._clock.now_ms()
        if not self.settings.watch_at_start or not self.timetable.is_due(self.watcher.last_run_ms, now):
            await self.watcher.enumerate()
            await self.watcher.check_unchecked()
        elif self.timetable.window_open(now):
            await self.scan("start")
        else:
            await self.watcher.enumerate()
            await self._wait_for_window()

    async def _sleep_until_tick(self) -> None:
        """Sleep in naps, so that a changed wall clock is noticed within minutes."""
        tick = self.timetable.next_tick(self._clock.now_ms())
        if tick is None:
            log.warning("watcher.never_due", watcher=self.watcher.name, cron=self.settings.cron)
            await asyncio.Event().wait()
            return
        while (left := (tick - self._clock.now_ms()) / 1000) > 0:
            await self._clock.sleep(min(left, LONGEST_NAP_S))

    async def _scheduled_scan(self) -> None:
        if self.settings.jitter:
            await self._clock.sleep(self._random.randrange(self.settings.jitter) / 1000)
        if not self.timetable.window_open(self._clock.now_ms()):
            await self._wait_for_window()
            return
        log.info("watcher.cron", watcher=self.watcher.name)
        await self.scan("cron")
        self.queued = False

    async def _wait_for_window(self) -> None:
        """One scan as soon as the window opens."""
        self.queued = True
        self.skipped_by_window += 1
        while not self.timetable.window_open(self._clock.now_ms()):
            await self._clock.sleep(WINDOW_POLL_S)
        await self.scan("cron")
        self.queued = False

    async def _rescans(self) -> None:
        """Light enumerations after events, reconnects and settled containers."""
        while True:
            await self.rescan.wait()
            open_now = self.timetable.window_open(self._clock.now_ms())
            await self.watcher.look_again(check=open_now)

    def _settles_at(self, due_ms: int) -> None:
        """A new container will have settled then: look again."""
        self.rescan.wake_in(max(0.0, (due_ms - self._clock.now_ms()) / 1000))

    @property
    def _key(self) -> str:
        return f"watcher.{self.watcher.name}.lastRunAt"

    def next_run_ms(self) -> int | None:
        """When the schedule comes round again."""
        return self.timetable.next_run(self._clock.now_ms(), queued=self.queued)

    def configuration(self) -> dict[str, Any]:
        """The masked configuration of the component (§1.7)."""
        s, now = self.settings, self._clock.now_ms()
        shown: dict[str, Any] = {
            "socket": s.socket,
            "host": s.host,
            "port": s.port,
            "protocol": s.protocol,
            "cafile": s.cafile,
            "certfile": s.certfile,
            "keyfile": s.keyfile,
            "auth": self._masked_auth(),
            "cron": s.cron,
            "jitter": s.jitter,
            "watchbydefault": s.watch_by_default,
            "watchall": s.watch_all,
            "watchevents": s.watch_events,
            "maintenancewindow": s.maintenance_window,
            "maintenancewindowtz": s.maintenance_window_tz,
            "maturitymode": s.maturity_mode,
            "maturityminagedays": s.maturity_min_age_days,
            "discoverysettlems": s.discovery_settle_ms,
            "tagfamily": s.tag_family,
            "tagpininfo": s.tag_pin_info,
            "maintenancewindowqueued": self.queued,
            "authblocked": self.watcher.blocked_reason is not None,
            "authblockedreason": self.watcher.blocked_reason,
        }
        if self.timetable.window is not None:
            next_window = self.timetable.next_window(now)
            shown["maintenancewindowopen"] = self.timetable.window_open(now)
            shown["maintenancenextwindow"] = to_iso(next_window) if next_window is not None else None
        return {key: value for key, value in shown.items() if value is not None}

    def _masked_auth(self) -> dict[str, str] | None:
        s = self.settings
        given = {"type": s.auth_type, "user": s.auth_user, "password": s.auth_password, "bearer": s.auth_bearer}
        shown = {key: value if key == "type" else MASK for key, value in given.items() if value}
        return {key: str(value) for key, value in shown.items()} or None

    def metadata(self) -> dict[str, Any]:
        """When it ran last, when it will run, and whether its Engine answers."""
        next_run, last_run, connection = self.next_run_ms(), self.watcher.last_run_ms, self.watcher.connection
        state = "unknown" if not connection.asked else "unreachable" if connection.failure else "connected"
        shown = {
            "lastRunAt": to_iso(last_run) if last_run else None,
            "nextRunAt": to_iso(next_run) if next_run else None,
            "status": state,
            "error": connection.failure,
            "statusSince": to_iso(connection.since_ms) if connection.since_ms else None,
        }
        return {key: value for key, value in shown.items() if value is not None}


class WatchService:
    """What the API and other rooms ask of all watchers."""

    def __init__(self, watchers: Sequence[ScheduledWatcher], fleet: Fleet) -> None:
        self._watchers = {watcher.watcher.name: watcher for watcher in watchers}
        self._fleet = fleet

    def start(self, supervisor: Supervisor) -> None:
        """Start every watcher."""
        for watcher in self._watchers.values():
            watcher.start(supervisor)

    async def forget_strangers(self) -> None:
        """Drop stored containers of local watchers that are not configured any more (platform.md §3)."""
        if not self._watchers:
            return
        for container in self._fleet.all():
            if container.agent is None and container.watcher not in self._watchers:
                log.info("watcher.record_dropped", container=container.name, watcher=container.watcher)
                await self._fleet.remove(container.id)

    def all(self) -> list[ScheduledWatcher]:
        """Every watcher by name."""
        return [self._watchers[name] for name in sorted(self._watchers)]

    def get(self, name: str) -> ScheduledWatcher | None:
        """The watcher of that name."""
        return self._watchers.get(name)

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
            return await self._owner(container).watcher.check_one(container)
        except EngineError as error:
            raise WatchFailed(f"The Engine of watcher {container.watcher} does not answer: {error.message}") from error

    def _owner(self, container: Container) -> ScheduledWatcher:
        watcher = self._watchers.get(container.watcher) if container.agent is None else None
        if watcher is None:
            raise WatchFailed(f"Watcher {container.watcher} of this container is not registered")
        return watcher


class WatchFailed(DrydockError):
    """A check that was asked for could not run at all."""

    code = "watch-failed"
    default = "The check could not run"
