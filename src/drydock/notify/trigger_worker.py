"""One trigger at work: which events it reacts to, and what keeps it silent (notifications.md §5.2, §7).

Every trigger is a subscriber of its own, so a slow service delays nobody else. Each silence is logged with its reason.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

import structlog

from drydock.core.model import Container, ContainerView, audit_key
from drydock.core.policy.thresholds import reaches
from drydock.events import (
    Bus,
    ChecksFinished,
    ContainerChecked,
    Event,
    HealthChanged,
    MaturityCleared,
    SecurityAlert,
    UpdateApplied,
    UpdateFailed,
)
from drydock.notify import texts
from drydock.notify.access import refusal
from drydock.notify.delivery import Desk
from drydock.notify.history import Kind
from drydock.notify.model import Document, Rule, Trigger
from drydock.notify.pending import Pending
from drydock.notify.rules import DENIED
from drydock.notify.summary import Digest

log = structlog.get_logger("notify")


class Found(NamedTuple):
    """A container that the trigger will tell about."""

    container: Container
    document: Document


class Lane:
    """Subscribes one trigger to the events that concern it."""

    def __init__(self, trigger: Trigger, desk: Desk) -> None:
        self.trigger = trigger
        self._desk = desk
        mode = trigger.options.mode
        self._batches = mode in ("batch", "batch+digest")
        self.digest = Digest(trigger, desk, self._still_due) if "digest" in mode and trigger.auto != "none" else None
        self._pending = Pending(self._send_batch, desk.clock, desk.supervisor, trigger.id)
        self._handlers: dict[type[Event], Callable[[Any], Awaitable[None]]] = {
            UpdateApplied: self._applied,
            UpdateFailed: self._failed,
            SecurityAlert: self._alert,
            HealthChanged: self._unhealthy,
        }
        if trigger.auto != "none":
            self._handlers |= {
                ContainerChecked: self._checked,
                ChecksFinished: self._checks_finished,
                MaturityCleared: self._matured,
            }

    def subscribe(self, bus: Bus) -> None:
        """Listen from now on."""
        bus.subscribe(f"notify:{self.trigger.id}", self.handle, *self._handlers)

    async def handle(self, event: Event) -> None:
        """React to one event."""
        await self._handlers[type(event)](event)

    # ── found updates ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _checked(self, event: ContainerChecked) -> None:
        if self.digest is not None:
            await self._buffer(event.container)
        if self.trigger.options.mode != "simple":
            return
        found = self._due(event.container, "update-available")
        if found is not None:
            message = texts.simple("update-available", found.document, self.trigger.options, self._desk.place)
            if await self._desk.deliver(self.trigger, message, [found.container]):
                await self._remember([found.container], "update-available")

    async def _buffer(self, container: Container) -> None:
        if self.digest is None:
            return
        if self._due(container, "update-available-digest") is not None:
            await self.digest.add(audit_key(container))
        else:
            await self.digest.evict(audit_key(container))

    async def _checks_finished(self, event: ChecksFinished) -> None:
        if not self._batches:
            return
        waiting = self._pending.keys("maturity-cleared")
        due = (self._due(report.container, "update-available") for report in event.reports)
        found = [one for one in due if one is not None and audit_key(one.container) not in waiting]
        if found:
            await self._send_found(found)

    async def _send_found(self, found: Sequence[Found]) -> None:
        containers = [one.container for one in found]
        documents = [one.document for one in found]
        message = texts.batch("update-available", documents, self.trigger.options, self._desk.place)
        if await self._desk.deliver(self.trigger, message, containers):
            await self._remember(containers, "update-available")

    def _due(self, reported: Container, channel: Kind) -> Found | None:
        """The container as it is now, when this trigger has something new to tell about its update."""
        container = self._desk.fleet.get(reported.id) or reported
        view = self._desk.fleet.view_of(container)
        reason = self._silence(container, view, channel)
        if reason is None:
            return Found(container, texts.document_of(view))
        log.debug("notify.silent", trigger=self.trigger.id, container=container.name, reason=reason)
        return None

    def _silence(self, container: Container, view: ContainerView, channel: Kind) -> str | None:
        key, desk = audit_key(container), self._desk
        if not view.update_available:
            desk.applied.lift(key)
            return "no-update"
        if denied := self._denied("update-available"):
            return denied
        if key in desk.applied:
            return "recently-applied"
        if self.trigger.options.once and desk.history.told(self.trigger.id, container, channel):
            return "already-told"
        return self._out_of_reach(view) or refusal(self.trigger, container, view.update_kind)

    def _out_of_reach(self, view: ContainerView) -> str | None:
        return None if reaches(view.update_kind, self.trigger.options.threshold) else "threshold-not-reached"

    def _denied(self, rule: Rule) -> str | None:
        decision = self._desk.rules.decide(rule, self.trigger.id, self.trigger.category)
        return decision if decision in DENIED else None

    async def _remember(self, containers: Sequence[Container], *kinds: Kind) -> None:
        if self.trigger.options.once:
            await self._desk.history.remember(self.trigger.id, containers, *kinds)

    def _still_due(self, key: str) -> tuple[Container, Document] | None:
        """For the digest: the container of that key, when its update is still worth telling."""
        for container in self._desk.fleet.by_audit_key(key):
            found = self._due(container, "update-available-digest")
            if found is not None:
                return found
        return None

    # ── what else happens ───────────────────────────────────────────────────────────────────────────────────────────

    async def _matured(self, event: MaturityCleared) -> None:
        found = self._due(event.container, "update-available")
        told = self._desk.history.told(self.trigger.id, event.container, "maturity-cleared")
        if found is None or (told and self.trigger.options.once):
            return
        facts = {
            "pendingSince": event.pending_since,
            "minAgeDays": event.min_age_days,
            "clockSource": event.clock_source,
        }
        await self._tell("maturity-cleared", found.container, facts)

    async def _applied(self, event: UpdateApplied) -> None:
        if event.operation.get("phase") == "dryrun":
            return
        container = self._container_of(event.operation, event.container)
        if container is not None:
            if self.digest is not None:
                await self.digest.evict(audit_key(container))
            await self._tell("update-applied", container, {})

    async def _failed(self, event: UpdateFailed) -> None:
        container = self._container_of(event.operation, event.container)
        if container is not None:
            await self._tell("update-failed", container, {"error": event.error})

    async def _alert(self, event: SecurityAlert) -> None:
        facts = {key: event.summary.get(key) for key in ("details", "status", "summary", "blockingCount")}
        await self._tell("security-alert", event.container, facts)

    async def _unhealthy(self, event: HealthChanged) -> None:
        await self._tell("container-unhealthy", event.container, {"previousHealth": event.previous})

    def _container_of(self, operation: Mapping[str, Any], known: Container | None) -> Container | None:
        """The container of an operation: as it came, or by its newest id; None once it has left."""
        ids = (operation.get("newContainerId"), operation.get("containerId"))
        found = known or next((one for id in ids if id and (one := self._desk.fleet.get(str(id)))), None)
        if found is None:
            name = operation.get("containerName")
            log.warning("notify.container_left", trigger=self.trigger.id, container=name)
        return found

    async def _tell(self, rule: Rule, container: Container, facts: Mapping[str, Any]) -> None:
        view = self._desk.fleet.view_of(container)
        reason = self._denied(rule) or refusal(self.trigger, container, view.update_kind)
        if reason is not None:
            log.debug("notify.silent", trigger=self.trigger.id, container=container.name, rule=rule, reason=reason)
            return
        known = {key: value for key, value in facts.items() if value is not None}
        document = texts.document_of(view, {"kind": rule, **known})
        if self._batches:
            self._pending.add(rule, audit_key(container), container, document)
            return
        message = texts.simple(rule, document, self.trigger.options, self._desk.place)
        if await self._desk.deliver(self.trigger, message, [container]):
            await self._delivered(rule, [container])

    async def _send_batch(self, rule: Rule, found: Sequence[tuple[Container, Document]]) -> None:
        containers = [container for container, _ in found]
        documents = [document for _, document in found]
        message = texts.batch(rule, documents, self.trigger.options, self._desk.place)
        if await self._desk.deliver(self.trigger, message, containers):
            await self._delivered(rule, containers)

    async def _delivered(self, rule: Rule, containers: Sequence[Container]) -> None:
        """A told maturity is a told update: the next check stays silent."""
        if rule == "maturity-cleared":
            await self._remember(containers, "maturity-cleared", "update-available")
