"""Builds what looks on: audit, metrics, event stream, preferences, debug dump; and the door."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import msgspec

from drydock.api.services import Services
from drydock.app.sign_in import authentication
from drydock.config.load import Settings
from drydock.events import Bus
from drydock.notify.masking import strict
from drydock.observe.acks import Acknowledgements
from drydock.observe.audit import Audit
from drydock.observe.audit.from_events import EventAudit
from drydock.observe.authreport import AuthReport
from drydock.observe.dump import DebugDump, Section
from drydock.observe.eventfeed import EventFeed
from drydock.observe.eventstream import EventStream
from drydock.observe.metrics.catalogue import Metrics
from drydock.observe.metrics.families import Computed
from drydock.observe.metrics.process import LoopLag
from drydock.observe.preferences import Preferences
from drydock.observe.serverlog import LogEntry, Wanted
from drydock.store.store import Store
from drydock.supervisor import Supervisor

CLIENTS = "Clients of the event stream"


async def observe(
    services: Services, settings: Settings, store: Store, bus: Bus, supervisor: Supervisor, stack: AsyncExitStack
) -> None:
    """Sign-in, audit, metrics and the event stream: everything that stands at the door or looks on."""
    clock, fleet = services.clock, services.fleet
    metrics = Metrics(lambda: map(msgspec.to_builtins, fleet.views()), services.settings.version)
    trail = Audit(store.audit, bus, clock, lambda action: metrics.audit_entries.inc(action=action))
    services.audit = trail
    EventAudit(trail, clock).subscribe(bus)
    stream = EventStream(clock, settings.process.sse_max_clients)
    EventFeed(stream, fleet.view_of, clock).subscribe(bus)
    services.events, services.acks = stream, Acknowledgements(stream, clock)
    supervisor.start("event-stream:heartbeat", stream.run)
    services.preferences = Preferences(store.documents, clock)
    if settings.metrics.enabled:
        services.metrics = metrics
        lag = LoopLag(clock)
        metrics.registry.add(lag.gauge, Computed("drydock_event_stream_clients", CLIENTS, lambda: [((), len(stream))]))
        supervisor.start("metrics:loop-lag", lag.run)
    services.metrics_token = settings.server.metrics_token
    report = AuthReport(trail, metrics)
    door = await stack.enter_async_context(authentication(settings, store, clock, report, supervisor))
    services.auth = services.access = door
    services.dump = DebugDump(clock, services.settings.version, dump_sections(services, settings)).build
    supervisor.start("audit:prune", trail.run)


def dump_sections(services: Services, settings: Settings) -> Mapping[str, Section]:
    """The parts of the debug dump that this process can give."""

    async def state(_since: int) -> dict[str, Any]:
        fleet = services.fleet
        containers = [{**msgspec.to_builtins(one), "explain": fleet.trace(one.id)} for one in fleet.all()]
        watchers, registries = services.watching.components(), services.registries.components()
        components = {"watchers": list(watchers), "registries": list(registries), "triggers": _triggers(services)}
        return {"containers": containers, **components}

    async def recent_log(since: int) -> list[LogEntry]:
        return services.log.entries(Wanted(since=since), None) if services.log else []

    async def variables(_since: int) -> dict[str, Any]:
        return {"ddEnvVars": settings.source.values("DD_")}

    return {"state": state, "log": recent_log, "environment": variables}


def _triggers(services: Services) -> list[dict[str, Any]]:
    """Every trigger; where its messages go is nobody's business here."""
    listed = services.notifications.catalog.all() if services.notifications else []
    return [{"id": one.id, "agent": one.agent, "configuration": strict(one.configuration)} for one in listed]
