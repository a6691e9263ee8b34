"""From the events of the process to the names and payloads of the event stream (platform-api.md §12.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from drydock.clock import Clock
from drydock.core.model import Container
from drydock.core.scrub import scrub
from drydock.core.times import to_iso
from drydock.events import (
    BatchFinished,
    ContainerAdded,
    ContainerRemoved,
    ContainerUpdated,
    Event,
    HealthChanged,
    OperationChanged,
    ScanCompleted,
    ScanCycleCompleted,
    ScanStarted,
    UpdateApplied,
    UpdateFailed,
)
from drydock.live.event_stream import EventStream

View = Callable[[Container], Any]
"""The public form of a container: redacted, with its eligibility."""

_CHANGED: Final = (
    "containerName",
    "containerId",
    "newContainerId",
    "batchId",
    "queuePosition",
    "queueTotal",
    "status",
    "phase",
    "lastError",
    "rollbackReason",
)


class EventFeed:
    """Writes what happens into the stream."""

    def __init__(self, stream: EventStream, view: View, clock: Clock) -> None:
        self._stream = stream
        self._view = view
        self._clock = clock
        self._payloads: dict[type[Event], tuple[str, Callable[[Any], Any]]] = {
            ContainerAdded: ("dd:container-added", lambda event: self._view(event.container)),
            ContainerUpdated: ("dd:container-updated", lambda event: self._view(event.container)),
            ContainerRemoved: ("dd:container-removed", self._removed),
            HealthChanged: ("dd:container-unhealthy", self._unhealthy),
            ScanStarted: ("dd:scan-started", lambda event: {"containerId": event.container_id}),
            ScanCompleted: (
                "dd:scan-completed",
                lambda event: {"containerId": event.container_id, "status": event.status},
            ),
            ScanCycleCompleted: ("dd:security-scan-cycle-complete", lambda event: event.summary),
            OperationChanged: ("dd:update-operation-changed", _operation),
            UpdateApplied: ("dd:update-applied", self._applied),
            UpdateFailed: ("dd:update-failed", self._failed),
            BatchFinished: ("dd:batch-update-completed", lambda event: event.summary),
        }

    @property
    def events(self) -> tuple[type[Event], ...]:
        """What it wants to hear of."""
        return tuple(self._payloads)

    async def handle(self, event: Event) -> None:
        """Send one event."""
        name, payload = self._payloads[type(event)]
        self._stream.send(name, payload(event))

    def _removed(self, event: ContainerRemoved) -> dict[str, Any]:
        shown: dict[str, Any] = msgspec.to_builtins(self._view(event.container))
        shown.pop("updateEligibility", None)
        return {**shown, **({"replacementExpected": True} if event.replacement_expected else {})}

    def _unhealthy(self, event: HealthChanged) -> dict[str, Any]:
        found: dict[str, Any] = {"containerName": event.container.name, "health": "unhealthy"}
        if event.previous:
            found["previousHealth"] = event.previous
        return {**found, "container": self._view(event.container)}

    def _applied(self, event: UpdateApplied) -> dict[str, Any]:
        operation = event.operation
        return {
            **_optional(operation, "newContainerId"),
            **({"imageName": event.container.image.name} if event.container else {}),
            **self._of_operation(operation),
            "previousDigest": None,
            "newDigest": None,
        }

    def _failed(self, event: UpdateFailed) -> dict[str, Any]:
        operation = event.operation
        return {
            **self._of_operation(operation),
            **_optional(operation, "rollbackReason"),
            "error": scrub(event.error),
            "phase": operation.get("phase"),
        }

    def _of_operation(self, operation: dict[str, Any]) -> dict[str, Any]:
        at = operation.get("completedAt") or to_iso(self._clock.now_ms())
        return {
            **({"operationId": operation["id"]} if operation.get("id") else {}),
            "containerId": operation.get("containerId"),
            "containerName": operation.get("containerName"),
            "batchId": operation.get("batchId"),
            "timestamp": at,
        }


def _operation(event: OperationChanged) -> dict[str, Any]:
    operation = event.operation
    shown = {"operationId": operation.get("id"), **_optional(operation, *_CHANGED)}
    if isinstance(shown.get("lastError"), str):
        shown["lastError"] = scrub(shown["lastError"])
    return shown


def _optional(source: dict[str, Any], *names: str) -> dict[str, Any]:
    """The fields that apply."""
    return {name: source[name] for name in names if source.get(name) is not None}
