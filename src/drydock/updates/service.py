"""Updates as everybody else sees them: accept, queue, carry out, cancel, look up, recover at start (updates.md §2–§4, §9).

What happens inside one operation is `worker` and below; what follows its end is `aftermath`. Manual rollbacks, lifecycle
actions and previews have modules of their own and share `Desk`.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from drydock.clock import Clock
from drydock.core.compose_labels import PROJECT
from drydock.core.errors import Conflict, DrydockError, EngineError, NotFound
from drydock.core.model import ActiveOperation, Container, audit_key
from drydock.core.operation import ImageWanted, Operation, Status, active_view, public
from drydock.core.policy.eligibility import EligibilityContext
from drydock.core.recreate import joins
from drydock.core.update import update_kind
from drydock.events import BatchFinished, Bus, ContainerAction, OperationChanged
from drydock.fleet.fleet import Fleet
from drydock.request_context import requester
from drydock.supervisor import Supervisor
from drydock.updates import admission
from drydock.updates.actions import Actions
from drydock.updates.completion import Aftermath
from drydock.updates.compose.locate import fitting
from drydock.updates.journal import Journal
from drydock.updates.locks import Locks, container_key, project_key
from drydock.updates.orphans import Sweeper
from drydock.updates.self_update.handover import INTERRUPTED
from drydock.updates.self_update.identity import OwnProcess
from drydock.updates.settings import UpdateMode, UpdateSettings
from drydock.updates.targets import described, wanted_image
from drydock.updates.worker import Worker

log = structlog.get_logger("updates")

MAX_ATTEMPTS = 3
LIVE = ("running", "restarting", "paused")
"""States of a container that counts as running: it is to run again after the update."""
HOUSEKEEPING_S = 60.0
SWEEP_S = 3600.0
LONGEST_PAUSE_S = 60.0
"""Between two attempts to reach an Engine whose operations wait to be recovered."""


ModeNow = Callable[[], Awaitable[UpdateMode]]
"""The update mode in force; it may be changed at any time."""


class Rejection(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One container of a bulk request that is not updated."""

    container_id: str
    container_name: str
    status_code: int
    message: str


