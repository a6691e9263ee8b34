"""What the debug dump contains about the watchers: event streams, recent events, alias decisions, Engines (platform-api.md §4.6)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from drydock.core.errors import EngineError
from drydock.core.times import to_iso
from drydock.watch.service import ScheduledWatcher, WatchService
from drydock.watch.watcher import Watcher

ANSWER_S = 5.0
"""How long an Engine has for its answer; a dump is wanted most when something hangs."""

Watchers = Sequence[ScheduledWatcher]


def subscriptions(watchers: Watchers) -> list[dict[str, Any]]:
    """The event stream of each watcher: wanted, open, or about to be opened again."""
    return [
        {
            "watcherId": one.watcher.id,
            "watcherName": one.watcher.name,
            "watchEventsEnabled": one.settings.watch_events,
            "listenerActive": (listener := one.listener) is not None,
            "streamActive": listener is not None and listener.listening.is_set(),
            "reconnectScheduled": listener is not None and listener.delay_s is not None,
            "reconnectAttempt": listener.failures if listener else 0,
            "reconnectDelayMs": round(((listener.delay_s if listener else 0) or 0) * 1000),
        }
        for one in watchers
    ]


def recent_events(watchers: Watchers, since_ms: int) -> list[dict[str, Any]]:
    """Events of all watchers from `since_ms` on, oldest first."""
    found = [(event, one.watcher) for one in watchers for event in one.events.seen if event.timestamp_ms >= since_ms]
    return [
        {
            "timestamp": to_iso(event.timestamp_ms),
            "watcherId": watcher.id,
            "action": event.action,
            "type": event.type,
            "id": event.id,
            "actorId": event.actor_id,
        }
        for event, watcher in sorted(found, key=lambda pair: pair[0].timestamp_ms)
    ]


def alias_decisions(watchers: Watchers, since_ms: int) -> list[dict[str, Any]]:
    """What was decided about temporary names from `since_ms` on, oldest first."""
    found = [
        (decision, one.watcher)
        for one in watchers
        for decision in one.watcher.discovery.aliases.decisions
        if decision.timestamp_ms >= since_ms
    ]
    return [
        {
            "timestamp": to_iso(decision.timestamp_ms),
            "watcherId": watcher.id,
            "containerId": decision.container_id,
            "containerName": decision.container_name,
            "baseName": decision.base_name,
            "decision": "allowed" if decision.allowed else "skipped",
            "reason": decision.reason,
        }
        for decision, watcher in sorted(found, key=lambda pair: pair[0].timestamp_ms)
    ]


def sections(service: WatchService) -> dict[str, Callable[[int], Awaitable[Any]]]:
    """The sections of the dump by name; each is asked how far back to go, epoch ms."""

    async def docker_events(since: int) -> dict[str, Any]:
        found = service.all()
        return {"activeSubscriptions": subscriptions(found), "recentEvents": recent_events(found, since)}

    async def aliases(since: int) -> dict[str, Any]:
        return {"recentDecisions": alias_decisions(service.all(), since)}

    async def docker_api(_since: int) -> dict[str, Any]:
        return {"watchers": await engines(service.all())}

    return {"dockerEvents": docker_events, "aliasFiltering": aliases, "dockerApi": docker_api}


async def engines(watchers: Watchers) -> list[dict[str, Any]]:
    """What each Engine says of itself, or why it says nothing; all are asked at the same time."""
    return list(await asyncio.gather(*(_engine(one.watcher) for one in watchers)))


async def _engine(watcher: Watcher) -> dict[str, Any]:
    found: dict[str, Any] = {"watcherId": watcher.id, "watcherName": watcher.name}
    if watcher.host.state.connection == "refused":
        return {**found, "authInitializationError": watcher.host.state.reason}
    reader = watcher.host.reader
    version, info = await asyncio.gather(_asked("version", reader.version), _asked("info", reader.info))
    return found | version | info


async def _asked(name: str, ask: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    try:
        async with asyncio.timeout(ANSWER_S):
            return {name: await ask()}
    except EngineError as error:
        return {f"{name}Error": error.message}
    except TimeoutError:
        return {f"{name}Error": f"no answer within {ANSWER_S:g} s"}
