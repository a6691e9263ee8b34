"""Builds the updates room: actions, journal, gate, recovery, and the facts that the container view shows of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
import structlog

from drydock.api.services import Services
from drydock.config.load import Settings
from drydock.core.model import Container
from drydock.core.reference import parse
from drydock.core.view import ViewContext
from drydock.docker.api import PullAuth
from drydock.events import Bus, ChecksFinished, MaturityCleared
from drydock.observing import Engines
from drydock.registries.artifacts import Artifacts
from drydock.registries.service import RegistryService
from drydock.securing import UpdateGate, gate_facts
from drydock.store.store import Store
from drydock.supervisor import Supervisor
from drydock.updates.actions import register
from drydock.updates.room import Ports, Updates
from drydock.updates.room import build as build_room
from drydock.updates.settings import UpdateSettings
from drydock.watch.service import ScheduledWatcher, WatchService

log = structlog.get_logger("updates")


class FleetContext:
    """What a container's view needs from outside its record; `updates` joins when that room exists."""

    def __init__(self, maturity_threshold_days: int) -> None:
        self._threshold = maturity_threshold_days
        self.updates: Updates | None = None
        self.window_open: Callable[[Container], bool | None] = lambda _container: None

    def __call__(self, container: Container) -> ViewContext:
        if self.updates is None:
            return ViewContext(maturity_threshold_days=self._threshold)
        service = self.updates.service
        eligibility = msgspec.structs.replace(service.eligibility(container), window_open=self.window_open(container))
        return ViewContext(
            maturity_threshold_days=self._threshold,
            eligibility=eligibility,
            operation=service.active_operation(container),
        )


async def build_updates(
    settings: Settings,
    environ: Mapping[str, str],
    services: Services,
    context: FleetContext,
    watchers: Sequence[ScheduledWatcher],
    watching: WatchService,
    registries: RegistryService,
    store: Store,
    bus: Bus,
    supervisor: Supervisor,
) -> Updates:
    """The room with every configured action; interrupted updates are brought to an end before this returns."""
    assert services.preferences is not None, "preferences are built before updates"
    assert services.security is not None, "the security room is built before updates"
    actions, problems = register(settings.source.values("DD_"))
    for problem in problems:
        log.warning("actions.rejected", reason=problem)
    engines, facts, preferences = Engines(watchers), gate_facts(settings), services.preferences
    await preferences.settings()
    clock, fleet = services.clock, services.fleet

    def window_open(container: Container) -> bool | None:
        one = watching.get(container.watcher)
        return one.timetable.window_open(clock.now_ms()) if one is not None else None

    ports = Ports(
        rows=store.operations,
        backups=store.backups,
        fleet=fleet,
        bus=bus,
        clock=clock,
        supervisor=supervisor,
        audit=services.audit,
        engine_for=engines,
        hosts=lambda: [(one.watcher.name, one.watcher.engine) for one in watchers],
        pull_auth=PullLogins(registries),
        look_again=LookAgain(watching),
        environ=environ,
        mode=lambda: preferences.latest.update_mode,
        gate=UpdateGate(services.security.gate, fleet, Artifacts(registries), engines),
        gate_facts=lambda _container: {**facts},
        window_open=window_open,
    )
    room = build_room(ports, update_settings(settings), actions)
    bus.subscribe("automatic-updates", room.automatic.on_checks, ChecksFinished)
    bus.subscribe("automatic-updates:mature", room.automatic.on_mature, MaturityCleared)
    context.updates, context.window_open = room, window_open
    fleet.touch()
    return room


class PullLogins:
    """Credentials for pulling an image reference, from the registry that serves its own host."""

    def __init__(self, registries: RegistryService) -> None:
        self._registries = registries

    async def __call__(self, reference: str) -> PullAuth | None:
        image = parse(reference)
        found = await self._registries.pull_auth(image.registry_host, image.repository)
        return PullAuth(found.username, found.password.reveal()) if found else None


class LookAgain:
    """Look at a host after Drydock changed something there; a container that is new is checked at once."""

    def __init__(self, watching: WatchService) -> None:
        self._watching = watching

    async def __call__(self, watcher: str, agent: str | None) -> None:
        one = self._watching.get(watcher) if agent is None else None
        if one is not None:
            await one.watcher.look_again()


def update_settings(settings: Settings) -> UpdateSettings:
    """How updates are carried out."""
    updates = settings.updates
    return UpdateSettings(
        max_concurrent=updates.max_concurrent,
        heartbeat_ms=updates.health_gate_heartbeat_ms,
        liveness_grace_ms=updates.post_start_liveness_grace_ms,
        boot_concurrency=updates.recovery_boot_concurrency,
        active_ttl_ms=updates.operation_active_ttl_ms,
        retention_days=updates.operation_retention_days,
        max_entries=updates.operation_max_entries,
        labels_strict=settings.process.action_labels_strict,
        actions_enabled=settings.server.feature_containeractions,
        hooks_enabled=settings.hooks.enabled,
        hooks_allowed=settings.hooks.allowed_commands,
    )
