"""Runs operations on their host: the plan, recovery when the plan itself breaks, and the dependents afterwards.

What may run when (locks, cap, waves) is `queue`; what happens inside is `plan`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import msgspec
import structlog

from drydock.clock import Clock
from drydock.core.errors import DrydockError, EngineError, EngineNotFound
from drydock.core.operation import Dependent, ImageWanted, Operation
from drydock.docker.api import Document
from drydock.hosts.host import Hosts
from drydock.hosts.local import full_engine
from drydock.updates.execution.executor import Executor, Surroundings
from drydock.updates.execution.journal import Journal
from drydock.updates.plan import effects as fx
from drydock.updates.plan.options import PlanOptions
from drydock.updates.plan.recovery import recover, retry_restore
from drydock.updates.plan.update import update
from drydock.updates.self_update.handover import attend, hand_over

log = structlog.get_logger("updates")

DEPENDENT_RETRIES_S = (1.0, 5.0)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended: the row, the documents of the new container and its image as they were seen last, and the
    operations that were carried out for the sake of this one."""

    row: Operation
    container: Document | None = None
    image: Document | None = None
    children: list[Outcome] = []

    def all(self) -> Iterator[Outcome]:
        """This one and everything below it, in the order in which it began."""
        yield self
        for child in self.children:
            yield from child.all()


class Worker:
    """Carries out one operation at a time; safe to use for many at once. `options_for` gives the plan's options."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        hosts: Hosts,
        surroundings: Surroundings,
        options_for: Callable[[Operation], PlanOptions],
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._hosts = hosts
        self._around = surroundings
        self._options_for = options_for

    async def run(self, operation: Operation) -> Outcome:
        """From queued to terminal. A fault of this program on the way is recovered from like a crash."""
        try:
            finish = hand_over if operation.by_helper else None
            outcome = await self._drive(operation, update(operation, self._options_for(operation), finish))
        except Exception as error:
            log.exception("update.broken", operation=operation.id)
            row = await self._journal.get(operation.id) or operation
            text = error.message if isinstance(error, DrydockError) else f"Internal fault: {type(error).__name__}"
            row = await self._journal.change(row.id, required=False, last_error=text)
            if row.active and row.temp_name is None:
                row = await self._journal.change(row.id, status="failed", phase="failed")
            outcome = await self._drive(row, self._recovery(row, text)) if row.active else Outcome(row=row)
        return await self._with_dependents(outcome)

    async def restart(self, operation: Operation) -> Outcome:
        """A dependent that only wants a restart after what it depends on was updated (updates.md §12.3)."""
        try:
            await full_engine(self._hosts.of(operation)).restart_container(operation.container_id)
        except EngineError as error:
            row = await self._journal.change(operation.id, status="failed", phase="failed", last_error=error.message)
        else:
            row = await self._journal.change(operation.id, status="succeeded", phase="succeeded")
        return Outcome(row=row)

    async def recover(self, operation: Operation, *, expire: str | None = None) -> Outcome:
        """Bring an interrupted operation to its end, or back into the queue (`plan.recovery`)."""
        outcome = Outcome(row=operation)
        if operation.active:
            outcome = await self._drive(operation, self._recovery(operation, expire))
            row = outcome.row
            log.info("update.recovered", operation=row.id, status=row.status, phase=row.phase, recovery=row.recovery)
        elif operation.phase == "rollback-failed" and operation.recovery is None:
            outcome = await self._drive(operation, retry_restore(operation, self._options_for(operation)))
        return await self._with_dependents(outcome)

    def _recovery(self, operation: Operation, expire: str | None) -> fx.Plan[Operation]:
        options = self._options_for(operation)
        return attend(options) if operation.by_helper else recover(operation, options, expire=expire)

    async def _drive(self, operation: Operation, plan: fx.Plan[Operation]) -> Outcome:
        host = self._hosts.of(operation)
        executor = Executor(operation, host, self._journal, self._clock, self._around)
        row, seen = await executor.run(plan), executor.seen
        if row.status != "succeeded" or row.new_container_id is None:
            return Outcome(row=row)
        return Outcome(row=row, container=seen.get(row.new_container_id), image=seen.get(row.target_image_id or ""))

    # ── dependents (updates.md §12.4) ───────────────────────────────────────────────────────────────────────────────

    async def _with_dependents(self, outcome: Outcome) -> Outcome:
        """Create the containers anew that shared a namespace of the replaced one."""
        row = outcome.row
        if row.active or not row.dependents_due:
            return outcome
        children: list[Outcome] = []
        try:
            engine = full_engine(self._hosts.of(row))
            for dependent in row.dependents:
                await self._recreate(row, dependent, children)
            # Podman removes no container that others hang on: it goes after they were created anew.
            try:
                document = await engine.inspect_container(row.old_container_id or "")
                if document["Name"].lstrip("/") == row.temp_name:
                    await engine.remove_container(document["Id"])
            except EngineNotFound:
                pass
        except DrydockError as error:
            self._around.notice(row, "update-dependents-failed", error.message)
            return msgspec.structs.replace(outcome, children=children)  # still due: recovery tries again
        row = await self._journal.change(row.id, required=False, dependents_due=False)
        return msgspec.structs.replace(outcome, row=row, children=children)

    async def _recreate(self, parent: Operation, dependent: Dependent, done: list[Outcome]) -> None:
        """Create one dependent anew on the same image; what ended on the way is added to `done`."""
        # What was begun for it before a crash comes to its end first.
        for row in self._journal.active():
            begun = row.source == "dependent" and row.status == "in-progress"
            if begun and (row.host, row.container_name) == (parent.host, dependent.name):
                done.append(await self.recover(row))
                break
        engine = self._hosts.of(parent).reader
        for pause in (*DEPENDENT_RETRIES_S, None):
            try:
                document = await engine.inspect_container(dependent.id)
            except EngineNotFound:
                log.info("update.dependent_gone", operation=parent.id, container=dependent.name)
                return
            child = self._child(parent, dependent, document)
            await self._journal.insert(child)
            outcome = await self.run(child)
            done.append(outcome)
            if outcome.row.status == "succeeded":
                return
            if pause is not None:
                await self._clock.sleep(pause)
        raise EngineError(f"{dependent.name} could not be recreated: {outcome.row.last_error}")

    def _child(self, parent: Operation, dependent: Dependent, document: Document) -> Operation:
        now, reference = self._clock.now_ms(), document["Config"]["Image"]
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
