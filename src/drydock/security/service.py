"""The room as the API, the schedule and the command line see it: scan one, scan many, stop, SBOM, overview.

Order of reading: `examination.py` (one container), `cycles.py` (many), `inspector.py` (one image), `scanners/`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import structlog

from drydock.clock import Clock
from drydock.core.errors import BadRequest, DrydockError, NotFound, Unavailable
from drydock.core.model import Container
from drydock.core.scans import CANDIDATE, settled
from drydock.core.temporary import is_temporary
from drydock.core.times import to_iso
from drydock.events import Bus, ContainerUpdated, Event, ScanCompleted, ScanStarted
from drydock.fleet.fleet import Fleet
from drydock.security import model
from drydock.security.alerts import Alerts, Level
from drydock.security.cache import DigestCache
from drydock.security.cycles import Cycle, Plan, Runner
from drydock.security.documents import Document, Sboms
from drydock.security.examination import Examiner
from drydock.security.identifiers import uuid7
from drydock.security.inspector import Inspector
from drydock.security.model import SbomFormat
from drydock.security.overview import Overview, overview
from drydock.security.settings import ScanSettings
from drydock.security.signatures.base import Verifier
from drydock.security.subjects import candidate, running
from drydock.security.writeback import Slots, merged
from drydock.single_flight import SingleFlight
from drydock.store.sboms import SbomFiles
from drydock.supervisor import Supervisor

log = structlog.get_logger("security")

BULK_CONCURRENCY = 4
CYCLES_REMEMBERED = 32


class ScanCrashed(DrydockError):
    """Something broke in our own scan code; the reason is in the log."""

    code = "security-scan-crashed"
    default = "Security scan failed"


@dataclass(frozen=True)
class Tools:
    """The programs of the configuration; absent when no scanner is configured."""

    inspector: Inspector
    cache: DigestCache
    verifier: Verifier | None = None


class SecurityService:
    """All of scanning. `tools` None: switched off, every question about scans is refused with the promised text."""

    def __init__(
        self,
        tools: Tools | None,
        settings: ScanSettings,
        fleet: Fleet,
        files: SbomFiles,
        alerts: Alerts,
        bus: Bus,
        clock: Clock,
        supervisor: Supervisor,
    ) -> None:
        self.tools = tools
        self.settings = settings
        self._fleet = fleet
        self._files = files
        self._alerts = alerts
        self._bus = bus
        self._clock = clock
        self._supervisor = supervisor
        self._cycles: dict[str, Cycle] = {}
        self._singles: SingleFlight[Container] = SingleFlight(abandon=True)
        if tools:
            self.sboms = Sboms(tools.inspector, files, clock)
            self._examiner = Examiner(tools.inspector, self.sboms, tools.verifier, settings)
            self._runner = Runner(fleet, tools.inspector, alerts, bus, clock)

    @property
    def enabled(self) -> bool:
        """A scanner is configured."""
        return self.tools is not None

    # one container

    async def scan_one(self, id: str) -> Container:
        """Scan a container and its candidate now; the record as stored then.

        Raises `NotFound` (unknown, or gone when the scan ended), `BadRequest` when no scanner is configured,
        `ScanCrashed`. Whoever asks for a container that is being scanned shares that scan.
        """
        self._fleet.need(id)
        self._need_scanner()
        return await self._singles.run(id, lambda: self._single(id))

    async def _single(self, id: str) -> Container:
        container = self._fleet.need(id)
        cycle = self._cycle(Plan([container], "on-demand-single"))
        status = "error"
        self._bus.publish(ScanStarted(container_id=id))
        try:
            stored, status = await self._examined(cycle, container)
            return stored
        finally:
            self._bus.publish(ScanCompleted(container_id=id, status=status))
            cycle.scanned = 1
            self._runner.finish(cycle)

    async def _examined(self, cycle: Cycle, container: Container) -> tuple[Container, str]:
        try:
            slots = await self._examiner.examine(container)
        except Exception as error:
            log.exception("security.scan_crashed", container=container.name)
            raise ScanCrashed() from error
        stored = await asyncio.shield(self._fleet.change(container.id, lambda now: merged(now, container, slots)))
        cycle.alerted += await self._alerts.consider(stored, slots["scan"], cycle_id=cycle.id, repeat=True)
        await self._alert_candidate(cycle, stored, slots)
        return stored, slots["scan"].status

    async def _alert_candidate(self, cycle: Cycle, stored: Container, slots: Slots) -> None:
        scan = slots.get("updateScan")
        if scan is not None and "updateScan" in (stored.security or {}):
            cycle.alerted += await self._alerts.consider(stored, scan, slot="updateScan", cycle_id=cycle.id)

    # many containers

    def check_ids(self, ids: Sequence[str] | None) -> list[Container]:
        """The containers of a bulk scan: these, or all visible ones. `BadRequest` names the first unknown id."""
        self._need_scanner()
        if ids is None:
            return [container for container in self._fleet.all() if not is_temporary(container.name)]
        for id in ids:
            if self._fleet.get(id) is None:
                raise BadRequest(f"Unknown container id: {id}")
        return [self._fleet.need(id) for id in dict.fromkeys(ids)]

    def scan_many(self, containers: Sequence[Container], level: Level = "all", *, aborted: bool = False) -> Cycle:
        """Start a bulk scan in the background. `aborted`: nobody waits for it any more, only its end is told."""
        cycle = self._cycle(Plan(containers, "on-demand-bulk", BULK_CONCURRENCY, level=level))
        if aborted:
            cycle.abort()
        self._supervisor.spawn(f"scan-cycle:{cycle.id}", self._runner.run(cycle))
        return cycle

    async def scan_scheduled(self) -> Cycle:
        """Scan every container that runs a known image; ends with the cycle."""
        plan = Plan(
            self.check_ids(None),
            "scheduled",
            self.settings.concurrency,
            self.settings.batch_timeout_ms,
            alerts=self.settings.notify_scheduled,
            keep_good=True,
        )
        cycle = self._cycle(plan)
        await self._runner.run(cycle)
        return cycle

    def abort(self, cycle_id: str) -> None:
        """Stop a cycle. `NotFound` for an unknown or finished one."""
        cycle = self._cycles.get(cycle_id)
        if cycle is None or cycle.finished.is_set():
            raise NotFound("Scan cycle not found")
        cycle.abort()

    def _cycle(self, plan: Plan) -> Cycle:
        now_ms = self._clock.now_ms()
        cycle = Cycle(uuid7(now_ms), plan, to_iso(now_ms))
        finished = [id for id, known in self._cycles.items() if known.finished.is_set()]
        for id in finished[: max(0, len(self._cycles) - CYCLES_REMEMBERED)]:
            del self._cycles[id]
        self._cycles[cycle.id] = cycle
        return cycle

    # SBOM and overview

    async def sbom(self, id: str, form: SbomFormat) -> Document:
        """The document of the running image: the stored one, else generated now and kept.

        Raises `NotFound`, `Unavailable` when no scanner is configured, `ScanFailed`.
        """
        container = self._fleet.need(id)
        if not self.enabled:
            raise Unavailable("Security scanner is disabled or misconfigured")
        subject, known = running(container), model.read(container.security).sbom
        stored = await self.sboms.find(subject, form, known)
        if stored is not None:
            return stored
        document, entry = await self.sboms.make(subject, form, known)
        try:
            await self._fleet.change(id, lambda now: merged(now, container, {"sbom": entry}))
        except NotFound:
            log.info("security.container_gone", container=container.name)
        return document

    def overview(self) -> Overview:
        """Findings of all visible containers by image."""
        return overview(container for container in self._fleet.all() if not is_temporary(container.name))

    async def collect_garbage(self) -> int:
        """Delete SBOM documents that no container refers to; how many."""
        entries = (model.read(container.security) for container in self._fleet.all())
        records = [record for entry in entries for record in (entry.sbom, entry.update_sbom) if record]
        return await self._files.collect({ref.key for r in records for ref in (r.document_refs or {}).values()})

    # what changes under a scan

    async def on_event(self, event: Event) -> None:
        """Subscriber: drop what no longer describes the container or its candidate."""
        if not isinstance(event, ContainerUpdated):
            return
        now = self._fleet.get(event.container.id)
        if now is not None and now.security and tidy(now).security != now.security:
            await self._fleet.change(now.id, tidy)

    def _need_scanner(self) -> None:
        if not self.enabled:
            raise BadRequest(
                "Security scanner is not configured", hint="Set DD_SECURITY_SCANNER to trivy, grype or both"
            )


def tidy(container: Container) -> Container:
    """The container without results about images that it neither runs nor could run."""
    security = settled(container.security, container)
    if security and candidate(container) is None:
        security = {name: value for name, value in security.items() if name not in CANDIDATE} or None
    return msgspec.structs.replace(container, security=security)
