"""Putting results onto the record as it is *now*, which may not be the one that was looked at. Pure (security.md §2)."""

from __future__ import annotations

from typing import Any

import msgspec

from drydock.core.model import Container
from drydock.core.scans import CANDIDATE, RUNNING, settled
from drydock.core.times import DAY_MS, from_iso
from drydock.core.update import candidate_identity, has_raw_update
from drydock.security.subjects import group_key

GOOD_FOR_MS = 7 * DAY_MS
"""A failed scheduled scan does not replace a result younger than this."""

Slots = dict[str, Any]
"""Slot name (`scan`, `updateSbom` …) → what to store there; None empties the slot."""


def merged(current: Container, looked_at: Container, slots: Slots) -> Container:
    """`current` with the results about `looked_at`, as far as they are still about the same images."""
    security = dict(current.security or {})
    for name, value in slots.items():
        if name in RUNNING and group_key(current) != group_key(looked_at):
            continue
        if name in CANDIDATE and _candidate(current) != _candidate(looked_at):
            continue
        if value is None:
            security.pop(name, None)
        else:
            security[name] = msgspec.to_builtins(value)
    return msgspec.structs.replace(current, security=settled(security, current))


def keeps_good(current: Container, slots: Slots, now_ms: int) -> bool:
    """The new scan failed, and the record has a result that is good and not too old."""
    new, old = slots.get("scan"), (current.security or {}).get("scan")
    if new is None or new.status != "error" or not isinstance(old, dict) or old.get("status") == "error":
        return False
    at = from_iso(old.get("scannedAt"))
    return at is not None and now_ms - at < GOOD_FOR_MS


def _candidate(container: Container) -> object:
    """What tells one candidate from the next: its digest, else its tag."""
    if container.result is None or not has_raw_update(container):
        return None
    return container.result.digest or candidate_identity(container)
