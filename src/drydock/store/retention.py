"""What survives the recreation of a container for a while: clocks and policy overrides (watching.md §9.3)."""

from __future__ import annotations

from typing import Literal

import sqlalchemy as sa

from drydock.store.database import Database
from drydock.store.tables import metadata, upsert

retention = sa.Table(
    "retention",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
)

Kind = Literal["lifecycle", "policy"]


class RetentionRecords:
    """Entries with an expiry, in epoch ms."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, kind: Kind, key: str, document: str, expires_at: int) -> None:
        """Insert or replace one entry."""
        row = {"kind": kind, "key": key, "document": document, "expires_at": expires_at}
        async with self._database.write() as connection:
            await connection.execute(upsert(retention, self._database.dialect), [row])

    async def remove(self, kind: Kind, key: str) -> None:
        """Forget one entry."""
        async with self._database.write() as connection:
            await connection.execute(sa.delete(retention).where(retention.c.kind == kind, retention.c.key == key))

    async def load(self, now_ms: int) -> list[tuple[str, str, str, int]]:
        """Live entries as (kind, key, document, expires at), oldest first; expired ones are deleted."""
        async with self._database.write() as connection:
            await connection.execute(sa.delete(retention).where(retention.c.expires_at <= now_ms))
            rows = await connection.execute(sa.select(retention).order_by(retention.c.expires_at))
            return [(row.kind, row.key, row.document, row.expires_at) for row in rows]
