"""Collects the sections of the debug dump; redaction is the work of `observe.dump` (platform-api.md §4.6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from drydock.api.routes import authentications, watchers
from drydock.api.services import Services
from drydock.config.load import Settings
from drydock.diagnostics.dump import Section
from drydock.logs.server_log import LogEntry, Wanted
from drydock.notify.masking import strict
from drydock.store.figures import figures
from drydock.store.store import Store
from drydock.supervisor import Supervisor
from drydock.watch import diagnosis
from drydock.watch.service import WatchService


def dump_sections(
    services: Services, settings: Settings, watching: WatchService, store: Store, supervisor: Supervisor
) -> Mapping[str, Section]:
    """Every part that this process can give, in the order of the document."""

    async def state(_since: int) -> dict[str, Any]:
        return _state(services)

    async def sensors(_since: int) -> dict[str, Any]:
        return {"sensors": []}

    async def docker_events(since: int) -> dict[str, Any]:
        found = watching.all()
        return {
            "activeSubscriptions": diagnosis.subscriptions(found),
            "recentEvents": diagnosis.recent_events(found, since),
        }

    async def aliases(since: int) -> dict[str, Any]:
        return {"recentDecisions": diagnosis.alias_decisions(watching.all(), since)}

    async def stored(_since: int) -> dict[str, Any]:
        return {"stats": await figures(store.database)}

    async def docker_api(_since: int) -> dict[str, Any]:
        return {"watchers": await diagnosis.engines(watching.all())}

    async def variables(_since: int) -> dict[str, Any]:
        return {"ddEnvVars": settings.source.values("DD_")}

    async def tasks(_since: int) -> dict[str, Any]:
        return {
            "tasks": supervisor.names(),
            "updates": services.updates.queue.locks.dump() if services.updates else {},
        }

    async def recent_log(since: int) -> list[LogEntry]:
        return services.log.entries(Wanted(since=since), None) if services.log else []

    return {
        "state": state,
        "mqttHomeAssistant": sensors,
        "dockerEvents": docker_events,
        "aliasFiltering": aliases,
        "store": stored,
        "dockerApi": docker_api,
        "environment": variables,
        "process": tasks,
        "log": recent_log,
    }


def _state(services: Services) -> dict[str, Any]:
    """The containers as they are stored, each with the trace of its decision, and every component."""
    fleet = services.fleet
    return {
        "containers": [{**msgspec.to_builtins(one), "explain": fleet.trace(one.id)} for one in fleet.all()],
        "watchers": watchers.listed(services),
        "triggers": _triggers(services),
        "registries": list(services.registries.components()),
        "authentications": authentications.listed(services),
        "agents": [],
    }


def _triggers(services: Services) -> list[dict[str, Any]]:
    """Every trigger; where its messages go is nobody's business here."""
    found = services.notifications.catalog.all() if services.notifications else []
    return [
        {
            "id": one.id,
            "type": one.type,
            "name": one.name,
            "agent": one.agent,
            "configuration": strict(one.configuration),
            "metadata": {"category": one.category},
        }
        for one in found
    ]
