"""What a recreated container inherits from the one before it (watching.md §9.3).

Clocks for 30 minutes, policy overrides for 7 days (both in the store as well), scan results for 15 minutes in memory.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from drydock.core.model import Container, UpdatePolicy, identity_key
from drydock.core.scans import inherited
from drydock.core.temporary import is_temporary
from drydock.core.update import candidate_identity, has_raw_update
from drydock.fleet.settings import FleetSettings


class Records(Protocol):
    """Where entries are kept; `store.retention.RetentionRecords`."""

    async def put(self, kind: Any, key: str, document: str, expires_at: int) -> None: ...

    async def remove(self, kind: Any, key: str) -> None: ...

    async def load(self, now_ms: int) -> list[tuple[str, str, str, int]]: ...


class Clocks(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The lifecycle timestamps of one candidate."""

    candidate: str
    update_detected_at: str | None = None
    first_seen_at: str | None = None
    maturity_gate_pending_since: str | None = None


class Retention:
    """Stashes at removal, gives back at insertion."""

    def __init__(self, records: Records, settings: FleetSettings) -> None:
        self._records = records
        self._settings = settings
        self._clocks: dict[str, tuple[int, Clocks]] = {}
        self._policies: dict[str, tuple[int, UpdatePolicy]] = {}
        self._scans: dict[str, tuple[int, str, dict[str, Any]]] = {}

    async def load(self, now_ms: int) -> None:
        """Read what an earlier process kept."""
        for kind, key, document, expires_at in await self._records.load(now_ms):
            if kind == "lifecycle":
                self._clocks[key] = (expires_at, msgspec.json.decode(document, type=Clocks))
            elif kind == "policy":
                self._policies[key] = (expires_at, msgspec.json.decode(document, type=UpdatePolicy))

    async def stash(self, container: Container, now_ms: int) -> None:
        """Keep what a successor may inherit."""
        if is_temporary(container.name):
            return
        if container.update_detected_at:
            await self._stash_clocks(container, now_ms)
        await self.stash_policy(container, now_ms)
        if container.security:
            expires_at = now_ms + self._settings.security_ttl_ms
            _bounded(self._scans, self._settings.security_max)
            self._scans[_place(container)] = (expires_at, container.image.id, container.security)

    async def inherit(self, container: Container, now_ms: int) -> Container:
        """A new container with what its predecessor left beside the clocks; each entry is used up."""
        container = await self._inherit_policy(container, now_ms)
        return self._inherit_scan(container, now_ms)

    async def _stash_clocks(self, container: Container, now_ms: int) -> None:
        clocks = clocks_of(container)
        if clocks is None:
            return
        expires_at = now_ms + self._settings.lifecycle_ttl_ms
        await self._make_room(self._clocks, "lifecycle", self._settings.lifecycle_max)
        self._clocks[_place(container)] = (expires_at, clocks)
        await self._records.put("lifecycle", _place(container), _text(clocks), expires_at)

    async def stash_policy(self, container: Container, now_ms: int) -> None:
        """Keep the overrides: they belong to the identity, not to the Docker id (container-api.md §2.7)."""
        key, overrides = identity_key(container), container.update_policy_overrides
        if overrides is None or is_temporary(container.name):
            return
        expires_at = now_ms + self._settings.policy_ttl_ms
        await self._make_room(self._policies, "policy", self._settings.policy_max)
        self._policies[key] = (expires_at, overrides)
        await self._records.put("policy", key, _text(overrides), expires_at)

    async def _make_room(self, table: dict[str, Any], kind: str, largest: int) -> None:
        for key in _bounded(table, largest):
            await self._records.remove(kind, key)

    async def inherit_clocks(self, container: Container, now_ms: int) -> Container:
        """The container with its predecessor's clocks if it has the same candidate; the entry is used up."""
        if is_temporary(container.name):
            return container
        kept = self._clocks.pop(_place(container), None)
        if kept is None:
            return container
        await self._records.remove("lifecycle", _place(container))
        return with_clocks(container, kept[1]) if kept[0] > now_ms else container

    async def _inherit_policy(self, container: Container, now_ms: int) -> Container:
        key = identity_key(container)
        kept = None if is_temporary(container.name) else self._policies.pop(key, None)
        if kept is None:
            return container
        await self._records.remove("policy", key)
        return with_overrides(container, kept[1]) if kept[0] > now_ms else container

    def _inherit_scan(self, container: Container, now_ms: int) -> Container:
        kept = self._scans.pop(_place(container), None)
        if kept is None or kept[0] <= now_ms or container.security:
            return container
        same_image = kept[1] == container.image.id
        return msgspec.structs.replace(container, security=kept[2] if same_image else inherited(kept[2], container))


def clocks_of(container: Container) -> Clocks | None:
    """The clocks of the pending candidate; None without one."""
    identity = candidate_identity(container) if has_raw_update(container) else None
    if identity is None:
        return None
    return Clocks(
        candidate=_text(identity),
        update_detected_at=container.update_detected_at,
        first_seen_at=container.first_seen_at,
        maturity_gate_pending_since=container.maturity_gate_pending_since,
    )


def with_clocks(container: Container, clocks: Clocks) -> Container:
    """Fill empty clocks when the same candidate is pending."""
    mine = clocks_of(container)
    if mine is None or mine.candidate != clocks.candidate:
        return container
    return msgspec.structs.replace(
        container,
        update_detected_at=container.update_detected_at or clocks.update_detected_at,
        first_seen_at=container.first_seen_at or clocks.first_seen_at,
        maturity_gate_pending_since=container.maturity_gate_pending_since or clocks.maturity_gate_pending_since,
    )


def with_overrides(container: Container, overrides: UpdatePolicy | None) -> Container:
    """Give overrides to a container that has none."""
    if container.update_policy_overrides not in (None, UpdatePolicy()) or overrides is None:
        return container
    return msgspec.structs.replace(container, update_policy_overrides=overrides)


def _place(container: Container) -> str:
    return f"{container.host}::{container.name}"


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _bounded(table: dict[str, Any], largest: int) -> list[str]:
    """Make room for one more: drop the oldest; gives the dropped keys."""
    gone = list(table)[: max(0, len(table) - largest + 1)]
    for key in gone:
        del table[key]
    return gone
