"""An audit log that a test reads without a store."""

from __future__ import annotations

from collections.abc import Sequence

from drydock.audit.trail import AuditTrail
from drydock.clock import Clock
from drydock.core.audit import AuditEntry


class RecordedAudit(AuditTrail):
    """Makes entries as the product does, and only remembers them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.entries: list[AuditEntry] = []

    async def record(self, *entries: AuditEntry) -> None:
        self.entries += entries

    @property
    def actions(self) -> Sequence[str]:
        return [entry.action for entry in self.entries]
