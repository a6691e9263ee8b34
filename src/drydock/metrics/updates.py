"""What becomes of updates, counted (updates.md §14.5, platform.md §10)."""

from __future__ import annotations

import re

from drydock.core.operation import Operation
from drydock.metrics.catalogue import Metrics

LONGEST_REASON = 63

_TRIGGER_STATUS = {"succeeded": "success", "rolled-back": "error", "failed": "error"}
_NOT_A_WORD = re.compile(r"[^a-z0-9_]+")


class UpdateReport:
    """Implements `updates.meter.Meter`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def acted(self, action: str) -> None:
        """Count what a person did to a container."""
        self._metrics.actions.inc(action=action)

    def running(self, operations: int) -> None:
        """Show how many operations are carried out now."""
        self._metrics.updates_active.set(operations)

    def ended(self, operation: Operation) -> None:
        """Count the end of an operation; restarts and dependents are no updates of their own."""
        if operation.recovered_at is not None:
            self._metrics.updates_recovered.inc(result=operation.recovery or "none")
        self._metrics.operations.inc(status=operation.status)
        if operation.source == "dependent" or operation.restart_only:
            return
        self._count_rollback(operation)
        if operation.kind == "container-rollback":
            return
        if operation.completed_at is not None:
            seconds = (operation.completed_at - operation.created_at) / 1000
            self._metrics.update_seconds.observe(seconds, outcome=operation.status)
        if status := _TRIGGER_STATUS.get(operation.status):
            kind, name = _trigger(operation)
            self._metrics.triggers.inc(type=kind, name=name, status=status)

    def _count_rollback(self, operation: Operation) -> None:
        outcome = _rollback_outcome(operation)
        if outcome is not None:
            kind, name = _trigger(operation)
            self._metrics.rollbacks.inc(type=kind, name=name, outcome=outcome, reason=_reason(operation))


def _rollback_outcome(operation: Operation) -> str | None:
    """A failed update that was undone counts, and so does one that could not be, and every rollback by wish."""
    if operation.status == "rolled-back":
        return "success"
    wished = operation.kind == "container-rollback" and operation.status == "failed"
    return "error" if wished or operation.phase == "rollback-failed" else None


def _reason(operation: Operation) -> str:
    wish = "auto_rollback" if operation.source == "monitor" else "manual"
    text = operation.rollback_code or (wish if operation.kind == "container-rollback" else "unknown")
    return _NOT_A_WORD.sub("_", text.lower())[:LONGEST_REASON]


def _trigger(operation: Operation) -> tuple[str, str]:
    """Type and name of the action, from `docker.local` or `agent.docker.local`."""
    parts = ("", *(operation.trigger_name or "").split("."))
    return parts[-2], parts[-1]
