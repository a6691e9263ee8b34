"""How much the store holds, by collection, for the debug dump (platform-api.md §4.6)."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from drydock.core.times import to_iso
from drydock.store.database import Database
from drydock.store.documents import documents
from drydock.store.tables import metadata

Counted = tuple[str, int, int]
"""Name, documents, bytes of their text."""


async def figures(database: Database) -> dict[str, Any]:
    """Counts and sizes in all and per collection, and where and when they were last written."""
    async with database.read() as connection:
        found = [await _of_table(connection, table) for table in metadata.sorted_tables if table is not documents]
        found += await _of_documents(connection)
    found.sort()
    return {
        "memoryMode": False,
        **_place(database),
        "collectionCount": len(found),
        "documentCount": sum(count for _, count, _ in found),
        "serializedBytes": sum(size for _, _, size in found),
        "collections": [{"name": name, "documents": count, "serializedBytes": size} for name, count, size in found],
    }


async def _of_table(connection: AsyncConnection, table: sa.Table) -> Counted:
    size = sa.func.sum(sa.func.length(table.c.document)) if "document" in table.c else sa.literal(0)
    row = (await connection.execute(sa.select(sa.func.count(), size).select_from(table))).one()
    return str(table.name), row[0], row[1] or 0


async def _of_documents(connection: AsyncConnection) -> list[Counted]:
    """The small collections share one table."""
    columns = (documents.c.collection, sa.func.count(), sa.func.sum(sa.func.length(documents.c.document)))
    rows = (await connection.execute(sa.select(*columns).group_by(documents.c.collection))).all()
    return [(name, count, size or 0) for name, count, size in rows]


def _place(database: Database) -> dict[str, str]:
    """The file and its last write; a database server is not named, its address may hold a password."""
    if database.location is None:
        return {}
    file = database.location.file
    written = [path.stat().st_mtime for path in (file, file.with_name(file.name + "-wal")) if path.exists()]
    moment = {"lastPersistAt": to_iso(int(max(written) * 1000))} if written else {}
    return {"path": str(file), **moment}
