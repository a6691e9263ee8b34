"""Small documents by collection and key: settings, secrets, preferences, the version that wrote the store."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from drydock.store.database import Database
from drydock.store.tables import metadata, upsert

documents = sa.Table(
    "documents",
    metadata,
    sa.Column("collection", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("document", sa.Text, nullable=False),
)

T = TypeVar("T")


class Documents:
    """Reads and writes documents; values are anything that msgspec encodes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, collection: str, key: str, kind: type[T]) -> T | None:
        """The document decoded as `kind`; None when there is none. `msgspec.DecodeError` when it does not fit."""
        where = (documents.c.collection == collection, documents.c.key == key)
        async with self._database.read() as connection:
            text = (await connection.execute(sa.select(documents.c.document).where(*where))).scalar_one_or_none()
        return None if text is None else msgspec.json.decode(text, type=kind)

    async def all(self, collection: str, kind: type[T]) -> dict[str, T]:
        """Every document of a collection by key."""
        query = sa.select(documents.c.key, documents.c.document).where(documents.c.collection == collection)
        async with self._database.read() as connection:
            rows = (await connection.execute(query.order_by(documents.c.key))).all()
        return {key: msgspec.json.decode(text, type=kind) for key, text in rows}

    async def put(self, collection: str, key: str, value: Any) -> None:
        """Insert or replace one document, durably."""
        row = {"collection": collection, "key": key, "document": msgspec.json.encode(value).decode()}
        async with self._database.write(durable=True) as connection:
            await connection.execute(upsert(documents, self._database.dialect), [row])

    async def remove(self, collection: str, key: str) -> None:
        """Forget one document."""
        where = (documents.c.collection == collection, documents.c.key == key)
        async with self._database.write(durable=True) as connection:
            await connection.execute(sa.delete(documents).where(*where))
