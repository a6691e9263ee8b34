"""The audit log: every entry is stored durably, then told (platform.md §9)."""

from __future__ import annotations

from typing import Protocol

import msgspec

from drydock.core.audit import AuditEntry, AuditFilter
from drydock.events import AuditRecorded, Bus


class Records(Protocol):
    """Where entries are kept; `store.audit.AuditRecords`."""

    async def append(self, entry: AuditEntry) -> None: ...

    async def query(self, wanted: AuditFilter, limit: int, offset: int) -> tuple[list[AuditEntry], int]: ...


class Audit:
    """Records and queries audit entries."""

    def __init__(self, records: Records, bus: Bus) -> None:
        self._records = records
        self._bus = bus

    async def record(self, entry: AuditEntry) -> None:
        """Store an entry durably and publish it."""
        await self._records.append(entry)
        self._bus.publish(AuditRecorded(entry=msgspec.to_builtins(entry)))

    async def query(self, wanted: AuditFilter, limit: int, offset: int) -> tuple[list[AuditEntry], int]:
        """Entries newest first, and how many match in all."""
        return await self._records.query(wanted, limit, offset)
