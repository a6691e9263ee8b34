"""What happened, as typed values, and the bus that carries them in order.

The rooms `watch`, `updates`, `security`, `notify`, `observe` and `api` never import each other: they meet here.
Each subscriber has its own queue and task, so a slow one delays no other and sees its events in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeVar

import msgspec
import structlog

from drydock.config import kinds
from drydock.config.schema import option, section
from drydock.cooperative import Turns
from drydock.core.model import Container, HostKey
from drydock.core.operation import Operation

log = structlog.get_logger("events")


@section("DD_", "Events", "How events reach the rooms that follow them.")
class EventSettings:
    """Limits of the bus."""

    handler_timeout_s: float = option(
        "EVENT_HANDLER_TIMEOUT_MS",
        kinds.milliseconds(1),
        default=30.0,
        help="A hung event handler is skipped after this (ms).",
        lenient=True,
    )


ScanCause = Literal["cron", "start", "event", "api", "cli"]
"""What set off a check."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Root of all events."""


class ContainerAdded(Event, frozen=True, kw_only=True):
    """A container entered the fleet."""

    container: Container


class ContainerUpdated(Event, frozen=True, kw_only=True):
    """A meaningful change of a container (watching.md §13)."""

    container: Container
    previous: Container


class ContainerRemoved(Event, frozen=True, kw_only=True):
    """A container left the fleet; `replacement_expected` when a successor of the same name is likely."""

    container: Container
    replacement_expected: bool = False


class ContainerChecked(Event, frozen=True, kw_only=True):
    """One registry check finished. `changed`: first time seen, or the pending candidate is another one."""

    container: Container
    changed: bool


class ChecksFinished(Event, frozen=True, kw_only=True):
    """A scan finished: all its reports in container order."""

    host: HostKey
    reports: tuple[ContainerChecked, ...]
    cause: ScanCause


class HostScanned(Event, frozen=True, kw_only=True):
    """A full scan of a host ended after so many seconds, whether its Engine answered or not."""

    host: HostKey
    seconds: float


class ScanPutOff(Event, frozen=True, kw_only=True):
    """A scheduled scan of a host waits for the maintenance window to open."""

    host: HostKey


class MaturityCleared(Event, frozen=True, kw_only=True):
    """The maturity gate of a container opened (watching.md §11.4)."""

    container: Container
    cleared_at: str
    pending_since: str
    min_age_days: int
    clock_source: str | None = None


class HealthChanged(Event, frozen=True, kw_only=True):
    """A container became unhealthy from another known health, or a new run of it is unhealthy again."""

    container: Container
    previous: str | None


class OperationChanged(Event, frozen=True, kw_only=True):
    """An update operation moved; `operation` is its public form (container-api.md §8.1)."""

    operation: dict[str, Any]


class OperationEnded(Event, frozen=True, kw_only=True):
    """An operation is terminal and its follow-up is done; published once."""

    operation: Operation


class ContainerAction(Event, frozen=True, kw_only=True):
    """A user acted on a container: `container-start`, `-stop`, `-restart` or `-update`."""

    action: str


class UpdateApplied(Event, frozen=True, kw_only=True):
    """An update succeeded."""

    operation: dict[str, Any]
    container: Container | None = None


class UpdateFailed(Event, frozen=True, kw_only=True):
    """An update failed or was rolled back."""

    operation: dict[str, Any]
    error: str
    container: Container | None = None


class BatchFinished(Event, frozen=True, kw_only=True):
    """Every operation of one batch is terminal; `summary` is the payload of `dd:batch-update-completed`."""

    summary: dict[str, Any]


class ScanStarted(Event, frozen=True, kw_only=True):
    """A vulnerability scan of a container began."""

    container_id: str


class ScanCompleted(Event, frozen=True, kw_only=True):
    """A vulnerability scan of a container ended."""

    container_id: str
    status: str


class ScanCycleCompleted(Event, frozen=True, kw_only=True):
    """A cycle of scans ended; `summary` is the payload of `dd:security-scan-cycle-complete`."""

    summary: dict[str, Any]


