"""One trigger at work: which events it reacts to, and what keeps it silent (notifications.md §5.2, §7).

Every trigger is its own subscriber, so a slow service delays no other. Each suppressed message is logged with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import structlog

from drydock.core.model import Container, audit_key
from drydock.core.policy.thresholds import reaches
from drydock.events import (
    ChecksFinished,
    ContainerChecked,
    Event,
    HealthChanged,
    MaturityCleared,
    SecurityAlert,
    UpdateApplied,
    UpdateFailed,
)
from drydock.kernel import Kernel
from drydock.notify import texts
from drydock.notify.access import refusal
from drydock.notify.delivery import Delivery
from drydock.notify.history import Kind
from drydock.notify.model import Document, Rule, Trigger
from drydock.notify.rules import DENIED
from drydock.notify.summary import Summary

log = structlog.get_logger("notify")

QUIET_S = 0.25
"""What happens at nearly the same time becomes one message of a batch trigger (notifications.md §7.6)."""


class Found(NamedTuple):
    """A container that the trigger will send a message about."""

    container: Container
    document: Document


class TriggerWorker:
    """Subscribes one trigger to the events that concern it."""

    def __init__(self, trigger: Trigger, kernel: Kernel, delivery: Delivery, zone: ZoneInfo) -> None:
        self.trigger = trigger
        self._fleet = kernel.fleet
        self._clock = kernel.clock
        self._supervisor = kernel.supervisor
        self._delivery = delivery
        mode = trigger.options.mode
        self._batches = mode in ("batch", "batch+digest")
        self.summary: Summary | None = None
        if "digest" in mode and trigger.auto != "none":
            self.summary = Summary(trigger, kernel, delivery, zone, self._still_due)
        self._pending: dict[Rule, dict[str, Found]] = {}
        """What waits for quiet, the latest of each container."""
        self._arrivals: dict[Rule, int] = {}
        events: list[type[Event]] = [UpdateApplied, UpdateFailed, SecurityAlert, HealthChanged]
        if trigger.auto != "none":
            events += [ContainerChecked, ChecksFinished, MaturityCleared]
        kernel.bus.subscribe(f"notify:{trigger.id}", self._handle, *events)

    async def _handle(self, event: Event) -> None:
        """What each event means to this trigger."""
        match event:
            case ContainerChecked():
                if self.summary is not None:
                    if self._due(event.container, "update-available-digest") is not None:
                        await self.summary.add(audit_key(event.container))
                    else:
                        await self.summary.evict(audit_key(event.container))
                if self.trigger.options.mode == "simple" and (one := self._due(event.container, "update-available")):
                    await self._send("update-available", [one])
            case ChecksFinished() if self._batches:
                waiting = self._pending.get("maturity-cleared", {})
                due = (self._due(report.container, "update-available") for report in event.reports)
                if found := [one for one in due if one is not None and audit_key(one.container) not in waiting]:
                    await self._send("update-available", found)
            case MaturityCleared():
                told = self._delivery.history.told(self.trigger.id, event.container, "maturity-cleared")
                one = self._due(event.container, "update-available")
                if one is not None and not (told and self.trigger.options.once):
                    since, days, clock = event.pending_since, event.min_age_days, event.clock_source
                    facts = {"pendingSince": since, "minAgeDays": days, "clockSource": clock}
                    await self._tell("maturity-cleared", one.container, facts)
            case UpdateApplied() if event.operation.get("phase") != "dryrun":
                if container := self._container_of(event.operation, event.container):
                    if self.summary is not None:
                        await self.summary.evict(audit_key(container))
                    await self._tell("update-applied", container, {})
            case UpdateFailed():
                if container := self._container_of(event.operation, event.container):
                    await self._tell("update-failed", container, {"error": event.error})
            case SecurityAlert():
                facts = {key: event.summary.get(key) for key in ("details", "status", "summary", "blockingCount")}
                await self._tell("security-alert", event.container, facts)
            case HealthChanged():
                await self._tell("container-unhealthy", event.container, {"previousHealth": event.previous})

    def _due(self, reported: Container, channel: Kind) -> Found | None:
        """The container as it is now, when this trigger has something new to send about its update."""
        container = self._fleet.get(reported.id) or reported
        view, key, options = self._fleet.view_of(container), audit_key(container), self.trigger.options
        if not view.update_available:
            self._delivery.applied.lift(key)
            reason: str | None = "no-update"
        elif denied := self._denied("update-available"):
            reason = denied
        elif key in self._delivery.applied:
            reason = "recently-applied"
        elif options.once and self._delivery.history.told(self.trigger.id, container, channel):
            reason = "already-told"
        elif not reaches(view.update_kind, options.threshold):
            reason = "threshold-not-reached"
        else:
            reason = refusal(self.trigger, container, view.update_kind)
        if reason is None:
            return Found(container, texts.document_of(view))
        log.debug("notify.silent", trigger=self.trigger.id, container=container.name, reason=reason)
        return None

    def _still_due(self, key: str) -> Found | None:
        """For the summary: the container of that key, when its update is still worth sending."""
        due = (self._due(one, "update-available-digest") for one in self._fleet.by_audit_key(key))
        return next((one for one in due if one is not None), None)

    def _container_of(self, operation: Mapping[str, Any], known: Container | None) -> Container | None:
        """The container of an operation: as it came, or by its newest id; None once it has left."""
        ids = (operation.get("newContainerId"), operation.get("containerId"))
        found = known or next((one for id in ids if id and (one := self._fleet.get(str(id)))), None)
        if found is None:
            name = operation.get("containerName")
            log.warning("notify.container_left", trigger=self.trigger.id, container=name)
        return found

    async def _tell(self, rule: Rule, container: Container, facts: Mapping[str, Any]) -> None:
        """Tell what happened, unless rules or labels speak against it: at once, or in a batch once it is quiet."""
        view = self._fleet.view_of(container)
        reason = self._denied(rule) or refusal(self.trigger, container, view.update_kind)
        if reason is not None:
            log.debug("notify.silent", trigger=self.trigger.id, container=container.name, rule=rule, reason=reason)
            return
        known = {key: value for key, value in facts.items() if value is not None}
        found = Found(container, texts.document_of(view, {"kind": rule, **known}))
        if not self._batches:
            await self._send(rule, [found])
            return
        self._arrivals[rule] = self._arrivals.get(rule, 0) + 1
        if rule not in self._pending:
            self._supervisor.spawn(f"notify:{self.trigger.id}:{rule}", self._send_when_quiet(rule))
        self._pending.setdefault(rule, {})[audit_key(container)] = found

    async def _send_when_quiet(self, rule: Rule) -> None:
        arrivals = -1
        while arrivals != self._arrivals[rule]:
            arrivals = self._arrivals[rule]
            await self._clock.sleep(QUIET_S)
        await self._send(rule, list(self._pending.pop(rule).values()))

    def _denied(self, rule: Rule) -> str | None:
        decision = self._delivery.rules.decide(rule, self.trigger.id, self.trigger.category)
        return decision if decision in DENIED else None

    async def _send(self, rule: Rule, found: Sequence[Found]) -> None:
        """Send one message, and remember what it reported."""
        containers, documents = [one.container for one in found], [one.document for one in found]
        if self._batches:
            message = texts.batch(rule, documents, self.trigger.options, self._delivery.place)
        else:
            message = texts.simple(rule, documents[0], self.trigger.options, self._delivery.place)
        told: Sequence[Kind] = ("update-available",) if rule == "update-available" else ()
        if rule == "maturity-cleared":
            told = ("maturity-cleared", "update-available")  # the next check stays silent
        delivered = await self._delivery.deliver(self.trigger, message, containers)
        if delivered and told and self.trigger.options.once:
            await self._delivery.history.remember(self.trigger.id, containers, *told)
