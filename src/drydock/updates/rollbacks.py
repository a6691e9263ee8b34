"""Rollbacks to a backup by hand (updates.md §8.2): operations of kind `container-rollback` through the plan of updates."""

from __future__ import annotations

from collections.abc import Sequence

from drydock.core.errors import DrydockError, NotFound
from drydock.core.model import audit_key
from drydock.core.operation import Backup
from drydock.kernel import Kernel
from drydock.updates.admission import Admission
from drydock.updates.execution.backups import Backups, rollback_operation
from drydock.updates.queue import Queue

INCOMPLETE = "Unable to complete container action"


class Rollbacks:
    """Lists backups and goes back to one."""

    def __init__(self, kernel: Kernel, admission: Admission, queue: Queue, backups: Backups) -> None:
        self._fleet = kernel.fleet
        self._clock = kernel.clock
        self._admission = admission
        self._queue = queue
        self._records = backups.records

    async def all(self, container_name: str | None) -> Sequence[Backup]:
        """Backups of every container, newest first; of one name if given."""
        return await self._records.all(container_name)

    async def of(self, container_id: str) -> Sequence[Backup]:
        """Backups of one container, newest first; `NotFound` for an unknown one."""
        return await self._records.of(audit_key(self._fleet.need(container_id)))

    async def roll_back(self, container_id: str, backup_id: str | None) -> Backup:
        """Go back to a backup (the newest, if none is named) and wait for the end.

        Raises `NotFound` (container, backup, action), `Conflict` while an operation runs, and a plain error when the
        container is what it was before because the backup did not come up.
        """
        container = self._fleet.need(container_id)
        backups = await self._records.of(audit_key(container))
        backup = next((one for one in backups if backup_id in (None, one.id)), None)
        if backup is None:
            which = "No backups found" if backup_id is None else "Backup not found"
            raise NotFound(f"{which} for this container")
        await self._admission.refuse_self(container)
        action = self._admission.need_action(container)
        row = await self._queue.run(rollback_operation(container, backup, action, self._clock.now_ms()))
        if row.status != "rolled-back":
            raise DrydockError(INCOMPLETE)
        return backup
