"""The journal: every change of an operation is durable before the next call to the Engine (updates.md §3.4).

Active rows are held in memory as well, so that the executor, a cancel and the API see one truth. Where rows are kept
is a `Rows`; `store.operations` implements it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec
import structlog

from drydock.clock import Clock
from drydock.core.errors import NotFound
from drydock.core.operation import Operation, advance, public, requeued
from drydock.updates.plan.effects import JournalError

log = structlog.get_logger("updates.journal")

CANCELLED = "Cancelled by operator"

DUPLICATE_MS = 15 * 60_000
"""How long ago an update may have succeeded to explain that the container of another is gone (updates.md §4)."""


class Rows(Protocol):
    """Durable rows. `save` returns when the row survives a power loss; it raises when it does not."""

    async def save(self, operation: Operation) -> None: ...
    async def get(self, operation_id: str) -> Operation | None: ...
    async def unfinished(self) -> Sequence[Operation]:
        """Active rows, and terminal ones with work due: dependents, follow-up, monitor, a rollback to retry."""
        ...

    async def of(self, key: str, container_id: str) -> Sequence[Operation]:
        """Rows of `agent::watcher::name`, or naming the container as old or new; newest `updated_at` first."""
        ...

    async def replaced_by(self, container_id: str) -> str | None:
        """New id from the committed operation whose old container this was."""
        ...

    async def prune(self, before_ms: int, keep: int) -> int: ...
    async def drop_old_specs(self, now_ms: int) -> None:
        """Forget saved documents, and the secrets in them, a day after their operation ended well."""
        ...


class Journal:
    """Reads and writes operations; `on_change` hears of every change of a public form, after it is durable."""

    def __init__(self, rows: Rows, clock: Clock, on_change: Callable[[Operation], None]) -> None:
        self._rows = rows
        self._clock = clock
        self._on_change = on_change
        self._active: dict[str, Operation] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._cancels: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def load(self) -> Sequence[Operation]:
        """Unfinished rows, read once at start; the active ones are live from now on."""
        rows = await self._rows.unfinished()
        for row in rows:
            self._remember(row)
        return rows

    async def insert(self, operation: Operation) -> None:
        """Write a new row; raises `JournalError` and leaves nothing behind when that fails."""
        await self._save(operation, required=True)
        self._on_change(operation)

    async def stuck(self) -> list[Operation]:
        """Rows that ended `rollback-failed` and whose container is not back yet."""
        rows = await self._rows.unfinished()
        return [row for row in rows if row.phase == "rollback-failed" and row.recovery is None]

    def active(self) -> list[Operation]:
        """Queued and running operations."""
        return list(self._active.values())

    def live(self, operation_id: str) -> Operation | None:
        """The active row of that id, without asking the store."""
        return self._active.get(operation_id)

    async def get(self, operation_id: str) -> Operation | None:
        """The row of that id, active or not."""
        return self._active.get(operation_id) or await self._rows.get(operation_id)

    async def change(self, operation_id: str, *, required: bool = True, **changes: Any) -> Operation:
        """Apply `changes` by the rules of `core.operation.advance`.

        `required`: a failed write raises `JournalError` and changes nothing. Otherwise (rollback) it is logged, and the
        row in memory goes on: bringing a container back must not wait for a disk.
        """
        async with self._locks[operation_id]:
            before = await self._known(operation_id)
            after = advance(before, self._clock.now_ms(), **changes)
            await self._save(after, required=required)
        if public(after) != public(before):
            self._on_change(after)
        return after

    async def claim(self, operation_id: str) -> Operation | None:
        """Take a queued operation into work; None when it is not queued any more (cancelled meanwhile)."""
        async with self._locks[operation_id]:
            row = self._active.get(operation_id)
            if row is None or row.status != "queued":
                return None
            row = advance(row, self._clock.now_ms(), status="in-progress", phase="pulling")
            await self._save(row, required=True)
        self._on_change(row)
        return row

    async def cancel(self, operation_id: str) -> tuple[Operation, bool] | None:
        """Cancel: a queued row ends at once, a running one is asked to. Gives the row and whether anything was to be
        cancelled; None for an unknown id. See updates.md §3.6."""
        async with self._locks[operation_id]:
            row = await self.get(operation_id)
            if row is None or not row.active:
                return None if row is None else (row, False)
            ending = {"status": "failed", "phase": "failed", "last_error": CANCELLED} if row.status == "queued" else {}
            row = advance(row, self._clock.now_ms(), cancel_requested=True, **ending)
            await self._save(row, required=True)
        self._on_change(row)
        return row, True

    async def requeue(self, operation_id: str) -> Operation:
        """Back into the queue; only recovery does that, and only where nothing was changed."""
        async with self._locks[operation_id]:
            row = requeued(await self._known(operation_id), self._clock.now_ms())
            await self._save(row, required=True)
        self._on_change(row)
        return row

    async def intent(self, operation_id: str, name: str | None, target: str | None, *, required: bool) -> None:
        """Write down what is about to be tried."""
        async with self._locks[operation_id]:
            row = await self._known(operation_id)
            await self._save(msgspec.structs.replace(row, intent=name, intent_target=target), required=required)

    def settled(self, operation_id: str) -> None:
        """The outcome of the last intent is known; written with the next change."""
        if (row := self._active.get(operation_id)) is not None:
            self._active[operation_id] = msgspec.structs.replace(row, intent=None, intent_target=None)

    def repeat(self, operation_id: str) -> None:
        """Publish the row again (heartbeat)."""
        if (row := self._active.get(operation_id)) is not None:
            self._on_change(row)

    def ask_to_cancel(self, operation_id: str) -> asyncio.Event:
        """The flag of `operation_id`; set when the operator cancelled it."""
        return self._cancels[operation_id]

    async def successor(self, container_id: str) -> str | None:
        """The container that stands in the place of `container_id` now, over any number of updates."""
        seen, current = {container_id}, await self._rows.replaced_by(container_id)
        while current is not None:
            if current in seen:
                return current
            seen.add(current)
            following = await self._rows.replaced_by(current)
            if following is None:
                return current
            current = following
        return None

    async def of(self, key: str, container_id: str) -> Sequence[Operation]:
        """History of a container, newest first."""
        return await self._rows.of(key, container_id)

    async def is_duplicate(self, row: Operation) -> bool:
        """Whether another operation on the same container runs, or has just succeeded (updates.md §4)."""
        if any(other.key == row.key and other.id != row.id for other in self._active.values()):
            return True
        since = self._clock.now_ms() - DUPLICATE_MS
        return any(
            other.id != row.id
            and other.key == row.key
            and other.status == "succeeded"
            and (other.completed_at or other.updated_at) > since
            for other in await self._rows.of(row.key, row.container_id)
        )

    async def prune(self, days: int, keep: int) -> int:
        """Forget terminal rows that are too old or too many, and saved documents that are not needed; returns how many rows."""
        await self._rows.drop_old_specs(self._clock.now_ms())
        return await self._rows.prune(self._clock.now_ms() - days * 86_400_000, keep)

    async def _known(self, operation_id: str) -> Operation:
        row = await self.get(operation_id)
        if row is None:
            raise NotFound("Update operation not found")
        return row

    async def _save(self, row: Operation, *, required: bool) -> None:
        try:
            await self._rows.save(row)
        except Exception as error:
            log.error("journal.write_failed", operation=row.id, phase=row.phase, error=str(error))
            if required:
                raise JournalError(f"The operation journal could not be written: {error}") from error
        self._remember(row)

    def _remember(self, row: Operation) -> None:
        if row.active:
            self._active[row.id] = row
            if row.cancel_requested:
                self._cancels[row.id].set()
        else:
            self._active.pop(row.id, None)
            self._cancels.pop(row.id, None)
