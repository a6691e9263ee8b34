"""The room put together: everything the API and the other rooms need of updates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from drydock.config.load import Settings
from drydock.core.errors import NotFound
from drydock.core.model import audit_key
from drydock.core.operation import Operation
from drydock.core.reference import parse
from drydock.docker.api import PullAuth
from drydock.events import ChecksFinished, MaturityCleared
from drydock.kernel import Kernel, Room
from drydock.updates.actions import Action, Actions
from drydock.updates.admission import Admission
from drydock.updates.automatic import Automatic
from drydock.updates.completion import Completion
from drydock.updates.compose.project import ComposeProjects
from drydock.updates.dependency_groups import DependencyGroups
from drydock.updates.execution.backups import Backups
from drydock.updates.execution.executor import Surroundings
from drydock.updates.execution.hooks import Hooks
from drydock.updates.execution.image_check import ImageCheck
from drydock.updates.execution.journal import Journal
from drydock.updates.execution.locks import Locks
from drydock.updates.execution.reporting import Broadcast, OperationAudit
from drydock.updates.execution.worker import Worker
from drydock.updates.health_monitor import HealthMonitor
from drydock.updates.lifecycle import Lifecycle
from drydock.updates.needs import Needs
from drydock.updates.orphans import Sweeper
from drydock.updates.plan.options import PlanOptions
from drydock.updates.preview import Previews
from drydock.updates.queue import Queue
from drydock.updates.recovery import Recovery
from drydock.updates.rollbacks import Rollbacks
from drydock.updates.self_update.identity import OwnContainer, own_signs
from drydock.updates.self_update.status import SelfUpdates
from drydock.updates.settings import HooksSettings, UpdatesSettings

__all__ = ["Needs", "Updates"]


class Updates(Room):
    """Accepts updates, carries them out, and reports on them. `start` it after the fleet was loaded."""

    def __init__(self, kernel: Kernel, settings: Settings, needs: Needs, own: OwnContainer) -> None:
        behaviour, hosts = settings[UpdatesSettings], needs.hosts
        self.actions = actions = Actions(one.settings for one in settings.components(Action))

        async def pull_auth(reference: str) -> PullAuth | None:
            image = parse(reference)
            login = await needs.logins(image.registry_host, image.repository)
            return PullAuth(login.username, login.password.reveal()) if login else None

        def options_for(operation: Operation) -> PlanOptions:
            return PlanOptions(settings=behaviour, action=actions.get(operation.trigger_name) or Action())

        broadcast = Broadcast(kernel, capped=bool(behaviour.max_concurrent))
        journal = Journal(kernel.store.operations, kernel.clock, broadcast.changed)
        locks = Locks(behaviour.max_concurrent)
        audit = OperationAudit(kernel.audit, kernel.supervisor)
        backups = Backups(kernel.store.backups, actions, hosts, kernel.clock)
        hooks = Hooks(settings[HooksSettings], audit, needs.environ)
        images = ImageCheck(needs.gate, needs.digest_of, hosts, kernel.fleet)
        surroundings = Surroundings(
            pull_auth=pull_auth,
            pre_hook=hooks.pre,
            verify=images.verify,
            scan=images.scan,
            plan_files=ComposeProjects(actions, hosts).plan,
            save_backup=backups.make,
            own_container=own.container_id,
            helper=own.helper,
            announce=lambda row: needs.announce(row.id),
            notice=audit.notice,
        )
        worker = Worker(journal, kernel.clock, hosts, surroundings, options_for)
        monitor = HealthMonitor(kernel, hosts, journal, backups)
        completion = Completion(kernel, needs.watching, journal, audit, backups, hooks, monitor)

        self.queue = Queue(kernel, hosts, journal, worker, locks, completion, audit)
        self.admission = Admission(kernel, settings, needs, self.queue, actions, own)
        sweeper = Sweeper(journal, hosts, locks, kernel.clock)
        self.recovery = Recovery(kernel, behaviour, self.queue, actions, own, sweeper)
        self.rollbacks = Rollbacks(kernel, self.admission, self.queue, backups)
        self.lifecycle = Lifecycle(kernel, needs, self.admission, self.queue)
        self.previews = Previews(kernel, hosts, self.admission, actions)
        self.groups = DependencyGroups(kernel, self.admission, self.queue, actions)
        self.self_updates = SelfUpdates(self.queue)
        self.automatic = Automatic(kernel, needs, self.admission, journal, actions, audit)
        self.own = own
        self._fleet = kernel.fleet

    @classmethod
    def build(cls, kernel: Kernel, settings: Settings, needs: Needs) -> Self:
        """Build the room and listen to finished checks; nothing runs before `start`."""
        own = OwnContainer(
            own_signs(),
            needs.hosts,
            finalize_url=needs.finalize_url,
            grace_s=settings[UpdatesSettings].liveness_grace_s,
        )
        room = cls(kernel, settings, needs, own)
        kernel.fleet.derive_with(room.admission.facts)
        kernel.bus.subscribe("automatic-updates", room.automatic.on_checks, ChecksFinished)
        kernel.bus.subscribe("automatic-updates-matured", room.automatic.on_mature, MaturityCleared)
        return room

    async def start(self) -> None:
        """Recover, then keep house; after the fleet was loaded and before requests are served."""
        await self.recovery.start()

    async def operation(self, operation_id: str) -> Operation:
        """One operation; `NotFound`. One that has no executor any more is examined."""
        self.recovery.expire()
        row = await self.queue.journal.get(operation_id)
        if row is None:
            raise NotFound("Update operation not found")
        return row

    async def history(self, container_id: str) -> Sequence[Operation]:
        """Operations of a container over all its ids, newest first; `NotFound` for an unknown container."""
        container = self._fleet.need(container_id)
        self.recovery.expire()
        return await self.queue.journal.of(audit_key(container), container.id)
