"""Writes what a watcher learned into the fleet, field by field, and reports when a maturity gate opened.

While a watcher checks a container, a person may change its policy, or a scan may end. So a watcher never writes its
whole copy: it puts the fields it owns (`OBSERVED`, `CHECKED`) into whatever is stored at that moment.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from drydock.clock import Clock
from drydock.cooperative import Turns
from drydock.core.model import Container
from drydock.core.policy import maturity
from drydock.core.policy.layers import effective
from drydock.core.times import to_iso
from drydock.core.trace import Trace
from drydock.core.update import has_raw_update
from drydock.events import Bus, ContainerChecked, MaturityCleared
from drydock.fleet.fleet import Fleet
from drydock.watch.checker import CRASHED

OBSERVED = (
    "name",
    "display_name",
    "display_icon",
    "status",
    "health",
    "labels",
    "include_tags",
    "exclude_tags",
    "transform_tags",
    "tag_family",
    "tag_pin_info",
    "link_template",
    "port_label",
    "action_trigger_include",
    "action_trigger_exclude",
    "action_trigger_auto",
    "notification_trigger_include",
    "notification_trigger_exclude",
    "trigger_include",
    "trigger_exclude",
    "update_policy_declarative",
    "details",
    "source_repo",
    "depends_on",
    "depends_on_source",
    "depends_on_action",
    "image",
)
"""What the Engine and the labels say."""

CHECKED = ("result", "error", "current_release_notes")
"""What a check of the registry says, beside the digests of the image."""


class FleetLedger:
    """The fleet as a watcher writes to it."""

    def __init__(self, fleet: Fleet, bus: Bus, clock: Clock) -> None:
        self.fleet = fleet
        self.bus = bus
        self.clock = clock

    async def seen(self, records: Sequence[Container]) -> list[Container]:
        """Store what the Engine said; records that did not change cost nothing. Gives them as stored."""
        changed: dict[str, Container] = {}
        for record in records:
            stored = self.fleet.get(record.id)
            if stored is None or (stored is not record and observed(stored, record) != stored):
                changed[record.id] = record
        if changed:
            await self.fleet.merge_many([(record, observed, None) for record in changed.values()])
        return [stored for record in records if (stored := self.fleet.get(record.id)) is not None]

    async def checked(self, outcomes: Sequence[tuple[Container, Trace]], started_ms: int) -> list[ContainerChecked]:
        """Store outcomes of checks and open maturity gates; gives the reports, without containers that left meanwhile."""
        known = [(after, trace) for after, trace in outcomes if self.fleet.get(after.id) is not None]
        before = {after.id: (self.fleet.need(after.id), self.fleet.trace(after.id)) for after, _ in known}
        changes = [(after, checked, trace) for after, trace in known]
        await self.fleet.merge_many(changes, check_started_ms=started_ms, insert=False)
        turns = Turns()
        for after, _ in known:
            await self.open_gate(after.id)
            await turns.offer()
        reports: list[ContainerChecked] = []
        for id, (earlier, known_trace) in before.items():
            if (stored := self.fleet.get(id)) is not None:
                # changed: checked for the first time, or another available candidate than the one stored (§13)
                crashed = stored.error is not None and stored.error.code == CRASHED
                differs = _candidate(earlier) != _candidate(stored) and self.fleet.view_of(stored).update_available
                changed = not crashed and (known_trace is None or differs)
                reports.append(ContainerChecked(container=stored, changed=changed))
        return reports

    async def open_gate(self, id: str) -> None:
        """Report, exactly once, that the maturity gate of a container opened (watching.md §11.4)."""
        container, now_ms = self.fleet.get(id), self.clock.now_ms()
        if container is None or container.maturity_gate_pending_since is None or not has_raw_update(container):
            return
        if not self.fleet.view_of(container).update_available:
            return
        since = container.maturity_gate_pending_since
        policy = effective(container).policy
        started = maturity.clock(container, now_ms)
        await self.fleet.change(id, lambda now: msgspec.structs.replace(now, maturity_gate_pending_since=None))
        self.bus.publish(
            MaturityCleared(
                container=container,
                cleared_at=to_iso(now_ms),
                pending_since=since,
                min_age_days=maturity.min_age_days(policy),
                clock_source=started.source if started else None,
            )
        )

    async def sweep(self) -> None:
        """Evaluate every container whose gate was closed; no registry is queried."""
        for container in self.fleet.all():
            if container.maturity_gate_pending_since is not None:
                await self.open_gate(container.id)


def _candidate(container: Container) -> tuple[str | None, ...]:
    result = container.result
    return (result.tag, result.suggested_tag, result.digest, result.created) if result is not None else ()


def observed(current: Container, seen: Container) -> Container:
    """`current` with everything that `seen` learned from the Engine."""
    return msgspec.structs.replace(current, **{name: getattr(seen, name) for name in OBSERVED})


def checked(current: Container, report: Container) -> Container:
    """`current` with what a check learned; dropped when another image runs by now."""
    if current.image.id != report.image.id:
        return current
    digest = msgspec.structs.replace(current.image, digest=report.image.digest)
    return msgspec.structs.replace(current, image=digest, **{name: getattr(report, name) for name in CHECKED})
