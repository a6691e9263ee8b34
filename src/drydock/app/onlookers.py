"""Builds what looks on: audit, metrics, event stream, preferences, debug dump; and the door."""

from __future__ import annotations

from contextlib import AsyncExitStack

import msgspec

from drydock.api.services import Services
from drydock.api.settings import PublicSettings
from drydock.app.dump import dump_sections
from drydock.app.sign_in import authentication
from drydock.audit import Audit
from drydock.audit.from_events import EventAudit
from drydock.audit.sign_in import AuthReport
from drydock.config.load import Settings
from drydock.diagnostics.dump import DebugDump
from drydock.events import Bus
from drydock.live.acknowledgements import Acknowledgements
from drydock.live.event_feed import EventFeed
from drydock.live.event_stream import EventStream
from drydock.live.settings import StreamSettings
from drydock.metrics.catalogue import Metrics
from drydock.metrics.families import Computed
from drydock.metrics.process import LoopLag
from drydock.metrics.settings import MetricsSettings
from drydock.preferences.service import Preferences
from drydock.store.store import Store
from drydock.supervisor import Supervisor
from drydock.watch.service import WatchService

CLIENTS = "Clients of the event stream"


async def observe(
    services: Services,
    settings: Settings,
    watching: WatchService,
    store: Store,
    bus: Bus,
    supervisor: Supervisor,
    stack: AsyncExitStack,
) -> None:
    """Sign-in, audit, metrics and the event stream: everything that stands at the door or looks on."""
    clock, fleet = services.clock, services.fleet
    metrics = Metrics(lambda: map(msgspec.to_builtins, fleet.views()), settings[PublicSettings].version)
    trail = Audit(store.audit, bus, clock, lambda action: metrics.audit_entries.inc(action=action))
    services.audit = trail
    EventAudit(trail, clock).subscribe(bus)
    stream = EventStream(
        clock, settings[StreamSettings].sse_max_clients, log_addresses=settings[StreamSettings].sse_debug_log_ip
    )
    EventFeed(stream, fleet.view_of, clock).subscribe(bus)
    services.events, services.acks = stream, Acknowledgements(stream, clock)
    supervisor.start("event-stream:heartbeat", stream.run)
    services.preferences = Preferences(store.documents, clock)
    if settings[MetricsSettings].enabled:
        services.metrics = metrics
        lag = LoopLag(clock)
        metrics.registry.add(lag.gauge, Computed("drydock_event_stream_clients", CLIENTS, lambda: [((), len(stream))]))
        supervisor.start("metrics:loop-lag", lag.run)
    report = AuthReport(trail, metrics)
    door = await stack.enter_async_context(authentication(settings, store, clock, report, supervisor))
    services.auth = services.access = door
    services.dump = DebugDump(
        clock, settings[PublicSettings].version, dump_sections(services, settings, watching, store, supervisor)
    ).build
    supervisor.start("audit:prune", trail.run)
