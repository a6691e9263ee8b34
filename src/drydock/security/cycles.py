"""A cycle: many containers scanned, identical images once (security.md §7, §8.3).

Every started container is completed and every cycle ends with exactly one cycle-complete event, whatever happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import structlog

from drydock.clock import Clock
from drydock.core.errors import NotFound
from drydock.core.model import Container
from drydock.core.times import to_iso
from drydock.events import Bus, Event, ScanCompleted, ScanCycleCompleted, ScanStarted
from drydock.fleet.fleet import Fleet
from drydock.security.alerts import Alerts, Level
from drydock.security.inspector import Inspector
from drydock.security.model import Scan
from drydock.security.subjects import group_key, running
from drydock.security.writeback import Slots, keeps_good, merged

log = structlog.get_logger("security.cycle")

Scope = Literal["scheduled", "on-demand-single", "on-demand-bulk", "agent-forwarded"]


@dataclass(frozen=True)
class Plan:
    """What a cycle does: whom it scans, how many at a time, for how long, and whom it tells."""

    containers: Sequence[Container]
    scope: Scope
    concurrency: int = 4
    timeout_ms: int = 0
    alerts: bool = True
    level: Level = "all"
    keep_good: bool = False
    """A failed scan leaves a good result of the last seven days in place."""


@dataclass
class Cycle:
    """One cycle, running or finished. `finished` is set after its last event."""

    id: str
    plan: Plan
    started_at: str
    scanned: int = 0
    alerted: int = 0
    aborted: bool = False
    listeners: list[Callable[[Event], None]] = field(default_factory=list)
    """Told every event of this cycle, its end last."""
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

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
            "scope": self.plan.scope,
            "startedAt": self.started_at,
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
        """Run it to its end. Cancelling aborts it; the cycle event goes out in any case."""
        try:
            await self._until_stopped(cycle)
        except asyncio.CancelledError:
            cycle.aborted = True
            raise
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

    async def _until_stopped(self, cycle: Cycle) -> None:
        """All groups, unless somebody aborts or the time is over."""
        work = asyncio.create_task(self._all(cycle))
        stop = asyncio.create_task(cycle.stop.wait())
        limit = cycle.plan.timeout_ms / 1000 or None
        try:
            await asyncio.wait({work, stop}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            cycle.aborted = not work.done()
        finally:
            for task in (work, stop):
                task.cancel()
            await asyncio.gather(work, stop, return_exceptions=True)

    async def _all(self, cycle: Cycle) -> None:
        groups = asyncio.Queue[list[Container]]()
        for group in grouped(cycle.plan.containers):
            groups.put_nowait(group)
        async with asyncio.TaskGroup() as workers:
            for _ in range(max(1, cycle.plan.concurrency)):
                workers.create_task(self._work(cycle, groups))

    async def _work(self, cycle: Cycle, groups: asyncio.Queue[list[Container]]) -> None:
        while not groups.empty() and not cycle.stop.is_set():
            await self._group(cycle, groups.get_nowait())

    async def _group(self, cycle: Cycle, members: list[Container]) -> None:
        """Scan one image and tell each container that runs it."""
        for member in members:
            self._tell(cycle, ScanStarted(container_id=member.id))
        status = dict.fromkeys((member.id for member in members), "error")
        try:
            scan = await self._inspector.scan(running(members[0]), cached=True)
            cycle.scanned += len(members) if cycle.plan.scope == "on-demand-bulk" else 1
            for member in members:
                status[member.id] = scan.status
                await self._settle(cycle, member, scan)
        except Exception:
            log.exception("security.scan_crashed", image=members[0].image.name)
        finally:
            for member in members:
                self._tell(cycle, ScanCompleted(container_id=member.id, status=status[member.id]))

    async def _settle(self, cycle: Cycle, member: Container, scan: Scan) -> None:
        """Write the result back, and alert. A container that is gone by now is no error."""
        slots: Slots = {"scan": scan}
        now_ms, keep = self._clock.now_ms(), cycle.plan.keep_good

        def alter(current: Container) -> Container:
            return current if keep and keeps_good(current, slots, now_ms) else merged(current, member, slots)

        try:
            stored = await asyncio.shield(self._fleet.change(member.id, alter))
        except NotFound:
            log.info("security.container_gone", container=member.name)
            return
        if cycle.plan.alerts:
            plan = cycle.plan
            cycle.alerted += await self._alerts.consider(stored, scan, level=plan.level, cycle_id=cycle.id)


def grouped(containers: Sequence[Container]) -> list[list[Container]]:
    """Containers by the image they run, in order of first appearance."""
    groups: dict[tuple[str, str, str], list[Container]] = {}
    for container in containers:
        key = (container.image.registry.url, container.image.name, group_key(container))
        groups.setdefault(key, []).append(container)
    return list(groups.values())
