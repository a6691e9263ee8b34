"""Audit entries that follow from events (platform.md §9).

Entries about operations are written by `updates`, those caused by a request where it is handled.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

from drydock.clock import Clock
from drydock.cooperative import Turns
from drydock.core.audit import AuditEntry
from drydock.core.model import Container, audit_key
from drydock.core.update import has_raw_update, update_kind
from drydock.events import (
    Bus,
    ContainerAdded,
    ContainerRemoved,
    ContainerUpdated,
    Event,
    HealthChanged,
    MaturityCleared,
    SecurityAlert,
)
from drydock.kernel import AuditLog

REPEAT_MS = 300_000
"""A flapping container or a repeated scan is worth one entry in five minutes."""
REMEMBERED = 2000


class EventAudit:
    """Writes the entries of events to the audit log, each thing once."""

    def __init__(self, audit: AuditLog, clock: Clock) -> None:
        self._audit = audit
        self._clock = clock
        self._pending: dict[str, tuple[str | None, ...]] = {}
        self._changes: dict[str, Hashable] = {}
        self._recent: dict[tuple[str, ...], int] = {}

    def subscribe(self, bus: Bus) -> None:
        """Listen from now on."""
        bus.subscribe_batches(
            "audit",
            self.handle,
            ContainerAdded,
            ContainerRemoved,
            ContainerUpdated,
            HealthChanged,
            MaturityCleared,
            SecurityAlert,
        )

    async def handle(self, events: Sequence[Event]) -> None:
        """Write what follows from events, in one transaction: a first scan brings a thousand at once.

        An event that cannot be rendered does not affect the others; raises ExceptionGroup after they are written.
        """
        entries: list[AuditEntry] = []
        failed: list[Exception] = []
        turns = Turns()
        for event in events:
            await turns.offer()
            try:
                entries += self._entries(event)
            except Exception as error:
                failed.append(error)
        await self._audit.record(*entries)
        if failed:
            raise ExceptionGroup("events without an audit entry", failed)

    def _entries(self, event: Event) -> Iterator[AuditEntry]:
        """What is worth an entry in one event."""
        entry = self._audit.entry
        match event:
            case ContainerAdded(container=container):
                yield entry("container-added", "info", container=container)
                yield from self._available(container)
            case ContainerRemoved(container=container):
                self._pending.pop(audit_key(container), None)
                self._changes.pop(audit_key(container), None)
                yield entry("container-removed", "info", container=container)
            case ContainerUpdated(container=container, previous=previous):
                key, material = audit_key(container), _material(container)
                self._pending.setdefault(key, _candidate(previous))
                if material not in (_material(previous), self._changes.get(key)):
                    self._changes[key] = material
                    details = f"status: {container.status}"
                    yield entry("container-update", "info", container=container, details=details)
                yield from self._available(container)
            case HealthChanged(container=container, previous=health):
                if not self._repeated("container-unhealthy", audit_key(container)):
                    was = f"was {health}" if health else None
                    yield entry("container-unhealthy", "error", container=container, details=was)
            case MaturityCleared(container=container):
                if not self._repeated("maturity-cleared", audit_key(container)):
                    details = f"held back since {event.pending_since} for {event.min_age_days} days"
                    yield entry("maturity-cleared", "info", container=container, details=details)
            case SecurityAlert(container=container, summary=summary):
                found = summary.get("details", "vulnerabilities found")
                details = f"{found}; blocking={summary.get('blockingCount', 0)}"
                if not self._repeated("security-alert", audit_key(container), details):
                    yield entry("security-alert", "error", container=container, details=details)

    def _available(self, container: Container) -> Iterator[AuditEntry]:
        """Once per distinct pair of versions; again after the update vanished."""
        key, candidate = audit_key(container), _candidate(container)
        known, self._pending[key] = self._pending.get(key, ()), candidate
        if candidate and candidate != known:
            kind = update_kind(container)
            yield self._audit.entry(
                "update-available",
                "info",
                container=container,
                from_version=kind.local_value,
                to_version=kind.remote_value,
                update_kind=kind.kind,
                semver_diff=kind.semver_diff,
            )

    def _repeated(self, *key: str) -> bool:
        """Whether this was written within the last five minutes."""
        now = self._clock.now_ms()
        told = self._recent.get(key)
        if told is not None and now - told < REPEAT_MS:
            return True
        if len(self._recent) >= REMEMBERED:
            self._recent = {k: at for k, at in self._recent.items() if now - at < REPEAT_MS}
        self._recent[key] = now
        return False


def _candidate(container: Container) -> tuple[str | None, ...]:
    """What the pending update is; empty without one."""
    if not has_raw_update(container):
        return ()
    kind = update_kind(container)
    return kind.kind, kind.local_value, kind.remote_value


def _material(container: Container) -> Hashable:
    """The parts whose change is worth an entry."""
    result, error = container.result, container.error
    return (
        container.status,
        container.health,
        error.message if error else None,
        container.image.id,
        container.image.tag.value,
        (result.tag, result.digest) if result else None,
        str(container.update_policy_declarative),
        str(container.update_policy_overrides),
    )
