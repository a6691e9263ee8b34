"""What an incoming record goes through: what it must not undo, its time stamps, whether it is worth an event.

It must not bring back an update that was just applied, or store `***` as a value (watching.md §9.1, §9.2, §13).
"""

from __future__ import annotations

from typing import Any

import msgspec

from drydock.core.model import Container, ContainerView, Details, audit_key
from drydock.core.policy.layers import effective
from drydock.core.policy.maturity import is_pending
from drydock.core.times import to_iso
from drydock.core.update import candidate_identity, has_raw_update

REDACTED = "***"
_STAMPS = ("update_detected_at", "first_seen_at", "maturity_gate_pending_since")


class Marks:
    """When Drydock last updated a container; a check that began before must not show its candidate again."""

    def __init__(self) -> None:
        self._at: dict[str, int] = {}

    def set(self, key: str, now_ms: int) -> None:
        """Remember an update of the container with this audit key."""
        self._at[key] = now_ms

    def apply(self, container: Container, check_started_ms: int | None) -> Container:
        """Clear what an older check detected; a later check, or one without update, lifts the mark."""
        key = audit_key(container)
        marked = self._at.get(key)
        if marked is None or check_started_ms is None:
            return container
        if check_started_ms >= marked or not has_raw_update(container):
            del self._at[key]
            return container
        return msgspec.structs.replace(
            container,
            result=None,
            error=None,
            update_detected_at=None,
            first_seen_at=None,
            maturity_gate_pending_since=None,
        )


def keep_secrets(previous: Container, incoming: Container) -> Container:
    """Put back the values of a redacted copy (container-api.md §1.13)."""
    if previous.details is None or incoming.details is None:
        return incoming
    if not any(entry.value == REDACTED for entry in incoming.details.env):
        return incoming
    known = {entry.key: entry.value for entry in previous.details.env}
    env = [
        msgspec.structs.replace(entry, value=known.get(entry.key, entry.value))
        if entry.value == REDACTED and entry.sensitive
        else entry
        for entry in incoming.details.env
    ]
    details: Details = msgspec.structs.replace(incoming.details, env=env)
    return msgspec.structs.replace(incoming, details=details)


def stamp(previous: Container | None, incoming: Container, now_ms: int, *, whole: bool = False) -> Container:
    """The incoming record with `updateDetectedAt`, `firstSeenAt` and `maturityGatePendingSince` as they must be.

    A new candidate starts the clocks again, the same one keeps them, none removes them. `whole` says that `incoming`
    was made from `previous`: what it lacks was taken away on purpose (an opened gate), not left out.
    """
    if not has_raw_update(incoming):
        return msgspec.structs.replace(incoming, **dict.fromkeys(_STAMPS))
    stored = previous if previous is not None and has_raw_update(previous) else None
    if stored is None:
        return _stamped(incoming, now_ms)
    if candidate_identity(stored) != candidate_identity(incoming):
        return _stamped(msgspec.structs.replace(incoming, **dict.fromkeys(_STAMPS)), now_ms)
    if whole:
        return _stamped(incoming, now_ms)
    kept = {name: getattr(incoming, name) or getattr(stored, name) for name in _STAMPS}
    return _stamped(msgspec.structs.replace(incoming, **kept), now_ms)


def _stamped(container: Container, now_ms: int) -> Container:
    """Fill what is empty: the two detection times always, the gate's only while it is closed."""
    now = to_iso(now_ms)
    dated = msgspec.structs.replace(
        container,
        update_detected_at=container.update_detected_at or now,
        first_seen_at=container.first_seen_at or now,
    )
    since = container.maturity_gate_pending_since
    if since is None and is_pending(dated, effective(dated).policy, now_ms):
        since = now
    return msgspec.structs.replace(dated, maturity_gate_pending_since=since)


def meaningful(before: ContainerView, after: ContainerView) -> bool:
    """Something that a person or a rule reacts to has changed."""
    return _facts(before) != _facts(after)


def _facts(view: ContainerView) -> tuple[Any, ...]:
    result = view.result
    return (
        view.update_available,
        result.tag if result else None,
        result.digest if result else None,
        view.status,
        view.health,
        view.error.message if view.error else None,
        view.image.tag.value,
        view.update_policy_declarative,
        view.update_policy_overrides,
        view.security,
    )


def became_unhealthy(before: Container, after: Container) -> bool:
    """Unhealthy now, and either healthy-known-otherwise before, or a new run of the container."""
    if after.health != "unhealthy":
        return False
    changed = before.health is not None and before.health != "unhealthy"
    first, second = _started(before), _started(after)
    return changed or (first is not None and second is not None and first != second)


def _started(container: Container) -> str | None:
    return container.details.started_at if container.details else None