class SecurityAlert(Event, frozen=True, kw_only=True):
    """A scan found something that deserves a message."""

    container: Container
    summary: dict[str, Any]


class MessageSent(Event, frozen=True, kw_only=True):
    """A trigger sent a message, or failed to; `seconds` is what that took."""

    type: str
    name: str
    status: Literal["success", "error"]
    seconds: float


LoginOutcome = Literal["success", "invalid", "locked", "error"]


class LoginAttempted(Event, frozen=True, kw_only=True):
    """A sign-in, or credentials in a header, were accepted or refused.

    `seconds` is the time of the verification. `quiet` marks repetitions that are counted, but not worth an audit entry.
    """

    outcome: LoginOutcome
    provider: str
    details: str
    user: str | None = None
    address: str | None = None
    seconds: float = 0.0
    unknown_user: bool = False
    quiet: bool = False


class AuditRecorded(Event, frozen=True, kw_only=True):
    """An audit entry was written; its public form."""

    entry: dict[str, Any]


E = TypeVar("E", bound=Event)
Handler = Callable[[Any], Awaitable[None]]
LARGEST_BATCH = 500


class Subscription:
    """One subscriber: the kinds it wants, its queue, its handler.

    A `batched` handler takes a list: all events that wait, `LARGEST_BATCH` at most.
    """

    def __init__(self, name: str, handler: Handler, kinds: tuple[type[Event], ...], *, batched: bool = False) -> None:
        self.name = name
        self.batched = batched
        self.handler = handler
        self.kinds = kinds
        self.queue: asyncio.Queue[Event] = asyncio.Queue()
        self._busy = False

    async def run(self, limit_s: float) -> None:
        """Handle events in order until cancelled; a hung or failing handler loses what it was given, with a log line."""
        turns = Turns()
        while True:
            await turns.offer()
            event = await self.queue.get()
            events = [event, *self._waiting()] if self.batched else [event]
            self._busy = True
            try:
                async with asyncio.timeout(limit_s):
                    await self.handler(events if self.batched else event)
            except TimeoutError:
                log.warning("events.handler_timeout", subscriber=self.name, event_type=type(event).__name__)
            except Exception:
                log.exception("events.handler_failed", subscriber=self.name, event_type=type(event).__name__)
            finally:
                self._busy = False
                for _ in events:
                    self.queue.task_done()

    def _waiting(self) -> list[Event]:
        return [self.queue.get_nowait() for _ in range(min(self.queue.qsize(), LARGEST_BATCH - 1))]

    @property
    def idle(self) -> bool:
        return self.queue.empty() and not self._busy


class Bus:
    """Delivers every event to every interested subscriber, in the order of publication."""

    def __init__(self, handler_timeout: float = 30.0) -> None:
        self._subscriptions: list[Subscription] = []
        self._timeout = handler_timeout

    def subscribe(self, name: str, handler: Handler, *kinds: type[Event]) -> Subscription:
        """Register `handler` for `kinds` (none = all). Before `run`, or the task must be started by the caller."""
        subscription = Subscription(name, handler, kinds)
        self._subscriptions.append(subscription)
        return subscription

    def subscribe_batches(self, name: str, handler: Handler, *kinds: type[Event]) -> Subscription:
        """Like `subscribe`, for a handler that is much faster with many events at once: it gets a list of them."""
        subscription = Subscription(name, handler, kinds, batched=True)
        self._subscriptions.append(subscription)
        return subscription

    def publish(self, event: Event) -> None:
        """Queue `event` for its subscribers. Never blocks, never raises."""
        for subscription in self._subscriptions:
            if not subscription.kinds or isinstance(event, subscription.kinds):
                subscription.queue.put_nowait(event)

    async def run(self) -> None:
        """Serve all subscribers until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.Event().wait(), name="events:idle")
            for subscription in self._subscriptions:
                group.create_task(subscription.run(self._timeout), name=f"events:{subscription.name}")

    async def drain(self) -> None:
        """Wait until every queued event has been handled."""
        for subscription in self._subscriptions:
            await subscription.queue.join()
