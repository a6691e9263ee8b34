"""Putting results onto the record as it is *now*, which may not be the one that was looked at (security.md §2)."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import structlog

from drydock.core.errors import NotFound
from drydock.core.model import Container
from drydock.core.scans import CANDIDATE, RUNNING, settled
from drydock.core.times import DAY_MS, from_iso
from drydock.core.update import candidate_identity, has_raw_update
from drydock.fleet.fleet import Fleet
from drydock.security.subjects import group_key

log = structlog.get_logger("security")

GOOD_FOR_MS = 7 * DAY_MS
"""A failed scheduled scan does not replace a result younger than this."""

Slots = dict[str, Any]
"""Slot name (`scan`, `updateSbom` …) → what to store there; None empties the slot."""


async def write_back(
    fleet: Fleet, looked_at: Container, slots: Slots, *, keep_good_at_ms: int | None = None
) -> Container | None:
    """Store the results about `looked_at`; None when the container is gone by now, which is no error.

    With `keep_good_at_ms` (now) a failed scan leaves a good result in place.
    """

    def alter(current: Container) -> Container:
        keep = keep_good_at_ms is not None and keeps_good(current, slots, keep_good_at_ms)
        return current if keep else merged(current, looked_at, slots)

    try:
        return await asyncio.shield(fleet.change(looked_at.id, alter))  # a result that is there is not thrown away
    except NotFound:
        log.info("security.container_gone", container=looked_at.name)
        return None


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
    """What distinguishes one candidate from the next: its digest, else its tag."""
    if container.result is None or not has_raw_update(container):
        return None
    return container.result.digest or candidate_identity(container)
