"""Builds the update room from the settings, and joins it with watchers, registries, gate and bus (updates.md)."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import structlog

from drydock.api.services import Services
from drydock.api.settings import ServerSettings
from drydock.app.scanning import UpdateGate
from drydock.config.load import Settings
from drydock.core.model import Container, HostKey
from drydock.core.operation import Operation
from drydock.core.reference import parse
from drydock.docker.api import Engine, PullAuth
from drydock.docker.host import EngineFacts
from drydock.docker.namespaces import Namespaces
from drydock.events import Bus, ChecksFinished, MaturityCleared
from drydock.fleet.fleet import UpdateFacts
from drydock.hosts.host import Host, Hosts
from drydock.hosts.local import full_engine
from drydock.hosts.settings import WatcherSettings
from drydock.live.acknowledgements import Acknowledgements
from drydock.registries.room import Artifacts, Registries
from drydock.security.security_gate import Gate
from drydock.store.store import Store
from drydock.supervisor import Supervisor
from drydock.updates.actions import Action
from drydock.updates.room import Ports, Updates, build
from drydock.updates.sections import HooksSettings, LabelSettings, UpdatesSettings
from drydock.updates.self_update.identity import OwnContainer, Route, Signs, signs
from drydock.updates.settings import UpdateMode, UpdateSettings
from drydock.updates.worker import Seen
from drydock.watch.service import WatchService

log = structlog.get_logger("app")

FINALIZE_PATH = "/api/v1/internal/self-update/finalize"


def update_settings(settings: Settings) -> UpdateSettings:
    """The update part of the settings."""
    updates, hooks = settings[UpdatesSettings], settings[HooksSettings]
    return UpdateSettings(
        max_concurrent=updates.max_concurrent,
        heartbeat_ms=updates.health_gate_heartbeat_ms,
        liveness_grace_ms=updates.post_start_liveness_grace_ms,
        boot_concurrency=updates.recovery_boot_concurrency,
        active_ttl_ms=updates.operation_active_ttl_ms,
        retention_days=updates.operation_retention_days,
        max_entries=updates.operation_max_entries,
        labels_strict=settings[LabelSettings].action_labels_strict,
        actions_enabled=settings[ServerSettings].container_actions,
        hooks_enabled=hooks.enabled,
        hooks_allowed=hooks.allowed_commands,
    )


def own_container(
    settings: Settings, hosts: UpdateHosts, acks: Acknowledgements | None, updates: UpdateSettings
) -> OwnContainer:
    """What this process knows of the container it runs in."""
    server = settings[ServerSettings]

    async def announce(operation: Operation) -> None:
        if acks is not None:
            await acks.announce(operation.id, requires_ack=True)

    scheme = "https" if server.tls else "http"
    return OwnContainer(
        own_signs(),
        hosts.engine_for,
        {one.name: _route(one) for one in settings.all(WatcherSettings)},
        announce=announce,
        finalize_url=f"{scheme}://127.0.0.1:{server.port}{FINALIZE_PATH}" if server.enabled else "",
        grace_ms=updates.liveness_grace_ms,
    )


def own_signs() -> Signs:
    """What this process sees of a container around it."""
    return signs(_text("/proc/self/mountinfo"), _text("/proc/self/cgroup"), socket.gethostname())


def _text(path: str) -> str:
    file = Path(path)
    return file.read_text(errors="replace") if file.exists() else ""


def _route(watcher: WatcherSettings) -> Route:
    """How a helper container would reach the watcher's Engine."""
    found = watcher
    protocol = found.protocol or ("https" if found.tls else "http")
    guarded = found.tls or found.auth_given or protocol == "https"
    return Route(socket=found.socket, host=found.host, port=found.port, protocol=protocol, guarded=guarded)


