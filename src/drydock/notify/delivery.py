"""What all triggers share while they work: rules, history, recently applied updates, failures (notifications.md §7.5, §7.7, §7.8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import structlog

from drydock.clock import Clock
from drydock.core.model import Container
from drydock.core.update import update_kind
from drydock.events import MessageSent
from drydock.kernel import Kernel
from drydock.notify.history import History
from drydock.notify.model import DeliveryFailed, Message, Trigger
from drydock.notify.rules import Rules
from drydock.notify.texts import Place

log = structlog.get_logger("notify")

APPLIED_MS = 3_600_000
COMPLAINT_MS = 15_000
"""The same failure again within this time is not worth another warning."""


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


class Delivery:
    """Sends for every trigger, and remembers what that means for the next message."""

    def __init__(self, kernel: Kernel, rules: Rules, place: Place) -> None:
        self.rules = rules
        self.place = place
        self.history = History(kernel.store.notifications, kernel.clock)
        self.applied = RecentlyApplied(kernel.clock)
        self._bus = kernel.bus
        self._clock = kernel.clock
        self._audit = kernel.audit
        self._complaints: dict[tuple[str, ...], int] = {}

    async def send(self, trigger: Trigger, message: Message) -> None:
        """Send and count. Raises `DeliveryFailed`."""
        began = self._clock.monotonic()
        status: Literal["success", "error"] = "error"
        try:
            await trigger.channel.send(message)
            status = "success"
        finally:
            seconds = self._clock.monotonic() - began
            self._bus.publish(MessageSent(type=trigger.type, name=trigger.name, status=status, seconds=seconds))
        log.info("notify.sent", trigger=trigger.id, rule=message.rule, containers=len(message.containers))

    async def deliver(self, trigger: Trigger, message: Message, containers: Sequence[Container]) -> bool:
        """Send, and say in log and audit when that failed. Whether it was delivered."""
        try:
            await self.send(trigger, message)
        except DeliveryFailed as error:
            # as a warning, repetitions as debug lines
            now = self._clock.now_ms()
            about = (trigger.id, message.rule, containers[0].watcher if containers else "", error.message)
            self._complaints = {one: at for one, at in self._complaints.items() if now - at < COMPLAINT_MS}
            say = log.debug if about in self._complaints else log.warning
            self._complaints.setdefault(about, now)
            say("notify.delivery_failed", trigger=trigger.id, rule=message.rule, reason=error.message)
            for container in containers:
                kind = update_kind(container)
                await self._audit.note(
                    "notification-delivery-failed",
                    "error",
                    container=container,
                    from_version=kind.local_value,
                    to_version=kind.remote_value,
                    trigger_name=trigger.id,
                    details=error.message,
                )
            return False
        return True
