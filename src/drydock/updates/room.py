"""The room put together from what `app` gives it: one value with everything the API and the watchers need of updates."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from drydock.clock import Clock
from drydock.core.audit import AuditStatus
from drydock.core.model import Container
from drydock.core.operation import Operation
from drydock.docker.api import Engine, PullAuth
from drydock.docker.own import OwnFolders
from drydock.events import Bus
from drydock.fleet.fleet import Fleet
from drydock.kernel import AuditLog
from drydock.supervisor import Supervisor
from drydock.updates.actions import Action, Actions
from drydock.updates.automatic import Automatic
from drydock.updates.backups import Backups
from drydock.updates.backups import Records as BackupRecords
from drydock.updates.completion import Aftermath, LookAgain, Replaced
from drydock.updates.dependency_groups import Chains
from drydock.updates.executor import KnownFacts, nothing_known
from drydock.updates.hooks import Hooks, HookSettings
from drydock.updates.journal import Journal, Rows
from drydock.updates.lifecycle import Lifecycle
from drydock.updates.locks import Locks
from drydock.updates.options import PlanOptions
from drydock.updates.orphans import Sweeper
from drydock.updates.plan_services import Gate, NoGate, PlanSurroundings
from drydock.updates.preview import Previews
from drydock.updates.rollbacks import HealthMonitor, Rollbacks
from drydock.updates.self_update.identity import OwnProcess
from drydock.updates.self_update.not_containerised import OUTSIDE
from drydock.updates.self_update.status import SelfUpdates
from drydock.updates.service import ModeNow, UpdateService
from drydock.updates.settings import UpdateSettings
from drydock.updates.worker import NamespacesOf, Worker

AUDITED: Final[Mapping[str, AuditStatus]] = {
    "compose-updated": "success",
    "compose-sync-failed": "error",
    "rollback": "info",
}
"""Notices that belong into the audit log, and how they are marked there; the others are logged only."""

EngineFor = Callable[[str, str | None], Engine]


NO_GATE = NoGate()


@dataclass(frozen=True, kw_only=True)
class Ports:
    """What the room needs from outside. `hosts` are the local watchers with their Engines."""

    rows: Rows
    backups: BackupRecords
    fleet: Fleet
    bus: Bus
    clock: Clock
    supervisor: Supervisor
    audit: AuditLog
    engine_for: EngineFor
    hosts: Callable[[], Iterable[tuple[str, Engine]]]
    pull_auth: Callable[[str], Awaitable[PullAuth | None]]
    look_again: LookAgain
    replaced: Replaced
    environ: Mapping[str, str]
    mode: ModeNow
    gate: Gate = NO_GATE
    gate_facts: Callable[[Container], dict[str, Any]] = lambda _: {}
    own: OwnProcess = OUTSIDE
    window_open: Callable[[Container], bool | None] = lambda _: None
    namespaces_of: NamespacesOf | None = None
    known_facts: KnownFacts = nothing_known


@dataclass(frozen=True)
class Updates:
    """The services of this room."""

    service: UpdateService
    rollbacks: Rollbacks
    lifecycle: Lifecycle
    previews: Previews
    chains: Chains
    automatic: Automatic
    self_updates: SelfUpdates
    actions: Actions

    async def start(self) -> None:
        """Recover, then keep house; after the fleet was loaded and before requests are served."""
        await self.service.start()


def build(ports: Ports, settings: UpdateSettings, actions: Iterable[Action]) -> Updates:
    """Build the room; nothing runs before `Updates.start`."""
    known, locks = Actions(list(actions)), Locks(settings.max_concurrent)
    journal = Journal(ports.rows, ports.clock, lambda row: service.changed(row))
    backups = Backups(ports.backups, known, ports.engine_for, ports.clock)
    hooks = Hooks(
        HookSettings(enabled=settings.hooks_enabled, allowed=settings.hooks_allowed),
        lambda row, action, status, text: aftermath.audit(row, action, status, text),
        ports.environ,
    )
    aftermath = Aftermath(
        journal=journal,
        fleet=ports.fleet,
        bus=ports.bus,
        clock=ports.clock,
        audit=ports.audit,
        backups=backups,
        hooks=hooks,
        replaced=ports.replaced,
    )
    folders = OwnFolders()
    surroundings = _surroundings(ports, hooks, backups, known, folders, aftermath)
    worker = _worker(ports, journal, surroundings, _Options(settings, known))
    service = UpdateService(
        journal=journal,
        worker=worker,
        aftermath=aftermath,
        sweeper=Sweeper(journal, ports.hosts, locks, ports.clock),
        fleet=ports.fleet,
        bus=ports.bus,
        clock=ports.clock,
        supervisor=ports.supervisor,
        actions=known,
        locks=locks,
        settings=settings,
        mode=ports.mode,
        own=ports.own,
        gate=ports.gate_facts,
        window_open=ports.window_open,
    )
    aftermath.monitor = _monitor(ports, service, backups, settings, worker)
    return Updates(
        service=service,
        rollbacks=Rollbacks(service, backups, ports.fleet),
        lifecycle=Lifecycle(service, ports.fleet, ports.bus, ports.engine_for, ports.look_again),
        previews=Previews(service, ports.fleet, ports.engine_for, worker.namespaces_of, folders),
        chains=Chains(service, ports.fleet, ports.supervisor, ports.clock),
        self_updates=SelfUpdates(service),
        automatic=Automatic(service, ports.fleet, ports.mode, ports.window_open, aftermath),
        actions=known,
    )


def _worker(ports: Ports, journal: Journal, surroundings: PlanSurroundings, options: _Options) -> Worker:
    return Worker(
        journal,
        ports.clock,
        ports.engine_for,
        surroundings,
        options,
        ports.namespaces_of,
        ports.known_facts,
        own=ports.own,
    )


def _surroundings(
    ports: Ports, hooks: Hooks, backups: Backups, actions: Actions, folders: OwnFolders, aftermath: Aftermath
) -> PlanSurroundings:
    def tell(row: Operation, action: str, text: str) -> None:
        status = AUDITED.get(action)
        if status is not None:
            ports.supervisor.spawn(f"audit:{action}", aftermath.audit(row, action, status, text))

    return PlanSurroundings(
        pull_auth=ports.pull_auth,
        gate=ports.gate,
        hooks=hooks,
        backups=backups,
        actions=actions,
        engine_for=ports.engine_for,
        folders=folders,
        tell=tell,
    )


def _monitor(
    ports: Ports, service: UpdateService, backups: Backups, settings: UpdateSettings, worker: Worker
) -> HealthMonitor:
    return HealthMonitor(
        service=service,
        backups=backups,
        journal=service.journal,
        fleet=ports.fleet,
        engine_for=ports.engine_for,
        clock=ports.clock,
        supervisor=ports.supervisor,
        options=settings.plan_options(),
        runs_checks=worker.runs_health_checks,
    )


class _Options:
    """Plan options of an operation: those of the process, and of the action that carries it out."""

    def __init__(self, settings: UpdateSettings, actions: Actions) -> None:
        self._base = settings.plan_options()
        self._actions = actions

    def __call__(self, operation: Operation) -> PlanOptions:
        action = self._actions.get(operation.trigger_name)
        if action is None:
            return self._base
        return msgspec.structs.replace(
            self._base,
            auto_remove_timeout_s=action.auto_remove_timeout,
            block_on_file=action.type == "dockercompose" and action.reconciliation_mode == "block",
        )
