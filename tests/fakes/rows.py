"""The journal's rows in memory: encoded at every write, so that what comes back is what a disk would give."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from drydock.core.operation import Operation
from drydock.store.operations import KEPT_SPECS_MS, work_due


class MemoryRows:
    """Implements `updates.journal.Rows`. `before` and `after` run around every write and may raise."""

    def __init__(self) -> None:
        self.rows: dict[str, bytes] = {}
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None

    async def save(self, operation: Operation) -> None:
        self.before()
        self.rows[operation.id] = msgspec.json.encode(operation)
        self.after()

    async def get(self, operation_id: str) -> Operation | None:
        data = self.rows.get(operation_id)
        return None if data is None else msgspec.json.decode(data, type=Operation)

    def all(self) -> list[Operation]:
        """Every row, in order of creation."""
        return [msgspec.json.decode(data, type=Operation) for data in self.rows.values()]

    async def unfinished(self) -> Sequence[Operation]:
        return [row for row in self.all() if work_due(row)]

    async def of(self, key: str, container_id: str) -> Sequence[Operation]:
        mine = [r for r in self.all() if r.key == key or container_id in (r.container_id, r.new_container_id)]
        return sorted(mine, key=lambda row: row.updated_at, reverse=True)

    async def replaced_by(self, container_id: str) -> str | None:
        for row in self.all():
            committed = row.status == "succeeded" or (row.kind == "container-rollback" and row.status == "rolled-back")
            if committed and row.old_container_id == container_id:
                return row.new_container_id
        return None

    async def prune(self, before_ms: int, keep: int) -> int:
        done = sorted((r for r in self.all() if not r.active), key=lambda row: row.updated_at, reverse=True)
        gone = [row for n, row in enumerate(done) if n >= keep or row.updated_at < before_ms]
        for row in gone:
            del self.rows[row.id]
        return len(gone)

    async def drop_old_specs(self, now_ms: int) -> None:
        for row in self.all():
            if not work_due(row) and row.status != "failed" and row.updated_at < now_ms - KEPT_SPECS_MS:
                await self.save(msgspec.structs.replace(row, old_spec=None, new_spec=None))
