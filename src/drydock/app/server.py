"""The only place that builds I/O objects from the settings, starts them in order and stops them in reverse."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

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
from drydock.hosts.local import local_hosts
from drydock.hosts.settings import WatcherSettings
from drydock.http.client import HttpClient
from drydock.icons import room as icons_room
from drydock.icons.room import Icons
from drydock.kernel import Kernel
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
from drydock.watch.room import Needs as WatchNeeds
from drydock.watch.room import Watching
from drydock.watch.service import WatchService

log = structlog.get_logger("app")

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
    zone = zone_of(environ)
    async with AsyncExitStack() as stack:
        store = await open_store(settings[StoreSettings])
        stack.push_async_callback(store.close)
        supervisor = await stack.enter_async_context(Supervisor(clock))
        bus = Bus(settings[EventSettings].handler_timeout_s)
        audit = AuditTrail.build(store.audit, bus, clock, supervisor)
        http = await stack.enter_async_context(HttpClient.build(settings, environ))
        registry_cache = Path(settings[StoreSettings].path) / REGISTRY_CACHE
        registries = await stack.enter_async_context(Registries.build(settings, http, clock, registry_cache))
        fleet = Fleet(store.containers, store.retention, bus, clock, settings[FleetSettings])
        await fleet.load()
        kernel = Kernel(clock, bus, supervisor, store, fleet, audit)
        legacy = _legacy(settings)
        hosts = local_hosts(settings.all(WatcherSettings), clock)
        stack.push_async_callback(hosts.close)
        watch_needs = WatchNeeds(hosts, registries, zone, partial(legacy.count, "label"))
        watch = await Watching.build(kernel, settings, watch_needs)
        stack.push_async_callback(watch.stop)
        watching = watch.service
        logs = Logs.build(kernel, settings, logs_room.Needs(hosts))
        stats = Stats.build(kernel, settings, stats_room.Needs(hosts))
        dockhand = Dockhand.build(kernel, settings, dockhand_room.Needs(hosts))
        live = Live.build(kernel, settings)
        preferences = Preferences.build(kernel, settings)
        proxies = Proxies(settings[ServerSettings].trust_proxy)
        auth_needs = auth_room.Needs(
            http=http,
            public_url=settings[PublicSettings].public_url,
            max_sessions=settings[ServerSettings].max_sessions,
            address_of=partial(client_address, proxies=proxies),
            bucket=bucket,
        )
        auth = await Authentication.build(kernel, settings, auth_needs)
        stack.push_async_callback(auth.stop)
        icons = Icons.build(kernel, settings, icons_room.Needs(http, preferences.offline))
        stack.push_async_callback(icons.stop)
        security_needs = security_room.Needs(hosts, environ, registries.pull_auth, Artifacts(registries))
        security = Security.build(kernel, settings, security_needs)
        notes_needs = notes_room.Needs(http, registries.github_token())
        notes = ReleaseNotesService.build(kernel, settings, notes_needs)
        update_needs = updates_room.Needs(
            hosts=hosts,
            watching=watching,
            logins=registries.pull_auth,
            digest_of=Artifacts(registries).digest,
            mode=preferences.update_mode,
            announce=partial(live.acknowledgements.announce, requires_ack=True),
            gate=security.gate,
            gate_enabled=security.gate.scans,
            block_severities=security.gate.block_severities,
            actions_enabled=settings[ServerSettings].container_actions,
            environ=environ,
            finalize_url=finalize_url(settings[ServerSettings]),
        )
        updates = Updates.build(kernel, settings, update_needs)
        notify_needs = notify_room.Needs(
            http=http,
            environ=environ,
            zone=zone,
            server_name=lambda: settings[ServerSettings].name or watching.engine_name(),
            actions=updates.actions.all(),
            request_update=updates.admission.request,
        )
        notifications = await Notifications.build(kernel, settings, notify_needs)
        metrics = Metrics.build(
            kernel,
            settings,
            metrics_room.Needs(
                version=settings[PublicSettings].version,
                registries=registries,
                watchers=lambda: [one.watcher for one in watching.all()],
                legacy_inputs=lambda: legacy.uses,
                locked_out=auth.lockout.locked,
                running_updates=updates.queue.running,
                stream_clients=live.events.__len__,
                usage=stats.fleet.joined,
            ),
        )
        log_buffer = log_buffer or LogBuffer(clock.now_ms, "info", enabled=False)
        diagnostics = Diagnostics.build(
            kernel,
            settings,
            diagnostics_room.Needs(
                version=settings[PublicSettings].version,
                components={
                    "watchers": partial(watchers.listed, watching, fleet),
                    "triggers": partial(triggers.without_addresses, notifications),
                    "registries": partial(registry_routes.listed, registries),
                    "authentications": partial(authentications.listed, auth),
                },
                watching=diagnosis.sections(watching),
                watchers_work=watching.work,
                update_locks=updates.queue.locks.dump,
                log=log_buffer.since,
            ),
        )
        services = Services(
            clock=clock,
            settings=settings,
            fleet=fleet,
            audit=audit,
            auth=auth,
            watching=watching,
            registries=registries,
            updates=updates,
            security=security,
            notifications=notifications,
            release_notes=notes,
            preferences=preferences,
            icons=icons,
            logs=logs,
            log=log_buffer,
            stats=stats,
            live=live,
            metrics=metrics,
            diagnostics=diagnostics,
            curl_healthcheck=updates.own.curl_healthcheck,
            legacy=legacy,
            proxies=proxies,
            started_at=clock.monotonic(),
        )
        served = api.build(services, compat.extension(settings[CompatSettings], dockhand))
        application = Application(served, services, watching, fleet, bus, supervisor)
        supervisor.start("events", bus.run)
        await audit.start()
        await auth.start()
        await live.start()
        await notifications.start()
        await security.start()
        await updates.start()
        await watch.start()
        await dockhand.start()
        await stats.start()
        await metrics.start()
        stack.push_async_callback(metrics.stop)
        yield application


def _legacy(settings: Settings) -> LegacyInputs:
    """Names of another time that were found in the environment."""
    legacy = LegacyInputs()
    for variable in settings.former:
        legacy.count("env", variable)
    return legacy
