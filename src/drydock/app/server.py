"""The server: opens what the rooms stand on, builds the rooms in order, starts them, and stops them in reverse."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from drydock.api import application as api
from drydock.api.asgi import App
from drydock.api.legacy import LegacyInputs
from drydock.api.network import Proxies, bucket, client_address
from drydock.api.routes import authentications, triggers, watchers
from drydock.api.routes import registries as registry_routes
from drydock.api.routes.self_update import finalize_url
from drydock.api.services import Services
from drydock.api.settings import PublicSettings, ServerSettings
from drydock.audit.trail import AuditTrail
from drydock.auth import room as auth_room
from drydock.auth.room import Authentication
from drydock.clock import Clock, SystemClock, zone_of
from drydock.compat import application as compat
from drydock.compat.dockhand import room as dockhand_room
from drydock.compat.dockhand.room import Dockhand
from drydock.compat.settings import CompatSettings
from drydock.config.load import Settings
from drydock.diagnostics import room as diagnostics_room
from drydock.diagnostics.room import Diagnostics
from drydock.events import Bus, EventSettings
from drydock.fleet.fleet import Fleet
from drydock.fleet.settings import FleetSettings
from drydock.hosts.host import Hosts
from drydock.hosts.local import local_hosts
from drydock.hosts.settings import WatcherSettings
from drydock.http.client import HttpClient
from drydock.icons import room as icons_room
from drydock.icons.room import Icons
from drydock.kernel import Kernel, Room
from drydock.live.room import Live
from drydock.logs import room as logs_room
from drydock.logs.room import Logs
from drydock.logs.server_log import LogBuffer
from drydock.metrics import room as metrics_room
from drydock.metrics.room import Metrics
from drydock.notify import room as notify_room
from drydock.notify.room import Notifications
from drydock.preferences.room import Preferences
from drydock.registries.room import Artifacts, Registries
from drydock.release_notes import room as notes_room
from drydock.release_notes.room import ReleaseNotesService
from drydock.security import room as security_room
from drydock.security.room import Security
from drydock.stats import room as stats_room
from drydock.stats.room import Stats
from drydock.store.settings import StoreSettings
from drydock.store.store import open_store
from drydock.supervisor import Supervisor
from drydock.updates import room as updates_room
from drydock.updates.room import Updates
from drydock.watch import diagnosis
from drydock.watch import room as watch_room
from drydock.watch.room import Watching
from drydock.watch.service import WatchService

REGISTRY_CACHE = "registry-cache.db"


@dataclass(frozen=True)
class Application:
    """A running Drydock: what serves HTTP, and what other commands need of it."""

    http: App
    services: Services
    watching: WatchService
    fleet: Fleet
    bus: Bus
    supervisor: Supervisor


@asynccontextmanager
async def run(
    settings: Settings, environ: Mapping[str, str], clock: Clock | None = None, log_buffer: LogBuffer | None = None
) -> AsyncIterator[Application]:
    """Build and start everything; leaving the context stops it in reverse.

    Raises ConfigError when the store cannot be used. A watcher or registry that cannot be built is left out with a
    warning; the process keeps running.
    """
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        kernel, audit = await open_kernel(settings, clock, stack)
        http = await stack.enter_async_context(HttpClient.build(settings, environ))
        registry_cache = Path(settings[StoreSettings].path) / REGISTRY_CACHE
        registries = await stack.enter_async_context(Registries.build(settings, http, clock, registry_cache))
        hosts = local_hosts(settings.all(WatcherSettings), clock)
        stack.push_async_callback(hosts.close)

        outside = Outside(
            http, registries, hosts, environ, log_buffer or LogBuffer(clock.now_ms, "info", enabled=False)
        )
        built = await build_rooms(kernel, audit, settings, outside)
        services, dockhand = built.services, built.dockhand
        served = api.build(services, compat.extension(settings[CompatSettings], dockhand))
        kernel.supervisor.start("events", kernel.bus.run)
        for room in built.in_order():
            stack.push_async_callback(room.stop)
            await room.start()
        yield Application(served, services, services.watching, kernel.fleet, kernel.bus, kernel.supervisor)


async def open_kernel(settings: Settings, clock: Clock, stack: AsyncExitStack) -> tuple[Kernel, AuditTrail]:
    """Store, background tasks, events, the last picture of the fleet, and the audit log; `stack` closes them."""
    store = await open_store(settings[StoreSettings])
    stack.push_async_callback(store.close)
    supervisor = await stack.enter_async_context(Supervisor(clock))
    bus = Bus(settings[EventSettings].handler_timeout_s)
    fleet = Fleet(store.containers, store.retention, bus, clock, settings[FleetSettings])
    await fleet.load()
    audit = AuditTrail.build(store.audit, bus, clock, supervisor)
    return Kernel(clock, bus, supervisor, store, fleet, audit), audit


@dataclass(frozen=True)
class Outside:
    """What rooms reach beyond the process: other hosts by HTTP, registries, Engines, the environment; and its own log."""

    http: HttpClient
    registries: Registries
    hosts: Hosts
    environ: Mapping[str, str]
    log: LogBuffer


@dataclass(frozen=True)
class Built:
    """The rooms: those that the API calls, and those that it does not."""

    services: Services
    watch: Watching
    dockhand: Dockhand

    def in_order(self) -> tuple[Room, ...]:
        """The order of starting: what records events first, and updates recover before anything is watched."""
        its = self.services
        return (
            *(its.audit, its.live, its.auth, its.notifications, its.security, its.updates),
            *(self.watch, self.dockhand, its.stats, its.metrics, its.icons),
        )


async def build_rooms(kernel: Kernel, audit: AuditTrail, settings: Settings, outside: Outside) -> Built:
    """Every room, each from the kernel, its settings and what it needs of those before it. Nothing runs yet."""
    http, registries, hosts = outside.http, outside.registries, outside.hosts
    server, public = settings[ServerSettings], settings[PublicSettings]
    zone, proxies, legacy = zone_of(outside.environ), Proxies(server.trust_proxy), LegacyInputs()
    for variable in settings.former:
        legacy.count("env", variable)

    watch_needs = watch_room.Needs(hosts, registries, zone, partial(legacy.count, "label"))
    watch = await Watching.build(kernel, settings, watch_needs)
    watching = watch.service
    logs = Logs.build(kernel, settings, logs_room.Needs(hosts))
    stats = Stats.build(kernel, settings, stats_room.Needs(hosts))
    dockhand = Dockhand.build(kernel, settings, dockhand_room.Needs(hosts))
    live = Live.build(kernel, settings)
    preferences = Preferences.build(kernel, settings)
    auth_needs = auth_room.Needs(
        http=http,
        public_url=public.public_url,
        max_sessions=server.max_sessions,
        address_of=partial(client_address, proxies=proxies),
        bucket=bucket,
    )
    auth = await Authentication.build(kernel, settings, auth_needs)
    icons = Icons.build(kernel, settings, icons_room.Needs(http, preferences.offline))
    security_needs = security_room.Needs(hosts, outside.environ, registries.pull_auth, Artifacts(registries))
    security = Security.build(kernel, settings, security_needs)
    release_notes = ReleaseNotesService.build(kernel, settings, notes_room.Needs(http, registries.github_token()))
    updates = build_updates(kernel, settings, outside, watching, security, live, preferences)
    notify_needs = notify_room.Needs(
        http=http,
        environ=outside.environ,
        zone=zone,
        server_name=lambda: server.name or watching.engine_name(),
        actions=updates.actions.all(),
        request_update=updates.admission.request,
    )
    notifications = await Notifications.build(kernel, settings, notify_needs)
    metrics_needs = metrics_room.Needs(
        version=public.version,
        registries=registries,
        watchers=lambda: [one.watcher for one in watching.all()],
        legacy_inputs=lambda: legacy.uses,
        locked_out=auth.lockout.locked,
        running_updates=updates.queue.running,
        stream_clients=live.events.__len__,
        usage=stats.fleet.joined,
    )
    services = Services(
        clock=kernel.clock,
        settings=settings,
        fleet=kernel.fleet,
        audit=audit,
        auth=auth,
        watching=watching,
        registries=registries,
        updates=updates,
        security=security,
        notifications=notifications,
        release_notes=release_notes,
        preferences=preferences,
        icons=icons,
        logs=logs,
        log=outside.log,
        stats=stats,
        live=live,
        metrics=Metrics.build(kernel, settings, metrics_needs),
        diagnostics=build_diagnostics(kernel, settings, outside, watching, notifications, auth, updates),
        curl_healthcheck=updates.own.curl_healthcheck,
        legacy=legacy,
        proxies=proxies,
        started_at=kernel.clock.monotonic(),
    )
    return Built(services, watch, dockhand)


def build_updates(
    kernel: Kernel,
    settings: Settings,
    outside: Outside,
    watching: WatchService,
    security: Security,
    live: Live,
    preferences: Preferences,
) -> Updates:
    """The room of updates, which needs something of almost every other one."""
    server = settings[ServerSettings]
    needs = updates_room.Needs(
        hosts=outside.hosts,
        watching=watching,
        logins=outside.registries.pull_auth,
        digest_of=Artifacts(outside.registries).digest,
        mode=preferences.update_mode,
        announce=partial(live.acknowledgements.announce, requires_ack=True),
        gate=security.gate,
        gate_enabled=security.gate.scans,
        block_severities=security.gate.block_severities,
        actions_enabled=server.container_actions,
        environ=outside.environ,
        finalize_url=finalize_url(server),
    )
    return Updates.build(kernel, settings, needs)


def build_diagnostics(
    kernel: Kernel,
    settings: Settings,
    outside: Outside,
    watching: WatchService,
    notifications: Notifications,
    auth: Authentication,
    updates: Updates,
) -> Diagnostics:
    """Health and debug dump, which show something of almost every room."""
    needs = diagnostics_room.Needs(
        version=settings[PublicSettings].version,
        components={
            "watchers": partial(watchers.listed, watching, kernel.fleet),
            "triggers": partial(triggers.without_addresses, notifications),
            "registries": partial(registry_routes.listed, outside.registries),
            "authentications": partial(authentications.listed, auth),
        },
        watching=diagnosis.sections(watching),
        watchers_work=watching.work,
        update_locks=updates.queue.locks.dump,
        log=outside.log.since,
    )
    return Diagnostics.build(kernel, settings, needs)
