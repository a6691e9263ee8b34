"""Audit entries that follow from events (platform.md §9).

Entries about operations are written by `updates`, those caused by a request where it is handled.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

from drydock.audit.trail import AuditTrail
from drydock.clock import Clock
from drydock.cooperative import Turns
from drydock.core.audit import AuditEntry
from drydock.core.model import Container, UpdateKind, audit_key
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

Writer = Callable[[Any], Iterator[AuditEntry]]

REPEAT_MS = 300_000
REMEMBERED = 2000


class EventAudit:
    """Writes the entries of events to the trail, each thing once."""

    def __init__(self, trail: AuditTrail, clock: Clock) -> None:
        self._trail = trail
        self._clock = clock
        self._pending: dict[str, tuple[str | None, ...]] = {}
        self._changes: dict[str, Hashable] = {}
        self._recent: dict[tuple[str, ...], int] = {}
        self._writers: dict[type[Event], Writer] = {
            ContainerAdded: self._added,
            ContainerRemoved: self._removed,
            ContainerUpdated: self._updated,
            HealthChanged: self._unhealthy,
            MaturityCleared: self._matured,
            SecurityAlert: self._alert,
        }

    def subscribe(self, bus: Bus) -> None:
        """Listen from now on."""
        bus.subscribe_batches("audit", self.handle, *self._writers)

    async def handle(self, events: Sequence[Event]) -> None:
        """Write what follows from events, in one transaction: a first scan brings a thousand at once.

        An event that cannot be told does not take the others with it; raises ExceptionGroup after they are written.
        """
        entries: list[AuditEntry] = []
        failed: list[Exception] = []
        turns = Turns()
        for event in events:
            await turns.offer()
            try:
                entries += self._writers[type(event)](event)
            except Exception as error:
                failed.append(error)
        await self._trail.record(*entries)
        if failed:
            raise ExceptionGroup("events without an audit entry", failed)

    def _added(self, event: ContainerAdded) -> Iterator[AuditEntry]:
        yield self._trail.entry("container-added", "info", container=event.container)
        yield from self._available(event.container)

    def _removed(self, event: ContainerRemoved) -> Iterator[AuditEntry]:
        key = audit_key(event.container)
        self._pending.pop(key, None)
        self._changes.pop(key, None)
        yield self._trail.entry("container-removed", "info", container=event.container)

    def _updated(self, event: ContainerUpdated) -> Iterator[AuditEntry]:
        container = event.container
        key, material = audit_key(container), _material(container)
        self._pending.setdefault(key, _candidate(event.previous))
        if material not in (_material(event.previous), self._changes.get(key)):
            self._changes[key] = material
            details = f"status: {container.status}"
            yield self._trail.entry("container-update", "info", container=container, details=details)
        yield from self._available(container)

    def _available(self, container: Container) -> Iterator[AuditEntry]:
        """Once per distinct pair of versions; again after the update vanished."""
        key, candidate = audit_key(container), _candidate(container)
        known, self._pending[key] = self._pending.get(key, ()), candidate
        if candidate and candidate != known:
            kind = update_kind(container)
            yield self._trail.entry("update-available", "info", container=container, **_versions(kind))

    def _unhealthy(self, event: HealthChanged) -> Iterator[AuditEntry]:
        if not self._repeated("container-unhealthy", audit_key(event.container)):
            details = f"was {event.previous}" if event.previous else None
            yield self._trail.entry("container-unhealthy", "error", container=event.container, details=details)

    def _matured(self, event: MaturityCleared) -> Iterator[AuditEntry]:
        if not self._repeated("maturity-cleared", audit_key(event.container)):
            details = f"held back since {event.pending_since} for {event.min_age_days} days"
            yield self._trail.entry("maturity-cleared", "info", container=event.container, details=details)

    def _alert(self, event: SecurityAlert) -> Iterator[AuditEntry]:
        summary = event.summary
        details = f"{summary.get('details', 'vulnerabilities found')}; blocking={summary.get('blockingCount', 0)}"
        if not self._repeated("security-alert", audit_key(event.container), details):
            yield self._trail.entry("security-alert", "error", container=event.container, details=details)

    def _repeated(self, *key: str) -> bool:
        """Whether this was told within the last five minutes."""
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


def _versions(kind: UpdateKind) -> dict[str, Any]:
    return {
        "from_version": kind.local_value,
        "to_version": kind.remote_value,
        "update_kind": kind.kind,
        "semver_diff": kind.semver_diff,
    }
