"""One message per schedule with all updates found meanwhile (notifications.md §7.4). The buffer survives restarts."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from drydock.core.cron import parse_cron
from drydock.core.model import Container
from drydock.core.times import DAY_MS
from drydock.notify import texts
from drydock.notify.delivery import Desk
from drydock.notify.model import Document, Trigger

log = structlog.get_logger("notify.digest")

COLLECTION = "notification-digests"
MOST = 5000
OLDEST_MS = 7 * DAY_MS
LONGEST_NAP_S = 300.0

StillDue = Callable[[str], tuple[Container, Document] | None]


class Digest:
    """The buffer and schedule of one trigger. Kept by `audit_key` with the time of arrival."""

    def __init__(self, trigger: Trigger, desk: Desk, still_due: StillDue) -> None:
        self._trigger = trigger
        self._desk = desk
        self._still_due = still_due
        self._cron = parse_cron(trigger.options.digestcron)
        self._buffer: dict[str, int] = {}

    async def load(self) -> None:
        """Read what waited before the restart."""
        stored = await self._desk.documents.get(COLLECTION, self._trigger.id, dict[str, int])
        self._buffer = stored or {}

    async def add(self, key: str) -> None:
        """This container has an update to tell."""
        if key in self._buffer:
            return
        self._buffer[key] = self._desk.clock.now_ms()
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
            tick = self._cron.next_after(self._desk.clock.now_ms(), self._desk.zone)
            while tick is None or (left := (tick - self._desk.clock.now_ms()) / 1000) > 0:
                await self._desk.clock.sleep(LONGEST_NAP_S if tick is None else min(left, LONGEST_NAP_S))
            await self.flush()

    async def flush(self) -> None:
        """Send what is still due; nothing is sent when nothing is. What could not be sent waits for the next time."""
        self._drop_old()
        entries = dict(self._buffer)
        due = {key: found for key in entries if (found := self._still_due(key)) is not None}
        if due:
            containers = [container for container, _ in due.values()]
            documents = [document for _, document in due.values()]
            message = texts.batch("update-available", documents, self._trigger.options, self._desk.place)
            if not await self._desk.deliver(self._trigger, message, containers):
                return
            await self._desk.history.remember(self._trigger.id, containers, "update-available-digest")
        self._buffer = {key: at for key, at in self._buffer.items() if entries.get(key) != at}
        await self._save()

    def _drop_old(self) -> None:
        first = self._desk.clock.now_ms() - OLDEST_MS
        self._buffer = {key: at for key, at in self._buffer.items() if at >= first}

    async def _save(self) -> None:
        await self._desk.documents.put(COLLECTION, self._trigger.id, self._buffer)
