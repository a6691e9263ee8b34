"""Rollbacks to a backup: by hand (updates.md §8.2) and by the health monitor after an update (§7.2).

Both are operations of kind `container-rollback` through the same plan as updates, by image id or digest before any tag.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog

from drydock.clock import Clock
from drydock.core.errors import DrydockError, EngineError, EngineNotFound, NotFound
from drydock.core.labels import ROLLBACK_AUTO, ROLLBACK_INTERVAL
from drydock.core.model import Container, audit_key
from drydock.core.operation import Backup, ImageWanted, Operation
from drydock.docker.api import Engine
from drydock.fleet.fleet import Fleet
from drydock.supervisor import Supervisor
from drydock.updates import admission
from drydock.updates.backups import Backups
from drydock.updates.health_gate import has_health_check, milliseconds, rollback_window
from drydock.updates.journal import Journal
from drydock.updates.options import PlanOptions
from drydock.updates.probe import Check, check_of
from drydock.updates.service import UpdateService

log = structlog.get_logger("updates")

INCOMPLETE = "Unable to complete container action"


class Rollbacks:
    """Lists backups and goes back to one."""

    def __init__(self, service: UpdateService, backups: Backups, fleet: Fleet) -> None:
        self._service = service
        self._backups = backups
        self._fleet = fleet

    async def all(self, container_name: str | None) -> Sequence[Backup]:
        """Backups of every container, newest first; of one name if given."""
        return await self._backups.records.all(container_name)

    async def of(self, container_id: str) -> Sequence[Backup]:
        """Backups of one container, newest first; `NotFound` for an unknown one."""
        return await self._backups.records.of(audit_key(self._fleet.need(container_id)))

    async def roll_back(self, container_id: str, backup_id: str | None) -> Backup:
        """Go back to a backup (the newest, if none is named) and wait for the end.

        Raises `NotFound` (container, backup, action), `Conflict` while an operation runs, and a plain error when the
        container is what it was before because the backup did not come up.
        """
        container = self._fleet.need(container_id)
        backup = self._choose(await self._backups.records.of(audit_key(container)), backup_id)
        await self._service.refuse_self(container)
        action = admission.need_action(container, self._service.eligibility(container))
        row = await self._service.run_now(container, **rollback_fields(container, backup, action))
        if row.status != "rolled-back":
            raise DrydockError(INCOMPLETE)
        return backup

    def _choose(self, backups: Sequence[Backup], backup_id: str | None) -> Backup:
        if backup_id is None:
            if not backups:
                raise NotFound("No backups found for this container")
            return backups[0]
        found = next((backup for backup in backups if backup.id == backup_id), None)
        if found is None:
            raise NotFound("Backup not found for this container")
        return found


def rollback_fields(container: Container, backup: Backup, action: str, source: str = "manual") -> dict[str, Any]:
    """The row of a rollback: the local image by id, else by digest, else by tag, shown as `name:tag`."""
    reference = f"{backup.image_name}:{backup.image_tag}" if backup.image_tag else backup.image_name
    by_digest = [f"{backup.image_name}@{backup.image_digest}"] if backup.image_digest else []
    wanted = ImageWanted(reference=reference, image_id=backup.image_id, sources=[*by_digest, reference])
    digest_only = backup.image_tag == container.image.tag.value
    current = container.image.digest.value if digest_only else None
    return {
        "kind": "container-rollback",
        "source": source,
        "trigger_name": action,
        "wanted": wanted,
        "target_image": reference,
        "from_version": current or container.image.tag.value,
        "to_version": (backup.image_digest if digest_only else None) or backup.image_tag,
    }


UNDECIDED = "The container's health was {} until the end of dd.rollback.window: nobody knows whether it is well"


class HealthMonitor:
    """Watches a new container for a while; `unhealthy` brings back the image it replaced. Survives restarts.

    Where the Engine leaves health checks to others (Podman without systemd), it has them run at their own interval.
    """

    def __init__(
        self,
        *,
        service: UpdateService,
        backups: Backups,
        journal: Journal,
        fleet: Fleet,
        engine_for: Callable[[str, str | None], Engine],
        clock: Clock,
        supervisor: Supervisor,
        options: PlanOptions,
        runs_checks: Callable[[Operation], Awaitable[bool]],
    ) -> None:
        self._runs_checks = runs_checks
        self._service = service
        self._backups = backups
        self._journal = journal
        self._fleet = fleet
        self._engine_for = engine_for
        self._clock = clock
        self._supervisor = supervisor
        self._options = options

    async def begin(self, operation: Operation) -> None:
        """Start watching after an update, or go on after a restart; returns at once."""
        labels = (operation.old_spec or {}).get("Config", {}).get("Labels") or {}
        if labels.get(ROLLBACK_AUTO, "").strip().lower() != "true" or operation.new_container_id is None:
            return
        document = await self._look(operation)
        if document is None or not has_health_check(document):
            log.warning("monitor.no_health_check", operation=operation.id, container=operation.container_name)
            await self._journal.change(operation.id, required=False, monitor_until=None)
            return
        until = operation.monitor_until
        if until is None:
            until = self._clock.now_ms() + round(rollback_window(document, self._options) * 1000)
            operation = await self._journal.change(operation.id, monitor_until=until)
        interval = milliseconds(document, ROLLBACK_INTERVAL, 10.0)
        check = None if await self._runs_checks(operation) else check_of(document)
        self._supervisor.spawn(f"monitor:{operation.id}", self._watch(operation, until, interval, check))

    async def _watch(self, operation: Operation, until_ms: int, interval_s: float, check: Check | None) -> None:
        """`check` is one that nobody else runs: it is run when it is due."""
        status, due = "unknown", 0.0
        while self._clock.now_ms() < until_ms and status != "unhealthy":
            await self._clock.sleep(interval_s)
            try:
                if check is not None and self._clock.monotonic() >= due:
                    due = self._clock.monotonic() + check.interval_s
                    await self._engine(operation).run_health_check(operation.new_container_id or "")
                document = await self._look(operation)
            except EngineNotFound:
                document = None
            except EngineError as error:
                log.info("monitor.not_answered", operation=operation.id, error=error.message)
                continue
            if document is None:
                status = "gone"
                break
            status = (document["State"].get("Health") or {}).get("Status") or "unknown"
        await self._end(operation, status)

    async def _end(self, operation: Operation, status: str) -> None:
        """The window is over, or the container is sick or gone; what could not be decided is not called stable."""
        changes: dict[str, Any] = {"monitor_until": None}
        if status in ("unknown", "starting"):
            changes["warnings"] = [*operation.warnings, UNDECIDED.format(status)]
        await self._journal.change(operation.id, required=False, **changes)
        if status == "unhealthy":
            await self._roll_back(operation)
        elif status == "healthy":
            log.info("monitor.stable", operation=operation.id, container=operation.container_name)
        else:
            log.warning("monitor.undecided", operation=operation.id, container=operation.container_name, status=status)

    async def _look(self, operation: Operation) -> dict[str, Any] | None:
        try:
            return await self._engine(operation).inspect_container(operation.new_container_id or "")
        except EngineNotFound:
            return None

    def _engine(self, operation: Operation) -> Engine:
        return self._engine_for(operation.watcher, operation.agent)

    async def _roll_back(self, operation: Operation) -> None:
        """Only the very container that the operation made, to the very image it replaced."""
        container = self._fleet.get(operation.new_container_id or "")
        backups = await self._backups.records.of(operation.key)
        backup = next((one for one in backups if one.id == operation.backup_id), None)
        if container is None or backup is None:
            log.warning("monitor.cannot_roll_back", operation=operation.id, container=operation.container_name)
            return
        fields = rollback_fields(container, backup, operation.trigger_name or backup.trigger_name, "monitor")
        await self._service.run_now(container, **fields)
