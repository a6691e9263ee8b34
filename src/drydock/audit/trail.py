"""The trail: every entry goes through `record`, is durable when it returns, counted and published (platform.md §9)."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

import msgspec
import structlog

from drydock.audit.catalogue import ACTIONS
from drydock.clock import Clock, SystemClock
from drydock.core.audit import AuditEntry, AuditFilter
from drydock.core.model import Container, audit_key
from drydock.core.times import to_iso
from drydock.events import AuditRecorded, Bus
from drydock.store.audit import AuditRecords, Verdict

log = structlog.get_logger("audit")

PRUNE_EVERY = 100
PRUNE_EVERY_S = 3600.0

Status = Literal["success", "error", "info"]


class AuditTrail:
    """Implements the audit log of the API and of the rooms. `counted` is called with the action of each entry."""

    def __init__(
        self, records: AuditRecords, bus: Bus, clock: Clock | None = None, counted: Callable[[str], None] | None = None
    ) -> None:
        self._records = records
        self._clock = clock or SystemClock()
        self._bus = bus
        self._counted = counted
        self._written = 0

    def entry(self, action: str, status: Status, *, container: Container | None = None, **fields: Any) -> AuditEntry:
        """A new entry about `container`, or about `container_name=…`; `fields` are those of `AuditEntry`."""
        about = _about(container) if container is not None else {}
        named: dict[str, Any] = {"container_name": "", **about, **{k: v for k, v in fields.items() if v is not None}}
        return AuditEntry(
            id=str(uuid.uuid4()), timestamp=to_iso(self._clock.now_ms()), action=action, status=status, **named
        )

    async def note(self, action: str, status: Status, *, container: Container | None = None, **fields: Any) -> None:
        """Write the `entry` of these arguments."""
        await self.record(self.entry(action, status, container=container, **fields))

    async def record(self, *entries: AuditEntry) -> None:
        """Store entries durably, in one transaction; count and publish them."""
        for entry in entries:
            if entry.action not in ACTIONS:
                log.warning("audit.unknown_action", action=entry.action)
        await self._records.append(*entries)
        for entry in entries:
            if self._counted is not None:
                self._counted(entry.action)
            self._bus.publish(AuditRecorded(entry=msgspec.to_builtins(entry)))
        before, self._written = self._written, self._written + len(entries)
        if before // PRUNE_EVERY != self._written // PRUNE_EVERY:
            await self.prune()

    async def query(self, wanted: AuditFilter, limit: int, offset: int) -> tuple[list[AuditEntry], int]:
        """Entries newest first, and how many match."""
        return await self._records.query(wanted, limit, offset)

    def walk(self, wanted: AuditFilter) -> AsyncIterator[list[AuditEntry]]:
        """Every entry that matches, newest first, a page at a time."""
        return self._records.walk(wanted)

    async def verify(self) -> Verdict:
        """Check the hash chain."""
        return await self._records.verify()

    async def prune(self) -> None:
        """Drop what is older than 30 days."""
        gone = await self._records.prune(self._clock.now_ms())
        if gone:
            log.info("audit.pruned", entries=gone)

    async def run(self) -> None:
        """Prune at start and every hour, until cancelled."""
        while True:
            await self.prune()
            await self._clock.sleep(PRUNE_EVERY_S)


def _about(container: Container) -> dict[str, Any]:
    image = container.image
    return {
        "container_name": container.name,
        "container_identity_key": audit_key(container),
        "container_image": f"{image.registry.url}/{image.name}:{image.tag.value}",
    }
