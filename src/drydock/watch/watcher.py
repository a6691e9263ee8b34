"""One watcher: the scans of one Docker host, one at a time (watching.md §0, §13–§15)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import structlog

from drydock.clock import Clock
from drydock.core.errors import EngineError, NotFound
from drydock.core.model import Container
from drydock.docker.api import Engine
from drydock.events import Bus, ChecksFinished, ContainerChecked
from drydock.fleet.fleet import Fleet
from drydock.watch.checker import Checker
from drydock.watch.discovery import Discovery, Enumeration, Known
from drydock.watch.ledger import FleetLedger
from drydock.watch.prune import prune

log = structlog.get_logger("watcher")

Cause = Literal["cron", "start", "event", "api"]
Reports = tuple[ContainerChecked, ...]


@dataclass
class Connection:
    """What is known of the Engine: None until it was asked, then its last failure or None."""

    asked: bool = False
    failure: str | None = None
    since_ms: int | None = None

    def note(self, failure: str | None, now_ms: int) -> bool:
        """Remember the outcome of a call; True when it differs from the last one."""
        changed = not self.asked or failure != self.failure
        if changed:
            self.since_ms = now_ms
        self.asked, self.failure = True, failure
        return changed


class Watcher:
    """Scans one Engine and writes what it learns into the fleet."""

    def __init__(
        self,
        name: str,
        engine: Engine,
        discovery: Discovery,
        checker: Checker,
        fleet: Fleet,
        ledger: FleetLedger,
        bus: Bus,
        clock: Clock,
        *,
        blocked_reason: str | None = None,
    ) -> None:
        self.name = name
        self.engine = engine
        self.discovery = discovery
        self.connection = Connection()
        self.last_run_ms: int | None = None
        self.fleet = fleet
        self.on_pending: Callable[[int], None] = lambda _due_ms: None
        """Called with the moment (ms) at which a held-back container will have settled."""
        self.blocked_reason = blocked_reason
        self._checker = checker
        self.ledger = ledger
        self._bus = bus
        self._clock = clock
        self._lock = asyncio.Lock()
        self._running_api: asyncio.Task[Reports] | None = None
        self._ever_enumerated = False

    @property
    def id(self) -> str:
        return f"docker.{self.name}"

    def containers(self) -> list[Container]:
        """The stored containers of this watcher."""
        return self.fleet.by_watcher(self.name)

    async def scan(self, cause: Cause) -> Reports:
        """Enumerate and check everything. One scan at a time; API calls join a running API scan."""
        if cause != "api":
            return await self._exclusive(cause)
        if self._running_api is None or self._running_api.done():
            self._running_api = asyncio.ensure_future(self._exclusive("api"))
        return await asyncio.shield(self._running_api)

    async def enumerate(self) -> None:
        """Look at the host without asking any registry (a start before its time, or outside the window)."""
        async with self._lock:
            await self._enumerated(light=False)

    async def look_again(self, *, check: bool = True) -> Reports:
        """A light enumeration after events; only containers that are new or run another image are checked."""
        async with self._lock:
            found = await self._enumerated(light=True)
            if found is None or not check:
                return ()
            return await self._check([c for c in found.present if c.id in found.fresh], "event")

    async def check_unchecked(self) -> Reports:
        """Check the containers that were never checked; the others keep their last result."""
        async with self._lock:
            fresh = [c for c in self.containers() if self.fleet.trace(c.id) is None]
            return await self._check(fresh, "start")

    async def check_one(self, container: Container, cause: Cause = "api") -> Container:
        """Refresh one container from the Engine and check it now.

        Raises NotFound when it is gone from the host (it leaves the fleet), EngineError when the Engine fails.
        """
        try:
            inspected = await self.engine.inspect_container(container.id)
        except EngineError as error:
            if error.engine_status != 404:
                raise
            await self.fleet.remove(container.id, replacement_expected=True)
            raise NotFound("Container not found") from error
        record = await self.discovery.look_at(self.engine, inspected, container)
        reports = await self._check(await self.ledger.seen([record]), cause)
        if not reports:
            raise NotFound("Container not found")
        return reports[0].container

    async def check_some(self, containers: Sequence[Container]) -> Reports:
        """Check these containers now, with one poll for all of them."""
        return await self._check(containers, "api")

    async def _exclusive(self, cause: Cause) -> Reports:
        async with self._lock:
            began = self._clock.monotonic()
            try:
                found = await self._enumerated(light=False)
                reports = await self._check(found.present, cause) if found is not None else ()
            finally:
                self.last_run_ms = self._clock.now_ms()
            self._log_summary(cause, reports, self._clock.monotonic() - began)
            return reports

    async def _enumerated(self, *, light: bool) -> Enumeration | None:
        """Enumerate, store and prune; None when the Engine did not answer: then nothing is touched."""
        known = StoredContainers(self.containers(), self.fleet)
        settled = not self._ever_enumerated and known.empty
        try:
            found = await self.discovery.enumerate(self.engine, known, settled=settled, light=light)
        except EngineError as error:
            if self.connection.note(error.message, self._clock.now_ms()):
                log.warning("watcher.engine_unreachable", watcher=self.name, reason=error.message)
            return None
        if self.connection.note(None, self._clock.now_ms()):
            log.info("watcher.engine_connected", watcher=self.name)
        self._ever_enumerated = True
        await prune(self.engine, self.fleet, self.containers(), found)
        found.present = await self.ledger.seen(found.present)
        if (due := self.discovery.settling.next_due()) is not None:
            self.on_pending(due)
        return found

    async def _check(self, containers: Sequence[Container], cause: Cause) -> Reports:
        if not containers:
            return ()
        reports = await self._checker.check(containers, cause)
        for report in reports:
            self._bus.publish(report)
        self._bus.publish(ChecksFinished(watcher=self.name, reports=reports, cause=cause))
        return reports

    def _log_summary(self, cause: Cause, reports: Reports, seconds: float) -> None:
        log.info(
            "watcher.scanned",
            watcher=self.name,
            cause=cause,
            containers=len(reports),
            errors=sum(report.container.error is not None for report in reports),
            updates=sum(self.fleet.has_update(report.container.id) for report in reports),
            seconds=round(seconds, 2),
        )


class StoredContainers(Known):
    """The stored containers of one watcher, as discovery asks for them."""

    def __init__(self, containers: Sequence[Container], fleet: Fleet) -> None:
        self._by_id = {container.id: container for container in containers}
        self._names = {container.name for container in containers}
        self.fleet = fleet

    @property
    def empty(self) -> bool:
        return not self._by_id

    def get(self, id: str) -> Container | None:
        return self._by_id.get(id)

    def has_name(self, name: str) -> bool:
        return name in self._names
