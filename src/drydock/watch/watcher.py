"""One watcher: the scans of one Docker host, one at a time (watching.md §0, §13–§15)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import structlog

from drydock.clock import Clock
from drydock.core.errors import EngineError, NotFound
from drydock.core.model import Container
from drydock.docker.api import Document, Engine
from drydock.docker.host import EngineFacts, identify
from drydock.events import Bus, ChecksFinished, ContainerChecked
from drydock.fleet.fleet import Fleet
from drydock.watch.checker import Checker
from drydock.watch.discovery import Discovery, Enumeration, Known
from drydock.watch.ledger import FleetLedger
from drydock.watch.prune import prune, prune_same_source

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
    """Scans one Engine and writes what it learns into the fleet.

    `same_source` names the other watchers of the same Engine. `watched` is the gauge `dd_watcher_total`: how many
    containers the last enumeration found to check.
    """

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
        same_source: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.engine = engine
        self.discovery = discovery
        self.connection = Connection()
        self.facts: EngineFacts | None = None
        """Who the Engine is, asked once per connection; None before it answered."""
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
        self._same_source = same_source
        self._scanning: asyncio.Task[Reports] | None = None
        self._marked_fresh: set[str] = set()
        self._ever_enumerated = False
        self.watched = 0

    @property
    def id(self) -> str:
        return f"docker.{self.name}"

    def containers(self) -> list[Container]:
        """The stored containers of this watcher."""
        return self.fleet.by_watcher(self.name)

    @property
    def reachable(self) -> bool:
        """Whether the Engine answered last time."""
        return self.connection.asked and self.connection.failure is None

    def note_connection(self, failure: str | None) -> None:
        """The Engine answered (None), or did not; told once per change."""
        if not self.connection.note(failure, self._clock.now_ms()):
            return
        self.facts = None
        if failure is None:
            log.info("watcher.engine_connected", watcher=self.name)
        else:
            log.warning("watcher.engine_unreachable", watcher=self.name, reason=failure)

    async def _get_acquainted(self) -> None:
        """Ask the Engine for its name and version, once per connection (§1.2)."""
        if self.facts is not None:
            return
        try:
            self.facts = await identify(self.engine)
        except EngineError as error:
            log.debug("watcher.engine_unknown", watcher=self.name, reason=error.message)

    async def scan(self, cause: Cause) -> Reports:
        """Enumerate and check everything. One scan at a time: whoever asks during one joins it (§14)."""
        if self._scanning is None or self._scanning.done():
            self._scanning = asyncio.create_task(self._scan(cause), name=f"{self.id}:scan")
        return await asyncio.shield(self._scanning)

    async def close(self) -> None:
        """Cancel a running scan and wait for its end."""
        if self._scanning is not None:
            self._scanning.cancel()
            await asyncio.gather(self._scanning, return_exceptions=True)

    async def look_again(self, *, check: bool = True, light: bool = True) -> Reports:
        """Enumerate, and check only what is new or runs another image; the rest keeps its last result.

        `check=False` asks no registry. `light` inspects only containers that are new or changed.
        """
        async with self._lock:
            found = await self._enumerated(light=light)
            if found is None or not check:
                return ()
            reports = await self._check([c for c in found.present if self._is_unchecked(c, found)], "event")
            self.last_run_ms = self._clock.now_ms() if reports else self.last_run_ms
            return reports

    def _is_unchecked(self, container: Container, found: Enumeration) -> bool:
        return container.id in found.fresh or self.fleet.trace(container.id) is None

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
        record = await self.discovery.look_at(self.engine, inspected, container, with_image=True)
        reports = await self._check(await self.ledger.seen([record]), cause)
        if not reports:
            raise NotFound("Container not found")
        return reports[0].container

    def mark_fresh(self, id: str) -> None:
        """A registry webhook had this container checked: the next scheduled scan skips it once (§5.1)."""
        self._marked_fresh.add(id)

    def _due(self, present: list[Container], cause: Cause) -> list[Container]:
        if cause != "cron":
            return present
        marked, self._marked_fresh = self._marked_fresh, set()
        return [container for container in present if container.id not in marked]

    async def recheck(self, container: Container) -> None:
        """Check one container after its update, without a batch report (§13)."""
        await self._check([container], "event", batch=False)

    async def replaced(
        self, old: Container, new_id: str, inspected: Document | None = None, image: Document | None = None
    ) -> Container:
        """An update of Drydock's own put another container in the place of `old`: it is known at once, unchecked.

        `inspected` and `image` are the documents of the new container and of its image, if somebody has them.
        """
        inspected = inspected or await self.engine.inspect_container(new_id)
        successor = msgspec.structs.replace(old, id=new_id, result=None, error=None, update_detected_at=None)
        record = await self.discovery.look_at(self.engine, inspected, successor, image=image)
        await self.ledger.seen([record])
        await self.fleet.remove(old.id, replacement_expected=True)
        return self.fleet.need(new_id)

    async def check_some(self, containers: Sequence[Container]) -> Reports:
        """Check these containers now, with one poll for all of them."""
        return await self._check(containers, "api")

    async def _scan(self, cause: Cause) -> Reports:
        async with self._lock:
            began = self._clock.monotonic()
            try:
                found = await self._enumerated(light=False)
                reports = await self._check(self._due(found.present, cause), cause) if found is not None else ()
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
            self.note_connection(error.message)
            return None
        self.note_connection(None)
        await self._get_acquainted()
        self._ever_enumerated = True
        await self._prune(found)
        found.present = await self.ledger.seen(found.present)
        self.watched = len(found.present)
        if (due := self.discovery.settling.next_due()) is not None:
            self.on_pending(due)
        return found

    async def _prune(self, found: Enumeration) -> None:
        await prune(self.engine, self.discovery, self.fleet, found, self.containers())
        for other in self._same_source:
            await prune_same_source(self.fleet, found, self.fleet.by_watcher(other))

    async def _check(self, containers: Sequence[Container], cause: Cause, *, batch: bool = True) -> Reports:
        if not containers:
            return ()
        reports = await self._checker.check(containers, cause)
        for report in reports:
            self._bus.publish(report)
        if batch:
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
        self._ids: dict[str, set[str]] = {}
        for container in containers:
            self._ids.setdefault(container.name, set()).add(container.id)
        self.fleet = fleet

    @property
    def empty(self) -> bool:
        return not self._by_id

    def get(self, id: str) -> Container | None:
        return self._by_id.get(id)

    def has_name(self, name: str, besides: str) -> bool:
        return bool(self._ids.get(name, set()) - {besides})
