"""What each trigger has sent about each container (notifications.md §7.5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from drydock.store.database import Database
from drydock.store.tables import metadata, upsert

notification_history = sa.Table(
    "notification_history",
    metadata,
    sa.Column("trigger", sa.Text, primary_key=True),
    sa.Column("container", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("result", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
)


class Told(NamedTuple):
    """One row: `container` is `core.model.audit_key`, `result` the hash of what was sent, `at` epoch ms."""

    trigger: str
    container: str
    kind: str
    result: str
    at: int


class NotificationRecords:
    """The history of notifications."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[Told]:
        """Every row."""
        async with self._database.read() as connection:
            rows = (await connection.execute(sa.select(notification_history))).all()
        return [Told(row.trigger, row.container, row.kind, row.result, row.at) for row in rows]

    async def put(self, rows: Sequence[Told]) -> None:
        """Insert or replace rows, durably: a repeated message is worse than a slow one."""
        if not rows:
            return
        async with self._database.write(durable=True) as connection:
            await connection.execute(upsert(notification_history, self._database.dialect), [r._asdict() for r in rows])

    async def forget(self, container: str, kinds: Sequence[str]) -> None:
        """Drop what all triggers sent about a container under these kinds."""
        table = notification_history.c
        async with self._database.write(durable=True) as connection:
            await connection.execute(
                sa.delete(notification_history).where(table.container == container, table.kind.in_(kinds))
            )
