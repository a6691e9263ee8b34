"""When a scan deserves a message (security.md §9): critical or high findings, and not the same ones again."""

from __future__ import annotations

import hashlib
from typing import Any, Literal, Protocol

from drydock.core.model import Container, audit_key
from drydock.events import Bus, SecurityAlert
from drydock.security.model import Scan

Level = Literal["critical", "high", "all"]
Slot = Literal["scan", "updateScan"]


class Memory(Protocol):
    """What each container was last alerted about; `store.scans.AlertRecords`."""

    async def get(self, key: str) -> str | None: ...

    async def put(self, key: str, findings: str) -> None: ...


class Alerts:
    """Publishes `SecurityAlert`."""

    def __init__(self, bus: Bus, memory: Memory) -> None:
        self._bus = bus
        self._memory = memory

    async def consider(
        self,
        container: Container,
        scan: Scan,
        *,
        slot: Slot = "scan",
        level: Level = "all",
        cycle_id: str | None = None,
        repeat: bool = False,
    ) -> bool:
        """Whether an alert went out. `repeat`: also when the serious findings are those of the last alert."""
        if not due(scan, level):
            return False
        key, print_ = f"{audit_key(container)}::{slot}", fingerprint(scan)
        known = await self._memory.get(key)
        if known == print_ and not repeat:
            return False
        await self._memory.put(key, print_)
        self._bus.publish(SecurityAlert(container=container, summary=payload(container, scan, cycle_id)))
        return True


def due(scan: Scan, level: Level) -> bool:
    """Critical findings; high ones too unless only critical ones are wanted."""
    return scan.summary.critical > 0 if level == "critical" else scan.summary.serious > 0


def fingerprint(scan: Scan) -> str:
    """Names the set of critical and high findings."""
    serious = sorted({found.id for found in scan.vulnerabilities if found.severity in ("CRITICAL", "HIGH")})
    return hashlib.sha256("\n".join(serious).encode()).hexdigest()


def payload(container: Container, scan: Scan, cycle_id: str | None) -> dict[str, Any]:
    """What the notification and the audit entry say."""
    counts = {name: getattr(scan.summary, name) for name in scan.summary.__struct_fields__}
    said: dict[str, Any] = {
        "containerName": container.name,
        "details": scan.summary.text(),
        "status": scan.status,
        "summary": counts,
        "blockingCount": scan.blocking_count,
    }
    return said if cycle_id is None else {**said, "cycleId": cycle_id}
