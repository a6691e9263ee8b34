"""What follows the end of an operation: events, audit, the fleet, backups, pruning, hooks (updates.md §5.1 step 13, §14).

Nothing here changes the outcome. It runs once per operation; a crash in between makes it run again at the next start.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import structlog

from drydock.core.audit import AuditStatus
from drydock.core.errors import DrydockError, NotFound
from drydock.core.model import UpdateRollback
from drydock.core.operation import Operation, public
from drydock.core.times import to_iso
from drydock.events import OperationEnded, UpdateApplied, UpdateFailed
from drydock.kernel import Kernel
from drydock.updates.execution.backups import Backups
from drydock.updates.execution.hooks import Hooks
from drydock.updates.execution.journal import CANCELLED, Journal
from drydock.updates.execution.reporting import OperationAudit
from drydock.updates.execution.worker import Outcome
from drydock.updates.health_monitor import HealthMonitor, Run
from drydock.updates.needs import Watching

log = structlog.get_logger("updates")


class Completion:
    """Tells and tidies up."""

    def __init__(
        self,
        kernel: Kernel,
        watching: Watching,
        journal: Journal,
        audit: OperationAudit,
        backups: Backups,
        hooks: Hooks,
        monitor: HealthMonitor,
    ) -> None:
        self._fleet = kernel.fleet
        self._bus = kernel.bus
        self._clock = kernel.clock
        self._supervisor = kernel.supervisor
        self._watching = watching
        self._journal = journal
        self._audit = audit
        self._backups = backups
        self._hooks = hooks
        self._monitor = monitor

    async def follow(self, outcome: Outcome, run: Run) -> None:
        """Everything that is due after the end of a run; failures are logged, never raised.

        `run` carries out what follows of it: the rollback of an update whose container turns out to be sick.
        """
        row = outcome.row
        if row.active:
            return
        steps: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        watched = row.source != "dependent" and not row.by_helper
        if row.follow_up_due:
            steps.append(("fleet", lambda: self._enter_fleet(outcome)))
            if watched and _replaced(row):
                steps.append(("post-hook", lambda: self._hooks.post(row)))
            steps += [
                ("update-rollback", lambda: self._remember_rollback(row)),
                ("audit", lambda: self._record(row)),
                ("events", lambda: self._tell(row)),
            ]
            if row.source != "dependent":
                steps.append(("backups", lambda: self._backups.prune(row)))
        if watched and (row.monitor_until is not None or (row.follow_up_due and row.status == "succeeded")):
            steps.append(("monitor", lambda: self._monitor.begin(row, run)))
        for name, step in steps:
            try:
                await step()
            except DrydockError as error:
                log.warning("update.aftermath_failed", operation=row.id, step=name, error=error.message)
        if row.follow_up_due:
            self._bus.publish(OperationEnded(operation=row))
            await self._journal.change(row.id, required=False, follow_up_due=False)

    async def _enter_fleet(self, outcome: Outcome) -> None:
        """The new container enters the fleet with the policy, clocks and history of the old one. An old container that
        had to be created anew does too: it has another id, and is the same to its users."""
        row = outcome.row
        old = self._fleet.get(row.container_id) or row.container
        new_id = None
        if _replaced(row):
            self._fleet.mark_updated(row.key)
            new_id = row.new_container_id
        elif row.recovery == "rebuilt-from-spec" and old is not None and row.old_container_id != old.id:
            new_id = row.old_container_id
        if old is not None and new_id is not None:
            new = await self._watching.replaced(old, new_id, outcome.container, outcome.image)
            if new is not None:
                self._supervisor.spawn(f"check:{new.id}", self._watching.watch_some([new.id]))

    async def _remember_rollback(self, row: Operation) -> None:
        """`updateRollback` blocks the same candidate from being tried again; a success clears it."""
        if row.source == "dependent" or row.phase == "dryrun" or row.status in ("expired", "skipped-dependency"):
            return
        mark: UpdateRollback | None = None
        if row.status == "rolled-back" and row.rollback_code not in ("cancelled", "interrupted"):
            mark = UpdateRollback(
                recorded_at=to_iso(self._clock.now_ms()),
                target_digest=await self._left(row) if _rolled_back_by_wish(row) else _candidate(row),
                reason=row.rollback_code,
                last_error=row.last_error,
            )
        elif row.status != "succeeded":
            return
        for container in self._fleet.by_audit_key(row.key):
            if mark is None and not container.update_rollback:
                continue
            try:
                await self._fleet.change(container.id, lambda one: msgspec.structs.replace(one, update_rollback=mark))
            except NotFound:
                log.info("update.container_left", container=container.id)

    async def _left(self, row: Operation) -> str:
        """The candidate that a rollback went away from: as the update that installed it knew it."""
        for earlier in await self._journal.of(row.key, row.container_id):
            if earlier.new_container_id == row.old_container_id and earlier.kind == "container-update":
                return _candidate(earlier)
        if row.container is None:
            return row.from_version or ""
        image = row.container.image
        return (image.digest.value if image.digest.watch else None) or image.tag.value

    async def _record(self, row: Operation) -> None:
        for action, status in _audit_actions(row):
            await self._audit.note(row, action, status, row.last_error)

    async def _tell(self, row: Operation) -> None:
        if row.source == "dependent" or row.kind == "self-update" or _cancelled(row) or _rolled_back_by_wish(row):
            return
        container = self._fleet.get(row.new_container_id or "") or self._fleet.get(row.container_id) or row.container
        if row.status == "succeeded":
            self._bus.publish(UpdateApplied(operation=public(row), container=container))
        elif row.status in ("failed", "rolled-back"):
            error = row.last_error or "Update failed"
            self._bus.publish(UpdateFailed(operation=public(row), error=error, container=container))


def _replaced(row: Operation) -> bool:
    """Another container stands where the old one stood, as it was wanted."""
    return row.new_container_id is not None and (row.status == "succeeded" or _rolled_back_by_wish(row))


def _rolled_back_by_wish(row: Operation) -> bool:
    return row.kind == "container-rollback" and row.status == "rolled-back"


def _cancelled(row: Operation) -> bool:
    return row.rollback_code == "cancelled" or (row.status == "failed" and row.last_error == CANCELLED)


def _candidate(row: Operation) -> str:
    return row.wanted.digest or row.wanted.tag or row.to_version or row.wanted.reference


def _audit_actions(row: Operation) -> list[tuple[str, AuditStatus]]:
    if row.source == "dependent" or row.restart_only:
        return [("container-restart", "success" if row.status == "succeeded" else "error")]
    if _cancelled(row):
        return [("update-cancelled", "info")]
    if row.kind == "container-rollback":
        action = "auto-rollback" if row.source == "monitor" else "rollback"
        return [(action, "success" if row.status == "rolled-back" else "error")]
    if row.status == "succeeded":
        return [("update-applied-dryrun", "info")] if row.phase == "dryrun" else [("update-applied", "success")]
    if row.status == "rolled-back":
        return [("update-failed", "error"), ("rollback", "success")]
    if row.status == "failed" and row.phase == "rollback-failed":
        return [("update-failed", "error"), ("rollback", "error")]
    return [("update-failed", "error")] if row.status == "failed" else []
