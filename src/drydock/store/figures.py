"""How much the store holds, by collection, for the debug dump (platform-api.md §4.6)."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from drydock.core.times import to_iso
from drydock.store.database import Database
from drydock.store.documents import documents
from drydock.store.tables import metadata


async def figures(database: Database) -> dict[str, Any]:
    """Counts and sizes in all and per collection, and where and when they were last written."""
    found: list[tuple[str, int, int]] = []  # name, documents, bytes of their text
    async with database.read() as connection:
        for table in metadata.sorted_tables:
            if table is not documents:
                size = sa.func.sum(sa.func.length(table.c.document)) if "document" in table.c else sa.literal(0)
                count, length = (await connection.execute(sa.select(sa.func.count(), size).select_from(table))).one()
                found.append((str(table.name), count, length or 0))
        # the small collections share one table
        columns = (documents.c.collection, sa.func.count(), sa.func.sum(sa.func.length(documents.c.document)))
        for name, count, length in await connection.execute(sa.select(*columns).group_by(documents.c.collection)):
            found.append((name, count, length or 0))
    found.sort()
    # a database server is not named: its address may hold a password
    place: dict[str, str] = {}
    if database.location is not None:
        file = database.location.file
        place["path"] = str(file)
        written = [path.stat().st_mtime for path in (file, file.with_name(file.name + "-wal")) if path.exists()]
        if written:
            place["lastPersistAt"] = to_iso(int(max(written) * 1000))
    return {
        "memoryMode": False,
        **place,
        "collectionCount": len(found),
        "documentCount": sum(count for _, count, _ in found),
        "serializedBytes": sum(size for _, _, size in found),
        "collections": [{"name": name, "documents": count, "serializedBytes": size} for name, count, size in found],
    }
