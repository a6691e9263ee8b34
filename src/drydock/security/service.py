"""The room as the API, the schedule and the command line see it: scan one, scan many, stop, SBOM, overview.

Order of reading: here (one container), `cycles.py` (many), `inspector.py` (one image), `scanners/`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from drydock.core.errors import BadRequest, DrydockError, NotFound, Unavailable
from drydock.core.model import Container
from drydock.core.scans import CANDIDATE, RUNNING, settled
from drydock.core.temporary import is_temporary
from drydock.events import ContainerUpdated, Event, ScanCompleted, ScanStarted
from drydock.kernel import Kernel
from drydock.security import model
from drydock.security.alerts import Alerts, Level
from drydock.security.cycles import Cycle, Runner
from drydock.security.documents import Document, Sboms
from drydock.security.inspector import Inspector
from drydock.security.model import SbomFormat
from drydock.security.overview import Overview, overview
from drydock.security.scanners import CHOICES
from drydock.security.settings import SecuritySettings
from drydock.security.signatures.base import Verifier
from drydock.security.subjects import Subject, candidate, running
from drydock.security.writeback import Slots, merged, write_back
from drydock.single_flight import SingleFlight
from drydock.store.sboms import SbomFiles

log = structlog.get_logger("security")

CYCLES_REMEMBERED = 32
"""So that a client may stop a bulk scan, or learn that it has ended."""


class ScanCrashed(DrydockError):
    """An internal error of the scan; the reason is in the log."""

    code = "security-scan-crashed"
    default = "Security scan failed"


@dataclass(frozen=True)
class Tools:
    """What scans; there is none where no scanner is configured."""

    inspector: Inspector
    sboms: Sboms
    runner: Runner


class SecurityService:
    """All of scanning. `tools` None: switched off, every question about scans is refused with the promised text.

    `verifier` None: signatures are not verified.
    """

    def __init__(
        self,
        kernel: Kernel,
        settings: SecuritySettings,
        tools: Tools | None,
        verifier: Verifier | None,
        alerts: Alerts,
        files: SbomFiles,
    ) -> None:
        self.settings = settings
        self.tools = tools
        self._fleet, self._bus, self._clock = kernel.fleet, kernel.bus, kernel.clock
        self._supervisor = kernel.supervisor
        self._verifier = verifier
        self._alerts = alerts
        self._files = files
        self._cycles: dict[str, Cycle] = {}
        self._singles: SingleFlight[Container] = SingleFlight(abandon=True)

    @property
    def enabled(self) -> bool:
        """A scanner is configured."""
        return self.tools is not None

    # one container (container-api.md §6.3)

    async def scan_one(self, id: str) -> Container:
        """Scan a container and its candidate now; the record as stored then.

        Raises `NotFound` (unknown, or gone when the scan ended), `BadRequest` when no scanner is configured,
        `ScanCrashed`. A request for a container that is being scanned shares that scan.
        """
        self._fleet.need(id)
        tools = self._need_tools()
        return await self._singles.run(id, lambda: self._scan_one(tools, id))

    async def _scan_one(self, tools: Tools, id: str) -> Container:
        container = self._fleet.need(id)
        cycle = self._remembered(Cycle(self._clock.now_ms(), [container], "on-demand-single"))
        status = "error"
        self._bus.publish(ScanStarted(container_id=id))
        try:
            try:
                slots = await self._examined(tools, container)
            except Exception as error:
                log.exception("security.scan_crashed", container=container.name)
                raise ScanCrashed() from error
            stored = await asyncio.shield(self._fleet.change(id, lambda now: merged(now, container, slots)))
            cycle.alerted += await self._alerts.consider(stored, slots["scan"], cycle_id=cycle.id, repeat=True)
            coming = slots.get("updateScan")
            if coming is not None and "updateScan" in (stored.security or {}):
                cycle.alerted += await self._alerts.consider(stored, coming, slot="updateScan", cycle_id=cycle.id)
            status = slots["scan"].status
            return stored
        finally:
            self._bus.publish(ScanCompleted(container_id=id, status=status))
            cycle.scanned = 1
            tools.runner.finish(cycle)

    async def _examined(self, tools: Tools, container: Container) -> Slots:
        """Slots of the running image, and of the candidate if there is one, else those emptied.

        A crash over the candidate keeps the first results (its old entries stay as they are).
        """
        known = model.read(container.security)
        subject = running(container)
        slots = await self._examined_image(tools, subject, subject, RUNNING, known.sbom)
        coming = candidate(container)
        if coming is None:
            return {**slots, **dict.fromkeys(CANDIDATE)}
        # A check may know the candidate by its platform's digest, which no one signs: verify it by its tag alone.
        signed = coming if "@" in coming.reference else msgspec.structs.replace(coming, digest=None)
        try:
            return {**slots, **await self._examined_image(tools, coming, signed, CANDIDATE, known.update_sbom)}
        except Exception:
            log.exception("security.candidate_crashed", container=container.name, image=coming.reference)
            return slots

    async def _examined_image(
        self, tools: Tools, subject: Subject, signed: Subject, names: tuple[str, ...], known: model.Sbom | None
    ) -> Slots:
        """Scan, signature and SBOM of one image under these `names`; what is switched off is left out."""
        async with asyncio.TaskGroup() as group:
            tasks: list[asyncio.Task[Any] | None] = [
                group.create_task(tools.inspector.scan(subject, cached=False)),
                group.create_task(self._verifier.verify(signed)) if self._verifier else None,
                group.create_task(tools.sboms.record(subject, self.settings.sbom_formats, known))
                if self.settings.sbom_enabled
                else None,
            ]
        return {name: task.result() for name, task in zip(names, tasks, strict=True) if task is not None}

    # many containers

    def check_ids(self, ids: Sequence[str] | None) -> list[Container]:
        """The containers of a bulk scan: these, or all visible ones. `BadRequest` names the first unknown id."""
        self._need_tools()
        if ids is None:
            return [container for container in self._fleet.all() if not is_temporary(container.name)]
        for id in ids:
            if self._fleet.get(id) is None:
                raise BadRequest(f"Unknown container id: {id}")
        return [self._fleet.need(id) for id in dict.fromkeys(ids)]

    def scan_many(self, containers: Sequence[Container], level: Level = "all", *, aborted: bool = False) -> Cycle:
        """Start a bulk scan in the background. `aborted`: its client has gone already, only its end is told."""
        tools = self._need_tools()
        cycle = self._remembered(Cycle(self._clock.now_ms(), containers, "on-demand-bulk", level=level))
        if aborted:
            cycle.abort()
        self._supervisor.spawn(f"scan-cycle:{cycle.id}", tools.runner.run(cycle))
        return cycle

    async def scan_scheduled(self) -> Cycle:
        """Scan every container that runs a known image; ends with the cycle."""
        tools, settings = self._need_tools(), self.settings
        cycle = Cycle(
            self._clock.now_ms(),
            self.check_ids(None),
            "scheduled",
            concurrency=settings.scan_concurrency,
            timeout_s=settings.scan_batch_timeout_s,
            alerts=settings.scan_notifications,
            keep_good=True,
        )
        await tools.runner.run(self._remembered(cycle))
        return cycle

    def abort(self, cycle_id: str) -> None:
        """Stop a cycle. `NotFound` for an unknown or finished one."""
        cycle = self._cycles.get(cycle_id)
        if cycle is None or cycle.finished.is_set():
            raise NotFound("Scan cycle not found")
        cycle.abort()

    def _remembered(self, cycle: Cycle) -> Cycle:
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
        if self.tools is None:
            raise Unavailable("Security scanner is disabled or misconfigured")
        subject, known = running(container), model.read(container.security).sbom
        stored = await self.tools.sboms.find(subject, form, known)
        if stored is not None:
            return stored
        document, entry = await self.tools.sboms.make(subject, form, known)
        await write_back(self._fleet, container, {"sbom": entry})
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

    def _need_tools(self) -> Tools:
        if self.tools is None:
            *others, last = CHOICES
            hint = f"Set DD_SECURITY_SCANNER to {', '.join(others)} or {last}"
            raise BadRequest("Security scanner is not configured", hint=hint)
        return self.tools


def tidy(container: Container) -> Container:
    """The container without results about images that it neither runs nor could run."""
    security = settled(container.security, container)
    if security and candidate(container) is None:
        security = {name: value for name, value in security.items() if name not in CANDIDATE} or None
    return msgspec.structs.replace(container, security=security)
