"""What is counted as it happens: every family that events feed (platform.md §10, updates.md §14.5)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from drydock.core.operation import Operation
from drydock.events import (
    AuditRecorded,
    ContainerAction,
    Event,
    HostScanned,
    LoginAttempted,
    MessageSent,
    OperationEnded,
    ScanPutOff,
)
from drydock.metrics.families import Alias, Counter, Family, Gauge, Histogram, Summary

COUNTED: Final = (
    AuditRecorded,
    ContainerAction,
    HostScanned,
    LoginAttempted,
    MessageSent,
    OperationEnded,
    ScanPutOff,
)
"""The events that move something here."""

LOGIN_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5)
UPDATE_BUCKETS = (1, 2.5, 5, 10, 30, 60, 120, 300, 600)
WATCH_BUCKETS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
SEND_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
OUTCOMES = ("success", "invalid", "locked", "error")
LOGIN_PROVIDERS = ("basic", "oidc")
LONGEST_REASON = 63

_TRIGGER_STATUS = {"succeeded": "success", "rolled-back": "error", "failed": "error"}
_NOT_A_WORD = re.compile(r"[^a-z0-9_]+")


class Counters:
    """The counted families by name."""

    def __init__(self) -> None:
        # how hosts are watched
        self.maintenance_skips = Counter(
            "dd_watcher_maintenance_skip_total", "Checks skipped outside the maintenance window", ("type", "name")
        )
        self.logger_failures = Counter(
            "dd_watcher_logger_init_failures_total", "Fallback loggers used", ("type", "name")
        )
        self.registry_response = Summary(
            "dd_registry_response", "Seconds that registries took to answer", ("type", "name")
        )
        self.watch_seconds = Histogram(
            "drydock_watch_duration_seconds", "How long full checks of a host took", ("type", "name"), WATCH_BUCKETS
        )
        self.agents_connected = Gauge("drydock_agent_connected", "1 while an agent answers, else 0", ("agent",))
        # what is done
        self.triggers = Counter("dd_trigger_count", "Actions and notifications run", ("type", "name", "status"))
        self.triggers_total = Alias("dd_trigger_count_total", self.triggers)
        self.rollbacks = Counter("dd_trigger_rollback_total", "Rollbacks", ("type", "name", "outcome", "reason"))
        self.actions = Counter("dd_container_actions_total", "Actions of users on containers", ("action",))
        self.webhooks = Counter("dd_webhook_total", "Webhook calls", ("action",))
        self.audit_entries = Counter("dd_audit_entries_total", "Audit entries written", ("action",))
        self.update_seconds = Histogram(
            "dd_update_duration_seconds", "How long updates took", ("outcome",), UPDATE_BUCKETS
        )
        self.updates_recovered = Counter("dd_update_recovered_total", "Operations settled after a restart", ("result",))
        self.operations = Counter("drydock_update_operations_total", "Update operations that ended", ("status",))
        self.send_seconds = Histogram(
            "dd_notification_send_seconds", "How long sending a message took", ("type", "name"), SEND_BUCKETS
        )
        self.outbox = Gauge("drydock_outbox_entries", "Messages kept for delivery", ("status",))
        # who signs in
        self.logins = Counter("drydock_auth_login_total", "Attempts to sign in", ("outcome", "provider"))
        for outcome in OUTCOMES:
            for provider in LOGIN_PROVIDERS:
                self.logins.inc(0, outcome=outcome, provider=provider)
        self.login_seconds = Histogram(
            "drydock_auth_login_duration_seconds",
            "Time that verifications took",
            ("outcome", "provider"),
            LOGIN_BUCKETS,
        )
        self.unknown_users = Counter("drydock_auth_username_mismatch_total", "Attempts with an unknown user name")

    def families(self) -> Iterator[Family]:
        """All of them, in the order of the documentation."""
        yield from (value for value in vars(self).values() if isinstance(value, Family))

    async def handle(self, events: Sequence[Event]) -> None:
        """Count a batch of events."""
        for event in events:
            self.count(event)

    def count(self, event: Event) -> None:
        """Move what an event moves."""
        match event:
            case AuditRecorded(entry=entry):
                self.audit_entries.inc(action=entry["action"])
            case ContainerAction(action=action):
                self.actions.inc(action=action)
            case HostScanned(host=host, seconds=seconds):
                self.watch_seconds.observe(seconds, type="docker", name=host.watcher)
            case ScanPutOff(host=host):
                self.maintenance_skips.inc(type="docker", name=host.watcher)
            case MessageSent(type=type, name=name, status=status, seconds=seconds):
                self.triggers.inc(type=type, name=name, status=status)
                self.send_seconds.observe(seconds, type=type, name=name)
            case LoginAttempted(outcome=outcome, provider=provider):
                self.logins.inc(outcome=outcome, provider=provider)
                self.login_seconds.observe(event.seconds, outcome=outcome, provider=provider)
                self.unknown_users.inc(event.unknown_user)
            case OperationEnded(operation=operation):
                self._ended(operation)

    def registry_answered(self, type: str, name: str, seconds: float) -> None:
        """Observe one request to a registry; there are too many of them for events."""
        self.registry_response.observe(seconds, type=type, name=name)

    def _ended(self, operation: Operation) -> None:
        if operation.recovered_at is not None:
            self.updates_recovered.inc(result=operation.recovery or "none")
        self.operations.inc(status=operation.status)
        if operation.source == "dependent" or operation.restart_only:
            return  # they do not count as updates
        parts = ("", *(operation.trigger_name or "").split("."))  # `docker.local` or `agent.docker.local`
        type, name = parts[-2], parts[-1]
        if outcome := _rollback_outcome(operation):
            self.rollbacks.inc(type=type, name=name, outcome=outcome, reason=_rollback_reason(operation))
        if operation.kind == "container-rollback":
            return
        if operation.completed_at is not None:
            seconds = (operation.completed_at - operation.created_at) / 1000
            self.update_seconds.observe(seconds, outcome=operation.status)
        if status := _TRIGGER_STATUS.get(operation.status):
            self.triggers.inc(type=type, name=name, status=status)


def _rollback_outcome(operation: Operation) -> str | None:
    """A failed update that was undone counts, and so does one that could not be, and every requested rollback."""
    if operation.status == "rolled-back":
        return "success"
    requested = operation.kind == "container-rollback" and operation.status == "failed"
    return "error" if requested or operation.phase == "rollback-failed" else None


def _rollback_reason(operation: Operation) -> str:
    requested = "auto_rollback" if operation.source == "monitor" else "manual"
    text = operation.rollback_code or (requested if operation.kind == "container-rollback" else "unknown")
    return _NOT_A_WORD.sub("_", text.lower())[:LONGEST_REASON]
