"""Time stamps of a pending update, set whenever a record is written (watching.md §9.1, §9.2)."""

from __future__ import annotations

import msgspec

from drydock.core.model import Container
from drydock.core.policy.layers import effective
from drydock.core.policy.maturity import is_pending
from drydock.core.times import to_iso
from drydock.core.update import candidate_identity, has_raw_update

_STAMPS = ("update_detected_at", "first_seen_at", "maturity_gate_pending_since")


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
