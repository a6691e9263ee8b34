"""The collection of image backups (updates.md §8.1): which image a container ran before each update."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from drydock.core.operation import Backup
from drydock.store.database import Database
from drydock.store.tables import metadata, upsert

backups = sa.Table(
    "backups",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("container_name", sa.Text, nullable=False),
    sa.Column("timestamp", sa.Text, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
)

_decode = msgspec.json.Decoder(Backup).decode


class BackupRecords:
    """Writes and reads backups; newest first everywhere."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, backup: Backup) -> None:
        """Insert or replace one backup, durably."""
        row = {
            "id": backup.id,
            "key": backup.key,
            "container_name": backup.container_name,
            "timestamp": backup.timestamp,
            "document": msgspec.json.encode(backup).decode(),
        }
        async with self._database.write(durable=True) as connection:
            await connection.execute(upsert(backups, self._database.dialect), [row])

    async def all(self, container_name: str | None = None) -> Sequence[Backup]:
        """Every backup, or those of the containers of one name on any host."""
        return await self._select(backups.c.container_name == container_name if container_name else sa.true())

    async def of(self, key: str) -> Sequence[Backup]:
        """Backups of `agent::watcher::name`."""
        return await self._select(backups.c.key == key)

    async def remove(self, backup_id: str) -> None:
        """Forget one backup."""
        async with self._database.write(durable=True) as connection:
            await connection.execute(sa.delete(backups).where(backups.c.id == backup_id))

    async def _select(self, where: Any) -> list[Backup]:
        query = sa.select(backups.c.document).where(where).order_by(backups.c.timestamp.desc(), backups.c.id)
        async with self._database.read() as connection:
            return [_decode(text) for text in (await connection.execute(query)).scalars()]
