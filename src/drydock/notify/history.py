"""Sends a result only once: what every trigger has sent about every container, across restarts (notifications.md §7.5).

Keyed by `agent::watcher::name`, so that recreating a container with the same outdated image sends nothing again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from drydock.clock import Clock
from drydock.core.model import Container, UpdateKind, audit_key
from drydock.core.update import update_kind
from drydock.store.notifications import NotificationRecords, Told

Kind = Literal["update-available", "update-available-digest", "maturity-cleared"]
UPDATE_KINDS: tuple[Kind, ...] = ("update-available", "update-available-digest")
SEEDED = "seeded"
"""Kind of the row that says a trigger was here before; its container is empty."""


def result_hash(container: Container, kind: UpdateKind) -> str:
    """Names what was found: tag, digest, kind and target; the build date only where there is no digest."""
    result = container.result
    digest = result.digest if result else None
    named = {
        "tag": result.tag if result else None,
        "digest": digest,
        "created": result.created if result and not digest else None,
        "kind": kind.kind,
        "remoteValue": kind.remote_value,
    }
    return hashlib.sha256(msgspec.json.encode(named)).hexdigest()


class History:
    """The history of all triggers: in memory, written through."""

    def __init__(self, records: NotificationRecords, clock: Clock) -> None:
        self._records = records
        self._clock = clock
        self._told: dict[tuple[str, str, str], str] = {}

    async def load(self) -> None:
        """Read all rows, before any event."""
        self._told = {(row.trigger, row.container, row.kind): row.result for row in await self._records.all()}

    def told(self, trigger: str, container: Container, kind: Kind) -> bool:
        """Whether this trigger has sent exactly this result."""
        known = self._told.get((trigger, audit_key(container), kind))
        return known == result_hash(container, update_kind(container))

    async def remember(self, trigger: str, containers: Iterable[Container], *kinds: Kind) -> None:
        """These results were delivered."""
        now = self._clock.now_ms()
        rows = [
            Told(trigger, audit_key(one), kind, result_hash(one, update_kind(one)), now)
            for one in containers
            for kind in kinds
        ]
        await self._put(rows)

    async def forget(self, container: str) -> None:
        """An update was applied to the container with this key: whatever comes next is sent again."""
        for key in [key for key in self._told if key[1] == container and key[2] in UPDATE_KINDS]:
            del self._told[key]
        await self._records.forget(container, UPDATE_KINDS)

    async def seed(self, trigger: str, pending: Iterable[Container]) -> None:
        """A new trigger does not send the backlog; an existing one is left as it is."""
        if (trigger, "", SEEDED) in self._told:
            return
        unknown = [one for one in pending if (trigger, audit_key(one), "update-available") not in self._told]
        await self.remember(trigger, unknown, "update-available")
        await self._put([Told(trigger, "", SEEDED, "", self._clock.now_ms())])

    async def _put(self, rows: Sequence[Told]) -> None:
        self._told.update({(row.trigger, row.container, row.kind): row.result for row in rows})
        await self._records.put(rows)
