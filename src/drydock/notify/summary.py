"""One message per schedule with all updates found meanwhile (notifications.md §7.4). The buffer survives restarts."""

from __future__ import annotations

from collections.abc import Callable
from zoneinfo import ZoneInfo

import structlog

from drydock.core.cron import parse_cron
from drydock.core.model import Container
from drydock.core.times import DAY_MS
from drydock.kernel import Kernel
from drydock.notify import texts
from drydock.notify.delivery import Delivery
from drydock.notify.model import Document, Trigger

log = structlog.get_logger("notify.digest")

COLLECTION = "notification-digests"
MOST = 5000
OLDEST_MS = 7 * DAY_MS
LONGEST_NAP_S = 300.0
"""A machine that was suspended notices the schedule this late at most."""

StillDue = Callable[[str], tuple[Container, Document] | None]


class Summary:
    """The buffer and schedule of one trigger. Kept by `audit_key` with the time of arrival."""

    def __init__(
        self, trigger: Trigger, kernel: Kernel, delivery: Delivery, zone: ZoneInfo, still_due: StillDue
    ) -> None:
        self._trigger = trigger
        self._clock = kernel.clock
        self._documents = kernel.store.documents
        self._delivery = delivery
        self._zone = zone
        self._still_due = still_due
        self._cron = parse_cron(trigger.options.digestcron)
        self._buffer: dict[str, int] = {}

    async def load(self) -> None:
        """Read what waited before the restart."""
        self._buffer = await self._documents.get(COLLECTION, self._trigger.id, dict[str, int]) or {}

    async def add(self, key: str) -> None:
        """This container has an update to send."""
        if key in self._buffer:
            return
        self._buffer[key] = self._clock.now_ms()
        if len(self._buffer) > MOST:
            oldest = next(iter(self._buffer))
            del self._buffer[oldest]
            log.warning("notify.digest_full", trigger=self._trigger.id, dropped=oldest)
        await self._save()

    async def evict(self, key: str) -> None:
        """It has none any more."""
        if self._buffer.pop(key, None) is not None:
            await self._save()

    async def run(self) -> None:
        """Flush by schedule, until cancelled."""
        while True:
            tick = self._cron.next_after(self._clock.now_ms(), self._zone)
            while tick is None or (left := (tick - self._clock.now_ms()) / 1000) > 0:
                await self._clock.sleep(LONGEST_NAP_S if tick is None else min(left, LONGEST_NAP_S))
            await self.flush()

    async def flush(self) -> None:
        """Send what is still due; nothing is sent when nothing is. What could not be sent waits for the next time."""
        first = self._clock.now_ms() - OLDEST_MS
        self._buffer = {key: at for key, at in self._buffer.items() if at >= first}
        entries = dict(self._buffer)
        due = [found for key in entries if (found := self._still_due(key)) is not None]
        if due:
            containers, documents = [container for container, _ in due], [document for _, document in due]
            message = texts.batch("update-available", documents, self._trigger.options, self._delivery.place)
            if not await self._delivery.deliver(self._trigger, message, containers):
                return
            await self._delivery.history.remember(self._trigger.id, containers, "update-available-digest")
        # what arrived while it was sent stays
        self._buffer = {key: at for key, at in self._buffer.items() if entries.get(key) != at}
        await self._save()

    async def _save(self) -> None:
        await self._documents.put(COLLECTION, self._trigger.id, self._buffer)
