"""After an update: a container that turns out to be sick goes back to the image it replaced (updates.md §7.2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from drydock.core.errors import EngineError, EngineNotFound
from drydock.core.labels import ROLLBACK_AUTO, ROLLBACK_INTERVAL
from drydock.core.operation import Operation
from drydock.hosts.host import Hosts
from drydock.hosts.local import full_engine
from drydock.kernel import Kernel
from drydock.updates.execution.backups import Backups, rollback_operation
from drydock.updates.execution.journal import Journal
from drydock.updates.plan.health_gate import Check, check_of, has_health_check, milliseconds, rollback_window
from drydock.updates.plan.options import PlanOptions

log = structlog.get_logger("updates")

Run = Callable[[Operation], Awaitable[Operation]]
"""Writes the row of an operation outside of admission, and carries it out."""

UNDECIDED = (
    "The container's health was {} until the end of dd.rollback.window, so the update is not known to be healthy"
)


class HealthMonitor:
    """Watches a new container for a while; `unhealthy` brings back the image it replaced. Survives restarts.

    Where the Engine leaves health checks to others (Podman without systemd), it has them run at their own interval.
    """

    def __init__(self, kernel: Kernel, hosts: Hosts, journal: Journal, backups: Backups) -> None:
        self._clock = kernel.clock
        self._fleet = kernel.fleet
        self._supervisor = kernel.supervisor
        self._hosts = hosts
        self._journal = journal
        self._backups = backups

    async def begin(self, operation: Operation, run: Run) -> None:
        """Start watching after an update, or go on after a restart; returns at once. `run` carries out a rollback."""
        labels = (operation.old_spec or {}).get("Config", {}).get("Labels") or {}
        if labels.get(ROLLBACK_AUTO, "").strip().lower() != "true" or operation.new_container_id is None:
            return
        document = await self._look(operation)
        if document is None or not has_health_check(document):
            log.warning("monitor.no_health_check", operation=operation.id, container=operation.container_name)
            await self._journal.change(operation.id, required=False, monitor_until=None)
            return
        if operation.monitor_until is None:
            until_ms = self._clock.now_ms() + round(rollback_window(document, PlanOptions()) * 1000)
            operation = await self._journal.change(operation.id, monitor_until=until_ms)
        facts = await self._hosts.of(operation).identify()
        check = None if facts.runs_health_checks else check_of(document)
        interval_s = milliseconds(document, ROLLBACK_INTERVAL, 10.0)
        self._supervisor.spawn(f"monitor:{operation.id}", self._watch(operation, interval_s, check, run))

    async def _watch(self, operation: Operation, interval_s: float, check: Check | None, run: Run) -> None:
        """`check` is one that only Drydock runs: it is run when it is due."""
        status, due, until_ms = "unknown", 0.0, operation.monitor_until or 0
        while self._clock.now_ms() < until_ms and status not in ("unhealthy", "gone"):
            await self._clock.sleep(interval_s)
            try:
                if check is not None and self._clock.monotonic() >= due:
                    due = self._clock.monotonic() + check.interval_s
                    engine = full_engine(self._hosts.of(operation))
                    await engine.run_health_check(operation.new_container_id or "")
                document = await self._look(operation)
            except EngineNotFound:
                document = None
            except EngineError as error:
                log.info("monitor.not_answered", operation=operation.id, error=error.message)
                continue
            status = "gone"
            if document is not None:
                status = (document["State"].get("Health") or {}).get("Status") or "unknown"

        # The window is over, or the container is sick or gone; what could not be decided is not called stable.
        changes: dict[str, Any] = {"monitor_until": None}
        if status in ("unknown", "starting"):
            changes["warnings"] = [*operation.warnings, UNDECIDED.format(status)]
        await self._journal.change(operation.id, required=False, **changes)
        if status == "healthy":
            log.info("monitor.stable", operation=operation.id, container=operation.container_name)
            return
        if status != "unhealthy":
            log.warning("monitor.undecided", operation=operation.id, container=operation.container_name, status=status)
            return

        # Only the very container that the operation made goes back, and only to the very image it replaced.
        container = self._fleet.get(operation.new_container_id or "")
        backups = await self._backups.records.of(operation.key)
        backup = next((one for one in backups if one.id == operation.backup_id), None)
        if container is None or backup is None:
            log.warning("monitor.cannot_roll_back", operation=operation.id, container=operation.container_name)
            return
        action = operation.trigger_name or backup.trigger_name
        await run(rollback_operation(container, backup, action, self._clock.now_ms(), source="monitor"))

    async def _look(self, operation: Operation) -> dict[str, Any] | None:
        try:
            return await self._hosts.of(operation).reader.inspect_container(operation.new_container_id or "")
        except EngineNotFound:
            return None
