"""What every room is built on: one value that `app` makes first and hands to each `Room.build`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from drydock.clock import Clock
from drydock.core.audit import AuditEntry, AuditStatus
from drydock.core.model import Container
from drydock.events import Bus
from drydock.fleet.fleet import Fleet
from drydock.store.store import Store
from drydock.supervisor import Supervisor


class AuditLog(Protocol):
    """Where a room writes what must be remembered (platform.md §9); `audit.trail.AuditTrail` is the member."""

    def entry(
        self, action: str, status: AuditStatus, *, container: Container | None = None, **fields: Any
    ) -> AuditEntry:
        """A new entry about `container`, or about `container_name=…`; `fields` are those of `AuditEntry`."""
        ...

    async def note(
        self, action: str, status: AuditStatus, *, container: Container | None = None, **fields: Any
    ) -> None:
        """Write the `entry` of these arguments."""
        ...

    async def record(self, *entries: AuditEntry) -> None:
        """Store entries durably, in one transaction, and publish them."""
        ...


@dataclass(frozen=True)
class Kernel:
    """Clock, events, background tasks, persistence, the containers, and the audit log."""

    clock: Clock
    bus: Bus
    supervisor: Supervisor
    store: Store
    fleet: Fleet
    audit: AuditLog


class Room:
    """Base of what a room is after `build`: `start` begins its background work, `stop` ends it. Both do nothing here.

    Each room has `build(kernel, settings, needs)`; `needs` names what it wants of other rooms, in its own terms.
    """

    async def start(self) -> None:
        """Begin; called once, in the order in which rooms were built."""

    async def stop(self) -> None:
        """End, and release what was opened; called once, in reverse order."""
