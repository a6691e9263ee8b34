"""Builds the event stream, the debug dump, and sign-in."""

from __future__ import annotations

from contextlib import AsyncExitStack

from drydock.api.services import Services
from drydock.api.settings import PublicSettings
from drydock.app.dump import dump_sections
from drydock.app.sign_in import authentication
from drydock.auth.report import SignInReport
from drydock.config.load import Settings
from drydock.diagnostics.dump import DebugDump
from drydock.events import Bus
from drydock.live.acknowledgements import Acknowledgements
from drydock.live.event_feed import EventFeed
from drydock.live.event_stream import EventStream
from drydock.live.settings import StreamSettings
from drydock.store.store import Store
from drydock.supervisor import Supervisor
from drydock.watch.service import WatchService


async def observe(
    services: Services,
    settings: Settings,
    watching: WatchService,
    store: Store,
    bus: Bus,
    supervisor: Supervisor,
    stack: AsyncExitStack,
) -> EventStream:
    """Sign-in, the event stream and the debug dump."""
    clock, fleet = services.clock, services.fleet
    stream = EventStream(
        clock, settings[StreamSettings].sse_max_clients, log_addresses=settings[StreamSettings].sse_debug_log_ip
    )
    EventFeed(stream, fleet.view_of, clock).subscribe(bus)
    services.events, services.acks = stream, Acknowledgements(stream, clock)
    supervisor.start("event-stream:heartbeat", stream.run)
    report = SignInReport(services.audit, bus)
    door = await stack.enter_async_context(authentication(settings, store, clock, report, supervisor))
    services.auth = services.access = door
    services.dump = DebugDump(
        clock, settings[PublicSettings].version, dump_sections(services, settings, watching, store, supervisor)
    ).build
    return stream
