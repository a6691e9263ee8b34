"""What an incoming record must not do: bring back an update that was just applied, or store `***` as a value."""

from __future__ import annotations

import msgspec

from drydock.core.model import Container, Details, EnvEntry, audit_key
from drydock.core.update import has_raw_update

REDACTED = "***"


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
    env = [_restored(entry, known) for entry in incoming.details.env]
    details: Details = msgspec.structs.replace(incoming.details, env=env)
    return msgspec.structs.replace(incoming, details=details)


def _restored(entry: EnvEntry, known: dict[str, str]) -> EnvEntry:
    if entry.value != REDACTED or not entry.sensitive:
        return entry
    return msgspec.structs.replace(entry, value=known.get(entry.key, entry.value))
