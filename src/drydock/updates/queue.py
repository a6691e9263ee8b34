"""Carries out operations: who waits for whom, who may run now, and what follows the end (updates.md §4).

Rows get here from `admission`, `rollbacks` and the health monitor; what happens inside one operation is `execution`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import structlog

from drydock.backoff import Backoff
from drydock.core.compose_labels import PROJECT
from drydock.core.errors import Conflict, EngineError, NotFound
from drydock.core.model import Container, audit_key
from drydock.core.operation import Operation, Status
from drydock.docker.namespaces import joins
from drydock.hosts.host import Hosts
from drydock.kernel import Kernel
from drydock.updates.completion import Completion
from drydock.updates.execution.journal import Journal
from drydock.updates.execution.locks import Locks, container_key, project_key
from drydock.updates.execution.reporting import OperationAudit
from drydock.updates.execution.worker import Outcome, Worker

log = structlog.get_logger("updates")

LONGEST_PAUSE_S = 60.0
"""Between two attempts to reach an Engine whose operations wait to be recovered."""

Work = Callable[[], Awaitable[Outcome]]


class Queue:
    """The one place that starts operations."""

    def __init__(
        self,
        kernel: Kernel,
        hosts: Hosts,
        journal: Journal,
        worker: Worker,
        locks: Locks,
        completion: Completion,
        audit: OperationAudit,
    ) -> None:
        self.journal = journal
        self.worker = worker
        self.locks = locks
        self._clock = kernel.clock
        self._fleet = kernel.fleet
        self._supervisor = kernel.supervisor
        self._hosts = hosts
        self._completion = completion
        self._audit = audit
        self._owned: set[str] = set()
        """Operations that this process carries out, or is about to."""

    def owns(self, operation_id: str) -> bool:
        """Whether this process takes care of the operation, from its acceptance until everything after its end is done."""
        return operation_id in self._owned

    def take(self, *rows: Operation) -> None:
        """Take care of these operations."""
        self._owned |= {row.id for row in rows}

    def idle(self) -> bool:
        """Whether nothing waits or runs, and everything that follows an end is done."""
        return not self._owned

    def running(self) -> int:
        """How many operations are carried out now."""
        return sum(row.status == "in-progress" for row in self.journal.active())

    def active(self, container: Container) -> Operation | None:
        """The queued or running operation of a container: by its id, or by its name on the same host."""
        key = audit_key(container)
        found = [
            row
            for row in self.journal.active()
            if container.id in (row.container_id, row.new_container_id) or row.key == key
        ]
        return max(found, key=lambda row: row.updated_at, default=None)

    def check_idle(self, container: Container) -> None:
        """`Conflict` while an operation of the container is queued or running."""
        active = self.active(container)
        if active is not None:
            how = "already queued" if active.status == "queued" else "already in progress"
            raise Conflict(f"Container update {how}")

    # ── carrying out ────────────────────────────────────────────────────────────────────────────────────────────────

    async def insert(self, operation: Operation) -> Operation:
        """Write the row of an accepted operation."""
        await self.journal.insert(operation)
        self.take(operation)
        if operation.kind == "container-update" and not operation.restart_only:
            self._audit.note_later(operation, "update-queued", "info")
        return operation

    def dispatch(self, operation: Operation) -> None:
        """Carry out a queued operation in the background."""
        self._supervisor.spawn(f"update:{operation.id}", self.execute(operation))

    async def execute(self, operation: Operation) -> Operation:
        """Wait for the locks and the permit, carry out, and do what follows. Returns the terminal row."""
        return await self.attend(operation, lambda: self.claim(operation))

    async def run(self, operation: Operation) -> Operation:
        """Write a row outside of admission (rollback, monitor) and carry it out; a disconnecting caller stops nothing."""
        if operation.container is not None:
            self.check_idle(operation.container)
        await self.journal.insert(operation)
        return await asyncio.shield(asyncio.ensure_future(self.execute(operation)))

    async def claim(self, operation: Operation) -> Outcome:
        """Take a queued operation into work, unless it was cancelled meanwhile. The caller holds its locks."""
        row = await self.journal.claim(operation.id)
        if row is None:
            return Outcome(row=await self.journal.get(operation.id) or operation)
        successor = await self.journal.successor(row.container_id)
        if successor is not None:  # created anew, for another container's sake, while this waited
            row = await self.journal.change(row.id, container_id=successor)
        return await (self.worker.restart(row) if row.restart_only else self.worker.run(row))

    async def attend(self, operation: Operation, work: Work) -> Operation:
        """Do `work` under the locks of the operation, and what follows the end of all that it carried out."""
        self.take(operation)
        try:
            # A container of the host that was never inspected may hang on the one of this operation.
            hangs_on = self._hangs_on(operation)
            if any(one.id not in hangs_on for one in self._fleet.by_host(operation.host)):
                await self.explore(operation)
            # Locked are the container, and those that are stopped and created anew with it.
            begun = (dependent.name for dependent in operation.dependents)
            names = [operation.container_name, *begun, *self._dependents(operation)]
            keys = [container_key(operation.host, name) for name in names]
            project = (operation.container.labels if operation.container else {}).get(PROJECT)
            if project and (operation.trigger_name or "").startswith("dockercompose."):
                keys.append(project_key(operation.host, project))
            async with self.locks.hold(keys, permit=not operation.by_helper):
                outcome = await work()
                for ended in outcome.all():
                    await self._completion.follow(ended, self.run)
        finally:
            self._owned.discard(operation.id)
        return outcome.row

    async def explore(self, operation: Operation) -> None:
        """Which containers hang on which, before locks are taken; waits for the Engine as long as it takes."""
        backoff = Backoff(1.0, LONGEST_PAUSE_S)
        while (host := self._hosts.get(operation.host)) is not None:
            try:
                await host.namespaces.explore(host.reader)
                return
            except EngineError as error:
                log.info("update.recovery_waits", operation=operation.id, error=error.message)
                await self._clock.sleep(backoff.next_s())

    def _hangs_on(self, operation: Operation) -> Any:
        host = self._hosts.get(operation.host)
        return host.namespaces.known if host is not None else {}

    def _dependents(self, operation: Operation) -> Iterator[str]:
        """Names of the containers that share a namespace with this one, or with one of those."""
        hangs_on = self._hangs_on(operation)
        left = {one.id: one for one in self._fleet.by_host(operation.host) if hangs_on.get(one.id)}
        owners = [(operation.container_id, operation.container_name)]
        for identity, name in owners:
            owner = {"Id": identity, "Name": name}
            for one in [one for one in left.values() if joins(hangs_on[one.id], owner)]:
                owners.append((left.pop(one.id).id, one.name))
                yield one.name

    # ── ending without carrying out ─────────────────────────────────────────────────────────────────────────────────

    async def settle(self, operation: Operation, **changes: Any) -> Operation:
        """End a queued operation without carrying it out; `changes` say why."""
        row = await self.journal.change(operation.id, follow_up_due=False, **changes)
        self._owned.discard(operation.id)
        return row

    async def cancel(self, operation_id: str) -> Operation:
        """Cancel (updates.md §3.6); the caller distinguishes 200 from 202 by the row's status. `NotFound`, or 409."""
        outcome = await self.journal.cancel(operation_id)
        if outcome is None:
            raise NotFound("Operation not found")
        row, was_active = outcome
        if not was_active:
            raise Conflict("Operation is not active", siblings={"status": row.status})
        if row.active:
            self.journal.ask_to_cancel(operation_id).set()
        else:
            await self._completion.follow(Outcome(row=row), self.run)
        return row

    async def end(self, row: Operation, status: Status, phase: str, error: str | None) -> None:
        """End an operation that a helper carried out; where it is attended in this process, what follows is done there."""
        code = "start_new_failed" if status == "rolled-back" else row.rollback_code
        due = status == "succeeded" and bool(row.dependents)
        ended = await self.journal.change(
            row.id, status=status, phase=phase, last_error=error, rollback_code=code, dependents_due=due
        )
        if not self.owns(row.id):
            await self._completion.follow(Outcome(row=ended), self.run)
