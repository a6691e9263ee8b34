"""Runs operations on their Engine: the plan, recovery when the plan itself breaks, and the dependents afterwards.

What may run when (locks, cap, waves) is `service`; what happens inside is `plan`.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec
import structlog

from drydock.clock import Clock
from drydock.core.errors import Conflict, DrydockError, EngineError, EngineNotFound, EngineUnreachable
from drydock.core.model import Container
from drydock.core.operation import Dependent, ImageWanted, Operation
from drydock.core.times import from_iso
from drydock.docker.api import Engine
from drydock.docker.namespaces import Namespaces
from drydock.updates import effects as fx
from drydock.updates.executor import EngineFacts, Executor, KnownFacts, OwnSide, Surroundings, nothing_known
from drydock.updates.journal import Journal
from drydock.updates.options import PlanOptions
from drydock.updates.plan import update
from drydock.updates.preflight import SECOND_MANAGER, SECOND_MANAGER_MS, made_lately_by
from drydock.updates.recovery import recover, retry_restore
from drydock.updates.self_update.handover import attend, hand_over
from drydock.updates.self_update.not_containerised import OUTSIDE

log = structlog.get_logger("updates")

DEPENDENT_RETRIES_S = (1.0, 5.0)

EngineFor = Callable[[str, str | None], Engine]
"""`engine_for(watcher, agent)`."""


NamespacesOf = Callable[[Engine], Namespaces]
"""Where it is remembered which containers of an Engine share namespaces."""


class OptionsFor(Protocol):
    """Plan options of one operation: they depend on the action that carries it out."""

    def __call__(self, operation: Operation) -> PlanOptions: ...


class Seen(msgspec.Struct, frozen=True):
    """The documents of a new container and its image, as an update saw them last."""

    container: fx.Document
    image: fx.Document | None


class Worker:
    """Carries out one operation at a time; safe to use for many at once."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        engine_for: EngineFor,
        surroundings: Surroundings,
        options_for: OptionsFor,
        namespaces_of: NamespacesOf | None = None,
        known_facts: KnownFacts = nothing_known,
        own: OwnSide = OUTSIDE,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._engine_for = engine_for
        self._around = surroundings
        self._options_for = options_for
        self._facts = EngineFacts(clock, known_facts)
        self._seen: dict[str, Seen] = {}
        self._own = own
        self._children: defaultdict[str, list[Operation]] = defaultdict(list)
        unshared = Namespaces()
        self.namespaces_of = namespaces_of or (lambda _: unshared)

    async def run(self, operation: Operation) -> Operation:
        """From queued to terminal. A fault of this program on the way is recovered from like a crash."""
        try:
            finish = hand_over if operation.by_helper else None
            row = await self._drive(operation, update(operation, self._options_for(operation), finish))
        except Exception as error:
            log.exception("update.broken", operation=operation.id)
            row = await self._after_fault(operation, error)
        return await self._then(row)

    async def refuse_second_manager(self, container: Container) -> None:
        """`Conflict` while another manager works on the container (updates.md §9.5, row 18).

        Only one that started lately can be young. An Engine that does not answer is left to the operation itself,
        which asks again.
        """
        now = self._clock.now_ms()
        started = from_iso(container.details.started_at if container.details else None)
        if started is not None and now - started >= SECOND_MANAGER_MS:
            return
        try:
            document = await self._engine_for(container.watcher, container.agent).inspect_container(container.id)
        except EngineError as error:
            log.info("update.not_looked_at", container=container.name, error=error.message)
            return
        made_by = made_lately_by(document, now)
        if made_by is not None and await self._journal.get(made_by) is None:
            raise Conflict(SECOND_MANAGER)

    async def restart(self, operation: Operation) -> Operation:
        """A dependent that only wants a restart after what it depends on was updated (updates.md §12.3)."""
        engine = self._engine_for(operation.watcher, operation.agent)
        try:
            await engine.restart_container(operation.container_id)
        except EngineError as error:
            return await self._journal.change(operation.id, status="failed", phase="failed", last_error=error.message)
        return await self._journal.change(operation.id, status="succeeded", phase="succeeded")

    async def recover(self, operation: Operation, *, expire: str | None = None) -> Operation:
        """Bring an interrupted operation to its end, or back into the queue (`recovery.recover`)."""
        if operation.active:
            row = await self._drive(operation, self._recovery(operation, expire))
            log.info("update.recovered", operation=row.id, status=row.status, phase=row.phase, recovery=row.recovery)
            return await self._then(row)
        if operation.phase == "rollback-failed" and operation.recovery is None:
            operation = await self._drive(operation, retry_restore(operation, self._options_for(operation)))
        return await self._then(operation)

    def _recovery(self, operation: Operation, expire: str | None) -> fx.Plan[Operation]:
        options = self._options_for(operation)
        return attend(options) if operation.by_helper else recover(operation, options, expire=expire)

    async def _drive(self, operation: Operation, plan: fx.Plan[Operation]) -> Operation:
        engine = self._engine_for(operation.watcher, operation.agent)
        executor = Executor(
            operation,
            engine,
            self._journal,
            self._clock,
            self._around,
            self._facts,
            self.namespaces_of(engine),
            self._own,
        )
        row = await executor.run(plan)
        if row.status == "succeeded" and row.new_container_id in executor.seen:
            self._seen[row.id] = Seen(executor.seen[row.new_container_id], executor.seen.get(row.target_image_id or ""))
        return row

    def hangs_on(self, operation: Operation) -> Mapping[str, frozenset[str]]:
        """What the containers of the operation's Engine share namespaces with, as far as that is known."""
        try:
            engine = self._engine_for(operation.watcher, operation.agent)
        except EngineUnreachable:
            return {}
        return self.namespaces_of(engine).known(engine)

    async def runs_health_checks(self, operation: Operation) -> bool:
        """Whether the operation's Engine runs health checks by itself. Raises `EngineError`."""
        return await self._facts.runs_health_checks(self._engine_for(operation.watcher, operation.agent))

    async def explore(self, operation: Operation) -> None:
        """Learn what shares namespaces on the operation's Engine; raises `EngineError` while it does not answer."""
        try:
            engine = self._engine_for(operation.watcher, operation.agent)
        except EngineUnreachable:
            return  # no watcher of that name any more: there is nobody to ask
        await self.namespaces_of(engine).explore(engine)

    def take_children(self, operation_id: str) -> list[Operation]:
        """Ended operations that were carried out for the sake of this one; told once."""
        return self._children.pop(operation_id, [])

    def take_seen(self, operation_id: str) -> Seen | None:
        """What the operation saw of the container it made; told once."""
        return self._seen.pop(operation_id, None)

    async def _after_fault(self, operation: Operation, error: Exception) -> Operation:
        row = await self._journal.get(operation.id) or operation
        text = error.message if isinstance(error, DrydockError) else f"Internal fault: {type(error).__name__}"
        row = await self._journal.change(row.id, required=False, last_error=text)
        if row.active and row.temp_name is None:
            return await self._journal.change(row.id, status="failed", phase="failed")
        if row.active:
            return await self._drive(row, self._recovery(row, text))
        return row

    # ── dependents (updates.md §12.4) ───────────────────────────────────────────────────────────────────────────────

    async def _then(self, row: Operation) -> Operation:
        if row.active or not row.dependents_due:
            return row
        try:
            for dependent in row.dependents:
                await self._recreate(row, dependent)
            await self._remove_leftover(row)
        except DrydockError as error:
            self._around.notice(row, "update-dependents-failed", error.message)
            return row  # still due: recovery tries again
        return await self._journal.change(row.id, required=False, dependents_due=False)

    async def _remove_leftover(self, row: Operation) -> None:
        """Podman removes no container that others hang on: it goes after they were created anew."""
        engine = self._engine_for(row.watcher, row.agent)
        try:
            document = await engine.inspect_container(row.old_container_id or "")
            if document["Name"].lstrip("/") == row.temp_name:
                await engine.remove_container(document["Id"])
        except EngineNotFound:
            return

    async def _recreate(self, parent: Operation, dependent: Dependent) -> None:
        """Create a container that shared a namespace of the replaced one anew, on the same image."""
        engine = self._engine_for(parent.watcher, parent.agent)
        if (begun := self._begun(parent, dependent)) is not None:
            self._children[parent.id] += [await self.recover(begun), *self.take_children(begun.id)]
        for pause in (*DEPENDENT_RETRIES_S, None):
            try:
                document = await engine.inspect_container(dependent.id)
            except EngineNotFound:
                log.info("update.dependent_gone", operation=parent.id, container=dependent.name)
                return
            child = self._child(parent, dependent, document)
            await self._journal.insert(child)
            child = await self.run(child)
            self._children[parent.id] += [child, *self.take_children(child.id)]
            if child.status == "succeeded":
                return
            if pause is not None:
                await self._clock.sleep(pause)
        raise EngineError(f"{dependent.name} could not be created anew: {child.last_error}")

    def _begun(self, parent: Operation, dependent: Dependent) -> Operation | None:
        """What was begun for this dependent before a crash: it comes to its end first."""
        place = (parent.agent, parent.watcher, dependent.name)
        rows = (row for row in self._journal.active() if row.source == "dependent" and row.status == "in-progress")
        return next((row for row in rows if (row.agent, row.watcher, row.container_name) == place), None)

    def _child(self, parent: Operation, dependent: Dependent, document: fx.Document) -> Operation:
        now = self._clock.now_ms()
        reference = document["Config"]["Image"]
        return Operation(
            id=str(uuid.uuid4()),
            container_id=dependent.id,
            container_name=document["Name"].lstrip("/"),
            status="queued",
            phase="queued",
            created_at=now,
            updated_at=now,
            agent=parent.agent,
            watcher=parent.watcher,
            trigger_name=parent.trigger_name,
            target_image=reference,
            source="dependent",
            old_container_was_running=dependent.running,
            wanted=ImageWanted(reference=reference, image_id=document["Image"], sources=[reference]),
        )
