"""The trail: every entry goes through `record`, is durable when it returns, and is published (platform.md §9)."""

from __future__ import annotations

import uuid
from typing import Any, Self

import msgspec
import structlog

from drydock.audit.catalogue import ACTIONS
from drydock.audit.from_events import EventAudit
from drydock.clock import Clock
from drydock.core.audit import AuditEntry, AuditStatus
from drydock.core.model import Container, audit_key
from drydock.core.times import to_iso
from drydock.events import AuditRecorded, Bus
from drydock.kernel import Room
from drydock.store.audit import AuditRecords
from drydock.supervisor import Supervisor

log = structlog.get_logger("audit")

PRUNE_EVERY = 100
"""Entries; together with the hourly run it bounds what a burst of events can pile up beyond the retention."""
PRUNE_EVERY_S = 3600.0


class AuditTrail(Room):
    """The audit log; `kernel.audit` of every other room, and therefore built before the kernel."""

    def __init__(self, records: AuditRecords, bus: Bus, clock: Clock, supervisor: Supervisor) -> None:
        self.records = records
        self._clock = clock
        self._bus = bus
        self._supervisor = supervisor
        self._written = 0

    @classmethod
    def build(cls, records: AuditRecords, bus: Bus, clock: Clock, supervisor: Supervisor) -> Self:
        """The trail, which also writes what follows from events."""
        trail = cls(records, bus, clock, supervisor)
        EventAudit(trail, clock).subscribe(bus)
        return trail

    async def start(self) -> None:
        """Prune now and every hour."""
        self._supervisor.start("audit:prune", self._prune_hourly)

    def entry(
        self, action: str, status: AuditStatus, *, container: Container | None = None, **fields: Any
    ) -> AuditEntry:
        """A new entry about `container`, or about `container_name=…`; `fields` are those of `AuditEntry`."""
        about: dict[str, Any] = {"container_name": ""}
        if container is not None:
            image = container.image
            about = {
                "container_name": container.name,
                "container_identity_key": audit_key(container),
                "container_image": f"{image.registry.url}/{image.name}:{image.tag.value}",
            }
        about |= {name: value for name, value in fields.items() if value is not None}
        timestamp = to_iso(self._clock.now_ms())
        return AuditEntry(id=str(uuid.uuid4()), timestamp=timestamp, action=action, status=status, **about)

    async def note(
        self, action: str, status: AuditStatus, *, container: Container | None = None, **fields: Any
    ) -> None:
        """Write the `entry` of these arguments."""
        await self.record(self.entry(action, status, container=container, **fields))

    async def record(self, *entries: AuditEntry) -> None:
        """Store entries durably, in one transaction, and publish them."""
        for entry in entries:
            if entry.action not in ACTIONS:
                log.warning("audit.unknown_action", action=entry.action)
        await self.records.append(*entries)
        for entry in entries:
            self._bus.publish(AuditRecorded(entry=msgspec.to_builtins(entry)))
        before, self._written = self._written, self._written + len(entries)
        if before // PRUNE_EVERY != self._written // PRUNE_EVERY:
            await self.prune()

    async def prune(self) -> None:
        """Drop what is older than 30 days."""
        gone = await self.records.prune(self._clock.now_ms())
        if gone:
            log.info("audit.pruned", entries=gone)

    async def _prune_hourly(self) -> None:
        while True:
            await self.prune()
            await self._clock.sleep(PRUNE_EVERY_S)
