"""Audit entries of this room (security.md §9)."""

from __future__ import annotations

import uuid
from typing import Literal, Protocol

from drydock.clock import Clock
from drydock.core.audit import AuditEntry
from drydock.core.model import Container, audit_key
from drydock.core.times import to_iso


class AuditLog(Protocol):
    """Where entries go; `observe.audit.Audit`."""

    async def record(self, entry: AuditEntry) -> None: ...


class Journal:
    """Writes entries about containers."""

    def __init__(self, log: AuditLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock

    async def write(
        self, action: str, container: Container, status: Literal["success", "error", "info"], details: str
    ) -> None:
        """One entry."""
        image = container.image
        entry = AuditEntry(
            id=str(uuid.uuid4()),
            timestamp=to_iso(self._clock.now_ms()),
            action=action,
            container_name=container.name,
            container_identity_key=audit_key(container),
            container_image=f"{image.registry.url}/{image.name}:{image.tag.value}",
            status=status,
            details=details,
        )
        await self._log.record(entry)
