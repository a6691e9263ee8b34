"""How the rest of Drydock hears of operations: events, views, audit entries (updates.md §14)."""

from __future__ import annotations

from typing import Final

from drydock.core.audit import AuditStatus
from drydock.core.operation import Operation, public
from drydock.core.update import update_kind
from drydock.events import OperationChanged
from drydock.kernel import AuditLog, Kernel
from drydock.supervisor import Supervisor
from drydock.updates.execution.executor import log_notice

AUDITED_NOTICES: Final[dict[str, AuditStatus]] = {
    "compose-updated": "success",
    "compose-sync-failed": "error",
    "rollback": "info",
}
"""Notices that belong into the audit log, and how they are marked there; the others are logged only."""


class Broadcast:
    """Tells of every change of an operation. Without a cap `queued` is never shown (updates.md §4)."""

    def __init__(self, kernel: Kernel, *, capped: bool) -> None:
        self._bus = kernel.bus
        self._fleet = kernel.fleet
        self._capped = capped

    def changed(self, row: Operation) -> None:
        """The row as it is now."""
        if row.status == "queued" and not self._capped:
            return
        self._bus.publish(OperationChanged(operation=public(row)))
        self._fleet.touch(*(one for one in (row.container_id, row.new_container_id) if one))


class OperationAudit:
    """Writes entries about the container of an operation."""

    def __init__(self, log: AuditLog, supervisor: Supervisor) -> None:
        self._log = log
        self._supervisor = supervisor

    async def note(self, row: Operation, action: str, status: AuditStatus, details: str | None = None) -> None:
        """One entry."""
        kind, who = update_kind(row.container) if row.container else None, row.requested_by
        await self._log.note(
            action,
            status,
            container_name=row.container_name,
            container_identity_key=row.key,
            container_image=row.target_image,
            from_version=row.from_version,
            to_version=row.to_version,
            update_kind=kind.kind if kind else None,
            semver_diff=kind.semver_diff if kind else None,
            trigger_name=row.trigger_name,
            details=details,
            user=who.user if who else None,
            ip=who.ip if who else None,
            key=who.key if who else None,
        )

    def note_later(self, row: Operation, action: str, status: AuditStatus, details: str | None = None) -> None:
        """The same in the background, for callers that cannot wait."""
        self._supervisor.spawn(f"audit:{action}", self.note(row, action, status, details))

    def notice(self, row: Operation, action: str, text: str) -> None:
        """What an operator should know: into the log, and some of it into the audit log."""
        log_notice(row, action, text)
        if (status := AUDITED_NOTICES.get(action)) is not None:
            self.note_later(row, action, status, text)