class Accepted(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One container of a bulk request that will be."""

    container_id: str
    container_name: str
    operation_id: str


class Bulk(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Outcome of a bulk request."""

    accepted: list[Accepted]
    rejected: list[Rejection]


class UpdateService:
    """The one place that starts operations."""

    def __init__(
        self,
        *,
        journal: Journal,
        worker: Worker,
        aftermath: Aftermath,
        sweeper: Sweeper,
        fleet: Fleet,
        bus: Bus,
        clock: Clock,
        supervisor: Supervisor,
        actions: Actions,
        locks: Locks,
        settings: UpdateSettings,
        mode: ModeNow,
        own: OwnProcess,
        gate: Callable[[Container], dict[str, Any]],
        window_open: Callable[[Container], bool | None],
    ) -> None:
        self.journal = journal
        self.actions = actions
        self.locks = locks
        self.settings = settings
        self._worker = worker
        self._aftermath = aftermath
        self._sweeper = sweeper
        self._fleet = fleet
        self._bus = bus
        self._clock = clock
        self._supervisor = supervisor
        self._mode = mode
        self._own = own
        self._gate = gate
        self._window_open = window_open
        self._owned: set[str] = set()

    # ── what is known ───────────────────────────────────────────────────────────────────────────────────────────────

    def running(self) -> int:
        """How many operations are carried out now."""
        return sum(one.status == "in-progress" for one in self.journal.active())

    def changed(self, row: Operation) -> None:
        """The journal tells of a change; without a cap, `queued` is never shown (updates.md §4)."""
        if row.status == "queued" and not self.settings.max_concurrent:
            return
        self._bus.publish(OperationChanged(operation=public(row)))
        self._fleet.touch(*(one for one in (row.container_id, row.new_container_id) if one))

    def active(self, container: Container) -> Operation | None:
        """The queued or running operation of a container: by its id, or by its name on the same host."""
        key = audit_key(container)
        found = [
            row
            for row in self.journal.active()
            if container.id in (row.container_id, row.new_container_id) or row.key == key
        ]
        return max(found, key=lambda row: row.updated_at, default=None)

    def active_operation(self, container: Container) -> ActiveOperation | None:
        """The same, as the container shows it."""
        row = self.active(container)
        return active_view(row) if row else None

    def eligibility(self, container: Container) -> EligibilityContext:
        """Facts for `core.policy.eligibility`; shown with the container, and used to admit."""
        return EligibilityContext(
            triggers=fitting(self.actions.all(), container.labels),
            active_operation=self.active_operation(container),
            is_self=self._own.is_self(container),
            self_update_possible=self._own.possible(container),
            labels_strict=self.settings.labels_strict,
            window_open=self._window_open(container),
            **self._gate(container),
        )

    async def get(self, operation_id: str) -> Operation:
        """One operation; `NotFound`."""
        await self._expire()
        row = await self.journal.get(operation_id)
        if row is None:
            raise NotFound("Update operation not found")
        return row

    async def history(self, container_id: str) -> Sequence[Operation]:
        """Operations of a container over all its ids, newest first; `NotFound` for an unknown container."""
        container = self._fleet.need(container_id)
        await self._expire()
        return await self.journal.of(audit_key(container), container.id)

    # ── accepting ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def request(self, container_id: str, *, source: str = "manual", trigger_id: str | None = None) -> Operation:
        """Admit and queue the update of one container (updates.md §2.1). Raises the answer of the first failing check.

        `trigger_id` names the action that carries it out, where the caller chose one.
        """
        admission.check_enabled(self.settings.actions_enabled)
        operation = await self.accept(self._fleet.need(container_id), source=source, trigger_id=trigger_id)
        self.dispatch(operation)
        return operation

    async def check(self, container: Container) -> None:
        """Raise the answer a manual request would get."""
        if container.agent is None:
            await self._own.learn(container.watcher)
        admission.check_container(
            container, self.active(container), await self._mode(), self.eligibility(container), self._clock.now_ms()
        )
        await self._worker.refuse_second_manager(container)

    async def accept(
        self,
        container: Container,
        *,
        source: str = "manual",
        trigger_id: str | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> Operation:
        """Admit one container and write its row; nothing is started. Of several who ask at once one is admitted."""
        async with self.locks.hold([f"admission:{audit_key(container)}"], permit=False):
            await self.check(container)
            context = self.eligibility(container)
            action = self.actions.get(trigger_id or admission.need_action(container, context))
            operation = self._row(
                container,
                source=source,
                trigger_name=action.id if action else None,
                dry_run=bool(action and action.dry_run),
                **self._how(container),
                **(more or {}),
            )
            row = await self._insert(operation)
        if source == "manual":
            self._bus.publish(ContainerAction(action="container-update"))
        return row

    def _how(self, container: Container) -> dict[str, Any]:
        kind = "self-update" if self._own.is_self(container) else "container-update"
        return {"kind": kind, "by_helper": self._own.by_helper(container)}

    async def refuse_self(self, container: Container) -> None:
        """`Conflict` for what this process cannot do to its own container."""
        await self._own.learn(container.watcher)
        if container.agent is None and self._own.by_helper(container):
            raise Conflict(
                "Drydock cannot roll back what it runs on",
                hint="Set the image of the wanted version in the Compose file, or recreate the container from outside.",
            )

    async def _insert(self, operation: Operation) -> Operation:
        await self.journal.insert(operation)
        self._owned.add(operation.id)
        if operation.kind == "container-update" and not operation.restart_only:
            audit = self._aftermath.audit(operation, "update-queued", "info", None)
            self._supervisor.spawn("audit:update-queued", audit)
        return operation

    def _row(self, container: Container, **more: Any) -> Operation:
        now, kind = self._clock.now_ms(), update_kind(container)
        wanted: ImageWanted = more.pop("wanted", None) or wanted_image(container)
        fields: dict[str, Any] = {
            "id": str(uuid.uuid4()),
            "container_id": container.id,
            "container_name": container.name,
            "status": "queued",
            "phase": "queued",
            "created_at": now,
            "updated_at": now,
            "agent": container.agent,
            "watcher": container.watcher,
            "from_version": kind.local_value or described(container),
            "to_version": kind.remote_value or wanted.tag,
            "target_image": wanted.reference,
            "old_container_was_running": container.status.lower() in LIVE,
            "wanted": wanted,
            "container": container,
            "requested_by": requester(),
        }
        return Operation(**{**fields, **more})

    async def accept_many(self, containers: Sequence[Container], restarts: Collection[str]) -> list[Operation]:
        """Write the rows of containers that were admitted; two or more share a batch. `restarts` are only restarted."""
        batch: dict[str, Any] = {}
        rows: list[Operation] = []
        if len(containers) > 1:
            batch = {"batch_id": str(uuid.uuid4()), "queue_total": len(containers)}
        for place, container in enumerate(containers, 1):
            more = {**batch, "queue_position": place} if batch else {}
            if container.id in restarts:
                rows.append(await self._insert(self._row(container, restart_only=True, **more)))
            else:
                rows.append(await self.accept(container, more=more))
        return rows

    def bulk(self, rows: Sequence[Operation], rejected: list[Rejection]) -> Bulk:
        """The outcome of a bulk request."""
        accepted = [
            Accepted(container_id=row.container_id, container_name=row.container_name, operation_id=row.id)
            for row in rows
        ]
        return Bulk(accepted=accepted, rejected=rejected)

    def sketch(self, container: Container) -> Operation:
        """A row that is never written: for audit entries about an update that did not begin."""
        return self._row(container)

    def now_ms(self) -> int:
        """Wall time in epoch milliseconds."""
        return self._clock.now_ms()

    # ── carrying out ────────────────────────────────────────────────────────────────────────────────────────────────

    def dispatch(self, operation: Operation) -> asyncio.Task[None]:
        """Carry out a queued operation in the background."""
        return self._supervisor.spawn(f"update:{operation.id}", self._execute_quietly(operation))

    async def _execute_quietly(self, operation: Operation) -> None:
        await self.execute(operation)

    async def execute(self, operation: Operation) -> Operation:
        """Wait for the locks and the permit, carry out, and do what follows. Returns the terminal row."""
        return await self._with_locks(operation, lambda: self._claimed(operation))

    async def _claimed(self, operation: Operation) -> Operation:
        row = await self.journal.claim(operation.id)
        if row is None:
            return await self.get(operation.id)
        successor = await self.journal.successor(row.container_id)
        if successor is not None:  # created anew, for another container's sake, while this waited
            row = await self.journal.change(row.id, container_id=successor)
        return await (self._worker.restart(row) if row.restart_only else self._worker.run(row))

    async def _with_locks(self, operation: Operation, work: Callable[[], Awaitable[Operation]]) -> Operation:
        self._owned.add(operation.id)
        try:
            if self._knows_too_little(operation):
                await self._explore(operation)
            async with self.locks.hold(self.keys(operation), permit=not operation.by_helper):
                row = await work()
                await self._aftermath.follow(row, self._worker.take_seen(row.id))
                for child in self._worker.take_children(row.id):
                    await self._aftermath.follow(child, self._worker.take_seen(child.id))
        finally:
            self._owned.discard(operation.id)
        return row

    def keys(self, operation: Operation) -> list[str]:
        """The locks an operation needs: of its container, and of those that are stopped and created anew with it."""
        begun = (dependent.name for dependent in operation.dependents)
        names = [operation.container_name, *begun, *self._dependents(operation)]
        keys = [container_key(operation.agent, operation.watcher, name) for name in names]
        project = (operation.container.labels if operation.container else {}).get(PROJECT)
        if project and (operation.trigger_name or "").startswith("dockercompose."):
            keys.append(project_key(operation.agent, operation.watcher, project))
        return keys

    async def settle(self, operation: Operation, **changes: Any) -> Operation:
        """End a queued operation without carrying it out; whoever skips it says why in `changes`."""
        row = await self.journal.change(operation.id, follow_up_due=False, **changes)
        self._owned.discard(operation.id)
        return row

    def _knows_too_little(self, operation: Operation) -> bool:
        """Whether some container of the host was never inspected: it may hang on the one of this operation."""
        hangs_on = self._worker.hangs_on(operation)
        return any(one.id not in hangs_on for one in self._fleet.by_host(operation.host))

    def _dependents(self, operation: Operation) -> Iterator[str]:
        """Names of the containers that share a namespace with this one, or with one of those."""
        hangs_on = self._worker.hangs_on(operation)
        left = {one.id: one for one in self._fleet.by_host(operation.host) if hangs_on.get(one.id)}
        owners = [(operation.container_id, operation.container_name)]
        for identity, name in owners:
            owner = {"Id": identity, "Name": name}
            found = [one for one in left.values() if joins(hangs_on[one.id], owner)]
            for one in found:
                owners.append((left.pop(one.id).id, one.name))
                yield one.name

    def batch_finished(self, ended: Sequence[Operation], began_ms: int) -> None:
        """Tell that every operation of a batch is terminal."""
        good = [row for row in ended if row.status == "succeeded"]
        bad = [row for row in ended if row.status in ("failed", "rolled-back")]
        items = [
            {"operationId": row.id, "containerId": row.container_id, "containerName": row.container_name,
             "status": row.status}
            for row in ended
        ]  # fmt: skip
        summary = {
            "batchId": ended[0].batch_id,
            "total": len(ended),
            "succeeded": len(good),
            "failed": len(bad),
            "durationMs": self._clock.now_ms() - began_ms,
            "items": items,
        }
        self._bus.publish(BatchFinished(summary=summary))

    async def run_now(self, container: Container, **fields: Any) -> Operation:
        """Write a row outside of admission (rollback, monitor) and carry it out; a disconnecting caller stops nothing."""
        admission.check_idle(self.active(container))
        operation = self._row(container, **fields)
        await self.journal.insert(operation)
        task = asyncio.ensure_future(self.execute(operation))
        return await asyncio.shield(task)

    # ── cancelling ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def cancel(self, operation_id: str) -> Operation:
        """Cancel (updates.md §3.6); the caller tells 200 from 202 by the row's status. `NotFound`, or 409."""
        outcome = await self.journal.cancel(operation_id)
        if outcome is None:
            raise NotFound("Operation not found")
        row, was_active = outcome
        if not was_active:
            raise Conflict("Operation is not active", siblings={"status": row.status})
        if row.active:
            self.journal.ask_to_cancel(operation_id).set()
        else:
            await self._aftermath.follow(row)
        return row

    async def end(self, row: Operation, status: Status, phase: str, error: str | None) -> None:
        """End an operation that somebody else carried out; whoever attends it here does what follows."""
        code = "start_new_failed" if status == "rolled-back" else row.rollback_code
        due = status == "succeeded" and bool(row.dependents)
        ended = await self.journal.change(
            row.id, status=status, phase=phase, last_error=error, rollback_code=code, dependents_due=due
        )
        if row.id not in self._owned:
            await self._aftermath.follow(ended)

    # ── start, housekeeping ─────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Recover what a crash left behind, in the background; then sweep orphans and keep house."""
        rows = await self.journal.load()
        self._owned |= {row.id for row in rows}
        self._supervisor.spawn("update-recovery", self._recover(rows))
        self._supervisor.start("update-housekeeping", self._housekeeping)
        await asyncio.sleep(0)

    async def _recover(self, rows: Sequence[Operation]) -> None:
        await self._know_ourselves()
        gate = asyncio.Semaphore(self.settings.boot_concurrency)
        begun = [row for row in rows if row.status == "in-progress"]
        running = [row for row in begun if row.source != "dependent"]
        children = [row for row in begun if row.source == "dependent"]
        waiting = [row for row in rows if row.status == "queued"]
        due = [row for row in rows if not row.active]
        for group in (running, children, waiting, due):
            await asyncio.gather(*(self._recover_one(row, gate) for row in group))
        await self._sweeper.sweep()

    async def _know_ourselves(self) -> None:
        """Find out which container this process runs in, so that it is shown for what it is; asked once per Engine."""
        for watcher in {container.watcher for container in self._fleet.all() if container.agent is None}:
            await self._own.learn(watcher)

    async def _recover_one(self, row: Operation, gate: asyncio.Semaphore) -> None:
        await self._explore(row)  # also what the fleet does not know yet: it is as old as the last start
        async with gate:
            try:
                await self._with_locks(row, lambda: self._revive(row))
            except DrydockError as error:
                log.error("update.recovery_failed", operation=row.id, error=error.message)

    async def _explore(self, row: Operation) -> None:
        """Which containers hang on which, before locks are taken; waits for the Engine as long as it takes."""
        pause = 1.0
        while row.agent is None:
            try:
                await self._worker.explore(row)
                return
            except EngineError as error:
                log.info("update.recovery_waits", operation=row.id, error=error.message)
                await self._clock.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _revive(self, row: Operation) -> Operation:
        row = await self.journal.get(row.id) or row
        too_old = self._too_old(row)
        if row.by_helper and row.temp_name is None:
            return await self.journal.change(row.id, status="expired", phase="expired", last_error=INTERRUPTED)
        if row.status == "queued":
            row = await self.journal.change(row.id, attempt=row.attempt + 1)
            return await self._resume_queued(row, too_old)
        expire = too_old or ("Tried too often" if row.attempt >= MAX_ATTEMPTS else None)
        row = await self._worker.recover(row, expire=expire)
        return await self._resume_queued(row, None) if row.status == "queued" else row

    async def _resume_queued(self, row: Operation, too_old: str | None) -> Operation:
        if too_old is not None:
            return await self.journal.change(row.id, status="expired", phase="expired", last_error=too_old)
        known = (
            self._fleet.get(row.container_id) is not None or await self.journal.successor(row.container_id) is not None
        )
        problem = None
        if not known and row.source != "dependent":
            problem = f"Recovery abandoned: container {row.container_id} not found in store after restart."
        elif row.kind == "container-update" and self.actions.get(row.trigger_name) is None:
            problem = f"Recovery abandoned: no compatible update trigger for {row.container_name} after restart."
        if problem is not None:
            return await self.journal.change(row.id, status="failed", phase="failed", last_error=problem)
        return await self._claimed(row)

    def _too_old(self, row: Operation) -> str | None:
        ttl = self.settings.active_ttl_ms
        if not row.active or self._clock.now_ms() - row.updated_at <= ttl:
            return None
        state = "queued" if row.status == "queued" else "in progress"
        return f"Marked expired after exceeding active update TTL ({ttl}ms) while {state}"

    async def _expire(self) -> None:
        """Rows that nobody carries out and that are too old: look at the Engine first, then expire (updates.md §3.5)."""
        for row in self.journal.active():
            if row.id not in self._owned and self._too_old(row):
                self._owned.add(row.id)
                self._supervisor.spawn(f"update-expiry:{row.id}", self._recover([row]))

    async def _housekeeping(self) -> None:
        swept = self._clock.monotonic()
        while True:
            await self._clock.sleep(HOUSEKEEPING_S)
            await self._know_ourselves()
            await self._expire()
            await self._retry_failed_rollbacks()
            await self.journal.prune(self.settings.retention_days, self.settings.max_entries)
            if self._clock.monotonic() - swept >= SWEEP_S:
                swept = self._clock.monotonic()
                await self._sweeper.sweep()

    async def _retry_failed_rollbacks(self) -> None:
        """Rows that ended `rollback-failed` less than a day ago: an operator's container is still not back."""
        day_ago = self._clock.now_ms() - 86_400_000
        for row in await self.journal.stuck():
            if row.id not in self._owned and row.updated_at > day_ago:
                await self._recover_one(row, asyncio.Semaphore(1))
