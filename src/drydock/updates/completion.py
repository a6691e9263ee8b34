"""What follows the end of an operation: events, audit, the fleet, backups, pruning, hooks (updates.md §5.1 step 13, §14).

Nothing here changes the outcome. It runs once per operation; a crash in between makes it run again at the next start.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol

import msgspec
import structlog

from drydock.clock import Clock
from drydock.core.audit import AuditStatus, Requester
from drydock.core.errors import DrydockError, NotFound
from drydock.core.model import Container, UpdateRollback
from drydock.core.operation import Operation, public
from drydock.core.times import to_iso
from drydock.core.update import update_kind
from drydock.events import Bus, OperationEnded, UpdateApplied, UpdateFailed
from drydock.fleet.fleet import Fleet
from drydock.kernel import AuditLog
from drydock.updates.backups import Backups
from drydock.updates.hooks import Hooks
from drydock.updates.journal import CANCELLED, Journal
from drydock.updates.worker import Seen

log = structlog.get_logger("updates")


class Monitor(Protocol):
    """Watches a new container's health for a while after its update (updates.md §7.2)."""

    async def begin(self, operation: Operation) -> None: ...


LookAgain = Callable[[str, str | None], Awaitable[None]]
"""`look_again(watcher, agent)`: see what runs there now."""

Replaced = Callable[[Container, str, Seen | None], Awaitable[None]]
"""`replaced(old, new_id, seen)`: the new container takes the place of the old one in the fleet, at once. `seen` saves
looking at it again."""


