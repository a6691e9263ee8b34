"""A cycle: many containers scanned, identical images once (security.md §7, §8.3).

Every started container is completed and every cycle ends with exactly one cycle-complete event, whatever happens.
"""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import structlog

from drydock.clock import Clock
from drydock.core.model import Container
from drydock.core.times import to_iso
from drydock.events import Bus, Event, ScanCompleted, ScanCycleCompleted, ScanStarted
from drydock.fleet.fleet import Fleet
from drydock.security.alerts import Alerts, Level
from drydock.security.inspector import Inspector
from drydock.security.subjects import group_key, running
from drydock.security.writeback import write_back
from drydock.waiting import cancel

log = structlog.get_logger("security.cycle")

Scope = Literal["scheduled", "on-demand-single", "on-demand-bulk", "agent-forwarded"]


@dataclass
class Cycle:
    """One cycle, running or finished: whom it scans, how many at a time, for how long, and whom it notifies.

    `timeout_s` 0: as long as it takes. `keep_good`: a failed scan leaves a good result of the last seven days in place.
    """

    began_ms: int
    containers: Sequence[Container]
    scope: Scope
    concurrency: int = 4
    timeout_s: float = 0.0
    alerts: bool = True
    level: Level = "all"
    keep_good: bool = False
    scanned: int = 0
    alerted: int = 0
    aborted: bool = False
    listeners: list[Callable[[Event], None]] = field(default_factory=list)
    """Told every event of this cycle, its end last."""
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    """Set after the last event."""
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    id: str = field(init=False)

    def __post_init__(self) -> None:
        self.id = uuid7(self.began_ms)

    def abort(self) -> None:
        """Start no further container and kill running scanners; what is stored stays."""
        if not self.finished.is_set():
            self.stop.set()

    def summary(self, now_ms: int) -> dict[str, Any]:
        """The payload of `dd:security-scan-cycle-complete`."""
        said: dict[str, Any] = {
            "cycleId": self.id,
            "scannedCount": self.scanned,
            "alertCount": self.alerted,
            "scope": self.scope,
            "startedAt": to_iso(self.began_ms),
            "completedAt": to_iso(now_ms),
        }
        return {**said, "aborted": True} if self.aborted else said


class Runner:
    """Runs cycles."""

    def __init__(self, fleet: Fleet, inspector: Inspector, alerts: Alerts, bus: Bus, clock: Clock) -> None:
        self._fleet = fleet
        self._inspector = inspector
        self._alerts = alerts
        self._bus = bus
        self._clock = clock

    async def run(self, cycle: Cycle) -> None:
        """Run it to its end, unless it is aborted or its time is over. Cancelling aborts it.

        The event of its end goes out in any case.
        """
        work = asyncio.create_task(self._scan_all(cycle))
        stop = asyncio.create_task(cycle.stop.wait())
        try:
            await asyncio.wait({work, stop}, timeout=cycle.timeout_s or None, return_when=asyncio.FIRST_COMPLETED)
            cycle.aborted = not work.done()
        except asyncio.CancelledError:
            cycle.aborted = True
            raise
        finally:
            try:
                await cancel(work, stop)
            finally:
                self.finish(cycle)

    def finish(self, cycle: Cycle) -> None:
        """Tell that it ended, once."""
        if not cycle.finished.is_set():
            summary = cycle.summary(self._clock.now_ms())
            self._tell(cycle, ScanCycleCompleted(summary=summary))
            cycle.finished.set()
            log.info("security.cycle_complete", **summary)

    def _tell(self, cycle: Cycle, event: Event) -> None:
        self._bus.publish(event)
        for listener in cycle.listeners:
            listener(event)

    async def _scan_all(self, cycle: Cycle) -> None:
        groups = iter(grouped(cycle.containers))

        async def work() -> None:
            for group in groups:  # shared by all workers: each takes the next one
                if cycle.stop.is_set():
                    return
                await self._group(cycle, group)

        async with asyncio.TaskGroup() as workers:
            for _ in range(max(1, cycle.concurrency)):
                workers.create_task(work())

    async def _group(self, cycle: Cycle, members: list[Container]) -> None:
        """Scan one image and report to each container that runs it."""
        for member in members:
            self._tell(cycle, ScanStarted(container_id=member.id))
        status = dict.fromkeys((member.id for member in members), "error")
        try:
            scan = await self._inspector.scan(running(members[0]), cached=True)
            cycle.scanned += len(members) if cycle.scope == "on-demand-bulk" else 1
            for member in members:
                status[member.id] = scan.status
                now_ms = self._clock.now_ms() if cycle.keep_good else None
                stored = await write_back(self._fleet, member, {"scan": scan}, keep_good_at_ms=now_ms)
                if stored is not None and cycle.alerts:
                    told = await self._alerts.consider(stored, scan, level=cycle.level, cycle_id=cycle.id)
                    cycle.alerted += told
        except Exception:
            log.exception("security.scan_crashed", image=members[0].image.name)
        finally:
            for member in members:
                self._tell(cycle, ScanCompleted(container_id=member.id, status=status[member.id]))


def grouped(containers: Sequence[Container]) -> list[list[Container]]:
    """Containers by the image they run, in order of first appearance."""
    groups: dict[tuple[str, str, str], list[Container]] = {}
    for container in containers:
        key = (container.image.registry.url, container.image.name, group_key(container))
        groups.setdefault(key, []).append(container)
    return list(groups.values())


def uuid7(now_ms: int) -> str:
    """A new identifier for this moment: UUID version 7, ordered by time (RFC 9562)."""
    value = (now_ms & (1 << 48) - 1) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0b11 << 62) | 0b10 << 62
    return str(uuid.UUID(int=value))
