"""What a Docker event means: refresh one container, or look again soon (watching.md §6)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import structlog

from drydock.core.errors import EngineError, EngineNotFound
from drydock.core.model import Container
from drydock.core.temporary import is_temporary_name_of
from drydock.docker.api import Document
from drydock.watch.debounce import Debounce
from drydock.watch.discovery import Discovery
from drydock.watch.ledger import FleetLedger
from drydock.watch.names import is_own_alias

log = structlog.get_logger("watcher")

HISTORY = 1000
LOOK_AGAIN = frozenset({"create", "destroy", "remove"})
NOISE = ("exec_",)


@dataclass(frozen=True)
class SeenEvent:
    """One event, kept for the debug dump."""

    timestamp_ms: int
    action: str
    type: str
    id: str
    actor_id: str


class EventHandler:
    """Handles the events of one Engine, one by one, in order. `seen` holds the last thousand."""

    def __init__(self, discovery: Discovery, ledger: FleetLedger, rescan: Debounce) -> None:
        self.seen: deque[SeenEvent] = deque(maxlen=HISTORY)
        self._discovery = discovery
        self._ledger = ledger
        self._rescan = rescan

    async def handle(self, event: Document) -> None:
        """Refresh the container the event names; a new, vanished or nameless one asks for an enumeration."""
        action, actor = str(event.get("Action") or ""), str((event.get("Actor") or {}).get("ID") or "")
        if action.startswith(NOISE):
            return
        id = str(event.get("id") or "")
        nano, seconds = event.get("timeNano"), event.get("time")
        moment = self._ledger.clock.now_ms()
        if isinstance(nano, int) and nano > 0:
            moment = nano // 1_000_000
        elif isinstance(seconds, int) and seconds > 0:
            moment = seconds * 1000
        self.seen.append(SeenEvent(moment, action, str(event.get("Type") or ""), id, actor))
        container_id = id or actor
        stored = self._ledger.fleet.get(container_id) if container_id else None
        if stored is None or action in LOOK_AGAIN:
            self._rescan.signal()
            return
        await self._refresh(stored)

    async def _refresh(self, stored: Container) -> None:
        try:
            inspected = await self._discovery.host.reader.inspect_container(stored.id)
            name = str(inspected.get("Name") or "").removeprefix("/")
            if is_own_alias(stored.id, name):
                self._rescan.signal()
                return
            record = await self._discovery.look_at(inspected, stored)
        except EngineNotFound:
            self._rescan.signal()
            return
        except EngineError as error:
            log.debug("watcher.event_ignored", container=stored.name, reason=error.message)
            return
        if is_temporary_name_of(stored.name, name) or record == stored:
            return  # Drydock's own renaming of the container it is replacing, or nothing new
        for field in ("status", "health", "name"):
            before, after = getattr(stored, field), getattr(record, field)
            if before != after:
                log.info("watcher.container_changed", container=record.name, field=field, before=before, after=after)
        await self._ledger.seen([record])