class Aftermath:
    """Tells and tidies up."""

    def __init__(
        self,
        *,
        journal: Journal,
        fleet: Fleet,
        bus: Bus,
        clock: Clock,
        audit: AuditLog,
        backups: Backups,
        hooks: Hooks,
        replaced: Replaced,
    ) -> None:
        self._journal = journal
        self._fleet = fleet
        self._bus = bus
        self._clock = clock
        self._audit = audit
        self._backups = backups
        self._hooks = hooks
        self._replaced = replaced
        self.monitor: Monitor | None = None

    async def follow(self, row: Operation, seen: Seen | None = None) -> None:
        """Everything that is due after the end of `row`; failures are logged, never raised."""
        if row.active:
            return
        steps = self._steps(row, seen) if row.follow_up_due else []
        if row.monitor_until is not None or (row.follow_up_due and row.status == "succeeded"):
            steps.append(self._watch_health)
        for step in steps:
            try:
                await step(row)
            except DrydockError as error:
                log.warning("update.aftermath_failed", operation=row.id, step=_name(step), error=error.message)
        if row.follow_up_due:
            self._bus.publish(OperationEnded(operation=row))
            await self._journal.change(row.id, required=False, follow_up_due=False)

    def _steps(self, row: Operation, seen: Seen | None) -> list[Callable[[Operation], Awaitable[None]]]:
        changed = row.new_container_id is not None and (row.status == "succeeded" or _rolled_back_by_wish(row))
        steps: list[Callable[[Operation], Awaitable[None]]] = []
        if changed:
            steps += [partial(self._refresh, seen=seen), self._post_hook]
        elif row.recovery == "rebuilt-from-spec":
            steps.append(self._welcome_rebuilt)
        steps += [self._remember_rollback, self._record, self._tell]
        if row.source != "dependent":
            steps.append(self._tidy)
        return steps

    # ── the fleet ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _refresh(self, row: Operation, seen: Seen | None) -> None:
        """The new container enters the fleet with the policy, clocks and history of the old one."""
        self._fleet.mark_updated(row.key)
        old = self._fleet.get(row.container_id) or row.container
        if old is not None and row.new_container_id is not None:
            await self._replaced(old, row.new_container_id, seen)

    async def _welcome_rebuilt(self, row: Operation) -> None:
        """The old container had to be created anew: it has another id, and is the same to its users."""
        old = self._fleet.get(row.container_id) or row.container
        if old is not None and row.old_container_id not in (None, old.id):
            await self._replaced(old, str(row.old_container_id), None)

    async def _remember_rollback(self, row: Operation) -> None:
        """`updateRollback` blocks the same candidate from being tried again; a success clears it."""
        if row.source == "dependent" or row.phase == "dryrun" or row.status in ("expired", "skipped-dependency"):
            return
        target = await self._left(row) if _rolled_back_by_wish(row) else _candidate(row)
        for container in self._fleet.by_audit_key(row.key):
            mark = self._mark(row, container, target)
            if mark is not _UNCHANGED:
                await self._change(container.id, mark)

    async def _change(self, container_id: str, mark: Any) -> None:
        try:
            await self._fleet.change(container_id, lambda one: msgspec.structs.replace(one, update_rollback=mark))
        except NotFound:
            log.info("update.container_left", container=container_id)

    def _mark(self, row: Operation, container: Container, target: str) -> Any:
        if row.status == "succeeded":
            return None if container.update_rollback else _UNCHANGED
        if row.status != "rolled-back" or row.rollback_code in ("cancelled", "interrupted"):
            return _UNCHANGED
        return UpdateRollback(
            recorded_at=to_iso(self._clock.now_ms()),
            target_digest=target,
            reason=row.rollback_code,
            last_error=row.last_error,
        )

    async def _left(self, row: Operation) -> str:
        """The candidate that a rollback went away from: as the update that installed it knew it."""
        for earlier in await self._journal.of(row.key, row.container_id):
            if earlier.new_container_id == row.old_container_id and earlier.kind == "container-update":
                return _candidate(earlier)
        return _left_version(row)

    # ── telling ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _record(self, row: Operation) -> None:
        for action, status in _audit_actions(row):
            await self.audit(row, action, status, row.last_error)

    async def audit(self, row: Operation, action: str, status: AuditStatus, details: str | None) -> None:
        """One audit entry about the container of an operation."""
        kind = update_kind(row.container) if row.container else None
        who = row.requested_by or Requester()
        await self._audit.note(
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
            user=who.user,
            ip=who.ip,
            key=who.key,
        )

    async def _tell(self, row: Operation) -> None:
        if row.source == "dependent" or row.kind == "self-update" or _cancelled(row) or _rolled_back_by_wish(row):
            return
        if row.status == "succeeded":
            self._bus.publish(UpdateApplied(operation=public(row), container=self._now(row)))
        elif row.status in ("failed", "rolled-back"):
            error = row.last_error or "Update failed"
            self._bus.publish(UpdateFailed(operation=public(row), error=error, container=self._now(row)))

    def _now(self, row: Operation) -> Container | None:
        return self._fleet.get(row.new_container_id or "") or self._fleet.get(row.container_id) or row.container

    # ── tidying ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _post_hook(self, row: Operation) -> None:
        if row.source != "dependent" and not row.by_helper:
            await self._hooks.post(row)

    async def _tidy(self, row: Operation) -> None:
        await self._backups.prune(row)

    async def _watch_health(self, row: Operation) -> None:
        if self.monitor is not None and row.source != "dependent" and not row.by_helper:
            await self.monitor.begin(row)


_UNCHANGED: Any = object()


def _name(step: Any) -> str:
    return str((step.func if isinstance(step, partial) else step).__name__)


def _rolled_back_by_wish(row: Operation) -> bool:
    return row.kind == "container-rollback" and row.status == "rolled-back"


def _cancelled(row: Operation) -> bool:
    return row.rollback_code == "cancelled" or (row.status == "failed" and row.last_error == CANCELLED)


def _candidate(row: Operation) -> str:
    return row.wanted.digest or row.wanted.tag or row.to_version or row.wanted.reference


def _left_version(row: Operation) -> str:
    """What a rollback went away from: its digest where digests are watched, else its tag."""
    if row.container is None:
        return row.from_version or ""
    image = row.container.image
    watched = image.digest.value if image.digest.watch else None
    return watched or image.tag.value


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
    if row.status == "failed":
        rollback: list[tuple[str, AuditStatus]] = [("rollback", "error")] if row.phase == "rollback-failed" else []
        return [("update-failed", "error"), *rollback]
    return []
