"""What all triggers share while they work: rules, history, recently applied updates, failures (notifications.md §7.5, §7.7, §7.8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal
from zoneinfo import ZoneInfo

import structlog

from drydock.clock import Clock
from drydock.core.model import Container
from drydock.core.update import update_kind
from drydock.events import Bus, MessageSent
from drydock.fleet.fleet import Fleet
from drydock.kernel import AuditLog
from drydock.notify.history import History
from drydock.notify.model import DeliveryFailed, Message, Rule, Trigger
from drydock.notify.rules import Rules
from drydock.notify.texts import Place
from drydock.store.documents import Documents
from drydock.supervisor import Supervisor

log = structlog.get_logger("notify")

APPLIED_MS = 3_600_000
COMPLAINT_MS = 15_000


class RecentlyApplied:
    """Containers whose update was just applied: a report that still claims it is stale."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: dict[str, int] = {}

    def add(self, key: str) -> None:
        """An update of the container with this `audit_key` was applied."""
        now = self._clock.now_ms()
        self._until = {one: end for one, end in self._until.items() if end > now}
        self._until[key] = now + APPLIED_MS

    def lift(self, key: str) -> None:
        """The container was seen without an update."""
        self._until.pop(key, None)

    def __contains__(self, key: str) -> bool:
        return self._until.get(key, 0) > self._clock.now_ms()


class Complaints:
    """The same failure again within 15 seconds is not worth another warning."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: dict[tuple[str, ...], int] = {}

    def tell(self, trigger: str, rule: str, watcher: str, message: str) -> None:
        """Log a failed delivery: as a warning, repetitions as debug lines."""
        now, key = self._clock.now_ms(), (trigger, rule, watcher, message)
        self._told = {one: at for one, at in self._told.items() if now - at < COMPLAINT_MS}
        say = log.debug if key in self._told else log.warning
        self._told.setdefault(key, now)
        say("notify.delivery_failed", trigger=trigger, rule=rule, watcher=watcher, reason=message)


@dataclass(kw_only=True)
class Desk:
    """One value with everything a lane needs."""

    fleet: Fleet
    clock: Clock
    supervisor: Supervisor
    history: History
    documents: Documents
    rules: Rules
    place: Place
    audit: AuditLog
    bus: Bus
    zone: ZoneInfo
    applied: RecentlyApplied = field(init=False)
    complaints: Complaints = field(init=False)

    def __post_init__(self) -> None:
        self.applied, self.complaints = RecentlyApplied(self.clock), Complaints(self.clock)

    async def send(self, trigger: Trigger, message: Message) -> None:
        """Send and count. Raises `DeliveryFailed`."""
        began = self.clock.monotonic()
        status: Literal["success", "error"] = "error"
        try:
            await trigger.channel.send(message)
            status = "success"
        finally:
            seconds = self.clock.monotonic() - began
            self.bus.publish(MessageSent(type=trigger.type, name=trigger.name, status=status, seconds=seconds))
        log.info("notify.sent", trigger=trigger.id, rule=message.rule, containers=len(message.containers))

    async def deliver(self, trigger: Trigger, message: Message, containers: Sequence[Container]) -> bool:
        """Send, and say in log and audit when that failed. Whether it was delivered."""
        try:
            await self.send(trigger, message)
        except DeliveryFailed as error:
            await self._failed(trigger, message.rule, containers, error.message)
            return False
        return True

    async def _failed(self, trigger: Trigger, rule: Rule, containers: Sequence[Container], reason: str) -> None:
        self.complaints.tell(trigger.id, rule, containers[0].watcher if containers else "", reason)
        for container in containers:
            kind = update_kind(container)
            await self.audit.note(
                "notification-delivery-failed",
                "error",
                container=container,
                from_version=kind.local_value,
                to_version=kind.remote_value,
                trigger_name=trigger.id,
                details=reason,
            )
