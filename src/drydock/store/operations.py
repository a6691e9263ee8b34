"""The collection of update operations: the journal that makes updates survive a crash (updates.md §3.4).

Every write is durable before it returns. Rows hold saved container documents, with their secrets: the file is private.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
import structlog

from drydock.core.operation import ACTIVE, Operation
from drydock.store.database import Database
from drydock.store.tables import metadata, upsert

log = structlog.get_logger("store")

operations = sa.Table(
    "operations",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("container_id", sa.Text, nullable=False),
    sa.Column("new_container_id", sa.Text),
    sa.Column("old_container_id", sa.Text),
    sa.Column("unfinished", sa.Boolean, nullable=False),
    sa.Column("committed", sa.Boolean, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
)

_decode = msgspec.json.Decoder(Operation).decode
_encode = msgspec.json.Encoder().encode
KEPT_SPECS_MS = 24 * 3_600_000
"""How long the saved documents of a finished operation are kept (updates.md §3.2); failed ones keep them."""


class OperationRecords:
    """Implements `updates.journal.Rows`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, operation: Operation) -> None:
        """Insert or replace one row; it survives a power loss when this returns."""
        manual = operation.kind == "container-rollback" and operation.status == "rolled-back"
        row = {
            "id": operation.id,
            "key": operation.key,
            "container_id": operation.container_id,
            "new_container_id": operation.new_container_id,
            "old_container_id": operation.old_container_id,
            "unfinished": work_due(operation),
            "committed": operation.status == "succeeded" or manual,
            "updated_at": operation.updated_at,
            "document": _encode(operation).decode(),
        }
        async with self._database.write(durable=True) as connection:
            await connection.execute(upsert(operations, self._database.dialect), [row])

    async def get(self, operation_id: str) -> Operation | None:
        """The row of that id."""
        found = await self._select(operations.c.id == operation_id)
        return found[0] if found else None

    async def unfinished(self) -> Sequence[Operation]:
        """Active rows, and terminal ones with work due, oldest first."""
        return list(reversed(await self._select(operations.c.unfinished.is_(True))))

    async def of(self, key: str, container_id: str) -> Sequence[Operation]:
        """Rows of `agent::watcher::name`, or naming the container as old or new; newest first."""
        return await self._select(
            sa.or_(
                operations.c.key == key,
                operations.c.container_id == container_id,
                operations.c.new_container_id == container_id,
            ),
        )

    async def recent(self, limit: int) -> Sequence[Operation]:
        """The newest rows of all containers."""
        return await self._select(sa.true(), limit=limit)

    async def replaced_by(self, container_id: str) -> str | None:
        """New id from the newest committed operation whose old container this was."""
        query = (
            sa.select(operations.c.new_container_id)
            .where(operations.c.old_container_id == container_id, operations.c.committed.is_(True))
            .order_by(operations.c.updated_at.desc())
            .limit(1)
        )
        async with self._database.read() as connection:
            found: str | None = (await connection.execute(query)).scalar_one_or_none()
        return found

    async def prune(self, before_ms: int, keep: int) -> int:
        """Forget finished rows older than `before_ms` and all but the `keep` newest; returns how many."""
        done = operations.c.unfinished.is_(False)
        newest = sa.select(operations.c.id).where(done).order_by(operations.c.updated_at.desc()).limit(keep)
        too_many = operations.c.id.not_in(newest)
        async with self._database.write() as connection:
            result = await connection.execute(
                sa.delete(operations).where(done, sa.or_(operations.c.updated_at < before_ms, too_many)),
            )
        return result.rowcount

    async def drop_old_specs(self, now_ms: int) -> None:
        """Forget the saved documents, and the secrets in them, of operations that ended well a day ago."""
        for row in await self._select(operations.c.updated_at < now_ms - KEPT_SPECS_MS):
            if not work_due(row) and row.status != "failed" and (row.old_spec or row.new_spec):
                await self.save(msgspec.structs.replace(row, old_spec=None, new_spec=None))

    async def _select(self, where: Any, limit: int | None = None) -> list[Operation]:
        query = sa.select(operations.c.id, operations.c.document).where(where)
        query = query.order_by(operations.c.updated_at.desc(), operations.c.id).limit(limit)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        found: list[Operation] = []
        for id, document in rows:
            try:
                found.append(_decode(document))
            except msgspec.DecodeError as error:
                log.error("store.operation_unreadable", operation=id, reason=str(error))
        return found


def work_due(operation: Operation) -> bool:
    """Whether this row needs attention after a restart."""
    retry = operation.phase == "rollback-failed" and operation.recovery is None
    due = operation.dependents_due or operation.follow_up_due or operation.monitor_until is not None
    return operation.status in ACTIVE or retry or due
