"""One watcher: the scans of one host, one at a time (watching.md §0, §13–§15)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import structlog

from drydock.core.errors import EngineError, EngineNotFound, NotFound
from drydock.core.model import Container, HostKey
from drydock.docker.api import Document
from drydock.events import ChecksFinished, ContainerChecked, HostScanned, ScanCause
from drydock.hosts.host import Host
from drydock.watch.checker import Checker
from drydock.watch.debounce import Debounce
from drydock.watch.discovery import Discovery, Enumeration, Known
from drydock.watch.ledger import FleetLedger
from drydock.watch.prune import prune, prune_same_source

log = structlog.get_logger("watcher")

Reports = tuple[ContainerChecked, ...]


class Watcher:
    """Scans one host and writes what it learns into the fleet.

    `rescan` schedules another scan for when a held-back container has settled. `same_source` are the other hosts on
    the same daemon. `watched` is the gauge `dd_watcher_total`: how many containers the last enumeration found to check.
    """

    def __init__(
        self,
        host: Host,
        discovery: Discovery,
        checker: Checker,
        ledger: FleetLedger,
        rescan: Debounce,
        same_source: Sequence[HostKey] = (),
    ) -> None:
        self.host = host
        self.discovery = discovery
        self.ledger = ledger
        self.fleet = ledger.fleet
        self.rescan = rescan
        self.watched = 0
        self.last_run_ms: int | None = None
        self.last_success_ms: int | None = None
        """When a scan last reached the Engine."""
        self._checker = checker
        self._bus, self._clock = ledger.bus, ledger.clock
        self._same_source = same_source
        self._lock = asyncio.Lock()
        self._scanning: asyncio.Task[Reports] | None = None
        self._marked_fresh: set[str] = set()
        self._ever_enumerated = False

    @property
    def name(self) -> str:
        return self.host.key.watcher

    @property
    def id(self) -> str:
        """`docker.<name>`, behind an agent `<agent>.docker.<name>`."""
        agent, name = self.host.key
        return f"{agent}.docker.{name}" if agent else f"docker.{name}"

    def containers(self) -> list[Container]:
        """The stored containers of this host."""
        return self.fleet.by_host(self.host.key)

    # full scans

    async def scan(self, cause: ScanCause) -> Reports:
        """Enumerate and check everything. One scan at a time: a request during one joins it (§14)."""
        if self._scanning is None or self._scanning.done():
            self._scanning = asyncio.create_task(self._scan(cause), name=f"{self.id}:scan")
        return await asyncio.shield(self._scanning)

    async def close(self) -> None:
        """Cancel a running scan and wait for its end."""
        if self._scanning is not None:
            self._scanning.cancel()
            await asyncio.gather(self._scanning, return_exceptions=True)

    def mark_fresh(self, id: str) -> None:
        """A registry webhook had this container checked: the next scheduled scan skips it once (§5.1)."""
        self._marked_fresh.add(id)

    async def _scan(self, cause: ScanCause) -> Reports:
        async with self._lock:
            began = self._clock.monotonic()
            reports: Reports = ()
            try:
                found = await self._enumerated(light=False)
                if found is not None:
                    due = found.present
                    if cause == "cron":
                        marked, self._marked_fresh = self._marked_fresh, set()
                        due = [container for container in due if container.id not in marked]
                    reports = await self._check(due, cause)
            finally:
                self.last_run_ms = self._clock.now_ms()
            if found is not None:
                self.last_success_ms = self.last_run_ms
            seconds = self._clock.monotonic() - began
            self._bus.publish(HostScanned(host=self.host.key, seconds=seconds))
            log.info(
                "watcher.scanned",
                watcher=self.name,
                cause=cause,
                containers=len(reports),
                errors=sum(report.container.error is not None for report in reports),
                updates=sum(self.fleet.has_update(report.container.id) for report in reports),
                seconds=round(seconds, 2),
            )
            return reports

    async def _enumerated(self, *, light: bool) -> Enumeration | None:
        """Enumerate, store and prune; None when the Engine did not answer: then nothing is touched."""
        known = StoredContainers(self.containers())
        settled = not self._ever_enumerated and known.empty
        try:
            found = await self.discovery.enumerate(known, settled=settled, light=light)
        except EngineError as error:
            self.host.note(error.message)
            return None
        self.host.note(None)
        await self.host.get_acquainted()
        self._ever_enumerated = True
        await prune(self.discovery, self.fleet, found, self.containers())
        for other in self._same_source:
            await prune_same_source(self.fleet, found, self.fleet.by_host(other))
        found.present = await self.ledger.seen(found.present)
        self.watched = len(found.present)
        if (due_ms := self.discovery.settling.next_due()) is not None:
            self.rescan.wake_in(max(0.0, (due_ms - self._clock.now_ms()) / 1000))
        return found

    # single looks

    async def look_again(self, *, check: bool = True, light: bool = True) -> Reports:
        """Enumerate, and check only what is new or runs another image; the rest keeps its last result.

        `check=False` asks no registry. `light` inspects only containers that are new or changed.
        """
        async with self._lock:
            found = await self._enumerated(light=light)
            if found is None or not check:
                return ()
            unchecked = [c for c in found.present if c.id in found.fresh or self.fleet.trace(c.id) is None]
            reports = await self._check(unchecked, "event")
            self.last_run_ms = self._clock.now_ms() if reports else self.last_run_ms
            return reports

    async def check_one(self, container: Container, cause: ScanCause = "api") -> Container:
        """Refresh one container from the Engine and check it now.

        Raises NotFound when it is gone from the host (it leaves the fleet), EngineError when the Engine fails.
        """
        try:
            inspected = await self.host.reader.inspect_container(container.id)
        except EngineNotFound as error:
            await self.fleet.remove(container.id, replacement_expected=True)
            raise NotFound("Container not found") from error
        record = await self.discovery.look_at(inspected, container, with_image=True)
        reports = await self._check(await self.ledger.seen([record]), cause)
        if not reports:
            raise NotFound("Container not found")
        return reports[0].container

    async def check_some(self, containers: Sequence[Container]) -> Reports:
        """Check these containers now, with one poll for all of them."""
        return await self._check(containers, "api")

    async def recheck(self, container: Container) -> None:
        """Check one container after its update, without a batch report (§13)."""
        await self._check([container], "event", batch=False)

    async def replaced(
        self, old: Container, new_id: str, inspected: Document | None = None, image: Document | None = None
    ) -> Container:
        """Register the replacement created by Drydock's own update; it is checked later.

        `inspected` and `image` are the documents of the new container and of its image, where the caller has them.
        """
        inspected = inspected or await self.host.reader.inspect_container(new_id)
        successor = msgspec.structs.replace(old, id=new_id, result=None, error=None, update_detected_at=None)
        record = await self.discovery.look_at(inspected, successor, image=image)
        await self.ledger.seen([record])
        await self.fleet.remove(old.id, replacement_expected=True)
        return self.fleet.need(new_id)

    async def _check(self, containers: Sequence[Container], cause: ScanCause, *, batch: bool = True) -> Reports:
        if not containers:
            return ()
        reports = await self._checker.check(containers, cause)
        for report in reports:
            self._bus.publish(report)
        if batch:
            self._bus.publish(ChecksFinished(host=self.host.key, reports=reports, cause=cause))
        return reports


class StoredContainers(Known):
    """The stored containers of one host, as discovery asks for them."""

    def __init__(self, containers: Sequence[Container]) -> None:
        self._by_id = {container.id: container for container in containers}
        self._ids: dict[str, set[str]] = {}
        for container in containers:
            self._ids.setdefault(container.name, set()).add(container.id)

    @property
    def empty(self) -> bool:
        return not self._by_id

    def get(self, id: str) -> Container | None:
        return self._by_id.get(id)

    def has_name(self, name: str, besides: str) -> bool:
        return bool(self._ids.get(name, set()) - {besides})