class UpdateHosts:
    """The hosts and watchers as the update room needs them: Engines by watcher, and another look."""

    def __init__(self, hosts: Hosts, watching: WatchService, supervisor: Supervisor) -> None:
        self._hosts = hosts
        self._watching = watching
        self._supervisor = supervisor
        self.window_open = watching.window_open

    def engine_for(self, watcher: str, agent: str | None) -> Engine:
        """The Engine of a host; `HostUnavailable` for one that is not configured."""
        return full_engine(self._hosts.of(HostKey(agent, watcher)))

    def all(self) -> Iterable[tuple[str, Engine]]:
        """Every local watcher with its Engine."""
        return [(host.key.watcher, full_engine(host)) for host in self._hosts.all()]

    async def look_again(self, watcher: str, agent: str | None) -> None:
        """See what runs there now, and check what is new."""
        await self._watching.look_again(HostKey(agent, watcher))

    async def replaced(self, old: Container, new_id: str, seen: Seen | None) -> None:
        """The new container takes the place of the old one at once; its check goes on in the background."""
        new = await self._watching.replaced(old, new_id, *((seen.container, seen.image) if seen else ()))
        if new is not None:
            self._supervisor.spawn(f"check:{new_id}", self._watching.watch_some([new.id]))

    def known_facts(self, engine: Engine) -> EngineFacts | None:
        """What is known about this Engine."""
        return self._host_of(engine).facts

    def namespaces_of(self, engine: Engine) -> Namespaces:
        """What was learned about the containers of this Engine."""
        return self._host_of(engine).namespaces

    def _host_of(self, engine: Engine) -> Host:
        return next(host for host in self._hosts.all() if host.reader is engine)


async def pull_auth(registries: Registries, reference: str) -> PullAuth | None:
    """The credentials for pulling this image, if its registry has any."""
    image = parse(reference)
    found = await registries.pull_auth(image.registry_host, image.repository)
    return PullAuth(found.username, found.password.reveal()) if found else None


def build_updates(
    settings: Settings,
    environ: Mapping[str, str],
    services: Services,
    registries: Registries,
    watching: WatchService,
    watched: Hosts,
    store: Store,
    gate: Gate,
    gate_facts: Mapping[str, Any],
    bus: Bus,
    supervisor: Supervisor,
) -> Updates:
    """The update room, also put into `services`; `start` it before requests are served.

    Subscribes to the bus, so call it before the bus runs, and after the preferences were built.
    """
    fleet, clock = services.fleet, services.clock
    behaviour = update_settings(settings)
    hosts = UpdateHosts(watched, watching, supervisor)
    actions = [one.settings for one in settings.components(Action)]

    async def mode() -> UpdateMode:
        return (await services.preferences.settings()).update_mode if services.preferences else "manual"

    ports = Ports(
        rows=store.operations,
        backups=store.backups,
        fleet=fleet,
        bus=bus,
        clock=clock,
        supervisor=supervisor,
        audit=services.audit,
        engine_for=hosts.engine_for,
        hosts=hosts.all,
        pull_auth=lambda reference: pull_auth(registries, reference),
        look_again=hosts.look_again,
        replaced=hosts.replaced,
        environ=environ,
        mode=mode,
        gate=UpdateGate(gate, fleet, Artifacts(registries), hosts.engine_for),
        gate_facts=lambda _: dict(gate_facts),
        own=own_container(settings, hosts, services.acks, behaviour),
        window_open=hosts.window_open,
        namespaces_of=hosts.namespaces_of,
        known_facts=hosts.known_facts,
    )
    services.updates = updates = build(ports, behaviour, actions)

    def facts(container: Container) -> UpdateFacts:
        eligibility = updates.service.eligibility(container)
        seen = msgspec.structs.replace(eligibility, window_open=hosts.window_open(container))
        return seen, updates.service.active_operation(container)

    fleet.derive_with(facts)
    bus.subscribe("automatic-updates", updates.automatic.on_checks, ChecksFinished)
    bus.subscribe("automatic-updates-matured", updates.automatic.on_mature, MaturityCleared)
    return updates
