"""Operations without an executor: after a start, and when they got stuck (updates.md §3.5, §9).

What to do with one is decided in `plan.recovery`; here is who is looked at, when, and how often.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from drydock.core.errors import DrydockError
from drydock.core.operation import Operation
from drydock.core.times import DAY_MS
from drydock.kernel import Kernel
from drydock.updates.actions import Actions
from drydock.updates.execution.worker import Outcome
from drydock.updates.orphans import Sweeper
from drydock.updates.queue import Queue
from drydock.updates.self_update.handover import INTERRUPTED
from drydock.updates.self_update.identity import OwnContainer
from drydock.updates.settings import UpdatesSettings

log = structlog.get_logger("updates")

MAX_ATTEMPTS = 3
HOUSEKEEPING_S = 60.0
SWEEP_S = 3600.0


class Recovery:
    """Brings interrupted operations to their end, and keeps house."""

    def __init__(
        self,
        kernel: Kernel,
        settings: UpdatesSettings,
        queue: Queue,
        actions: Actions,
        own: OwnContainer,
        sweeper: Sweeper,
    ) -> None:
        self._clock = kernel.clock
        self._fleet = kernel.fleet
        self._supervisor = kernel.supervisor
        self._settings = settings
        self._queue = queue
        self._journal = queue.journal
        self._actions = actions
        self._own = own
        self._sweeper = sweeper

    async def start(self) -> None:
        """Recover what a crash left behind, in the background; then sweep orphans and keep house."""
        rows = await self._journal.load()
        self._queue.take(*rows)
        self._supervisor.spawn("update-recovery", self._recover(rows))
        self._supervisor.start("update-housekeeping", self._housekeeping)
        await asyncio.sleep(0)

    def expire(self) -> None:
        """Rows without an executor that are too old: inspect the Engine first, then expire (updates.md §3.5)."""
        for row in self._journal.active():
            if not self._queue.owns(row.id) and self._too_old(row):
                self._queue.take(row)
                self._supervisor.spawn(f"update-expiry:{row.id}", self._recover([row]))

    async def _housekeeping(self) -> None:
        swept = self._clock.monotonic()
        while True:
            await self._clock.sleep(HOUSEKEEPING_S)
            await self._learn_own_container()
            self.expire()
            # Rows that ended `rollback-failed` less than a day ago: an operator's container is still not back.
            day_ago = self._clock.now_ms() - DAY_MS
            for row in await self._journal.stuck():
                if not self._queue.owns(row.id) and row.updated_at > day_ago:
                    await self._recover_one(row, asyncio.Semaphore(1))
            await self._journal.prune(self._settings.retention_days, self._settings.max_entries)
            if self._clock.monotonic() - swept >= SWEEP_S:
                swept = self._clock.monotonic()
                await self._sweeper.sweep()

    async def _learn_own_container(self) -> None:
        """Find out which container this process runs in, so that it is shown for what it is; asked once per host."""
        for host in {container.host for container in self._fleet.all()}:
            await self._own.learn(host)

    async def _recover(self, rows: Sequence[Operation]) -> None:
        """Running operations first, those of dependents after the ones they belong to, then the queue, then notes."""
        await self._learn_own_container()
        gate = asyncio.Semaphore(self._settings.recovery_concurrency)
        begun = [row for row in rows if row.status == "in-progress"]
        running = [row for row in begun if row.source != "dependent"]
        children = [row for row in begun if row.source == "dependent"]
        waiting = [row for row in rows if row.status == "queued"]
        due = [row for row in rows if not row.active]
        for group in (running, children, waiting, due):
            await asyncio.gather(*(self._recover_one(row, gate) for row in group))
        await self._sweeper.sweep()

    async def _recover_one(self, row: Operation, gate: asyncio.Semaphore) -> None:
        await self._queue.explore(row)  # also what the fleet does not know yet: it is as old as the last start
        async with gate:
            try:
                await self._queue.attend(row, lambda: self._revive(row))
            except DrydockError as error:
                log.error("update.recovery_failed", operation=row.id, error=error.message)

    async def _revive(self, row: Operation) -> Outcome:
        row = await self._journal.get(row.id) or row
        too_old = self._too_old(row)
        if row.by_helper and row.temp_name is None:
            return await self._end(row, "expired", INTERRUPTED)
        if row.status == "queued":
            row = await self._journal.change(row.id, attempt=row.attempt + 1)
            return await (self._end(row, "expired", too_old) if too_old else self._resume(row))
        expire = too_old or ("Tried too often" if row.attempt >= MAX_ATTEMPTS else None)
        outcome = await self._queue.worker.recover(row, expire=expire)
        return await self._resume(outcome.row) if outcome.row.status == "queued" else outcome

    async def _resume(self, row: Operation) -> Outcome:
        """Carry out a queued operation, if its container and its action are still there."""
        known = self._fleet.get(row.container_id) is not None
        if not known and row.source != "dependent" and await self._journal.successor(row.container_id) is None:
            text = f"Recovery abandoned: container {row.container_id} not found in store after restart."
            return await self._end(row, "failed", text)
        if row.kind == "container-update" and self._actions.get(row.trigger_name) is None:
            text = f"Recovery abandoned: no compatible update trigger for {row.container_name} after restart."
            return await self._end(row, "failed", text)
        return await self._queue.claim(row)

    async def _end(self, row: Operation, status: str, text: str) -> Outcome:
        return Outcome(row=await self._journal.change(row.id, status=status, phase=status, last_error=text))

    def _too_old(self, row: Operation) -> str | None:
        ttl_ms = round(self._settings.active_ttl_s * 1000)
        if not row.active or self._clock.now_ms() - row.updated_at <= ttl_ms:
            return None
        state = "queued" if row.status == "queued" else "in progress"
        return f"Marked expired after exceeding active update TTL ({ttl_ms}ms) while {state}"
