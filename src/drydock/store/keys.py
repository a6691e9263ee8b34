"""The collection of API keys: what they may do and the SHA-256 of their secret (platform.md §13)."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec
import sqlalchemy as sa

from drydock.store.database import Database
from drydock.store.tables import metadata, upsert

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("used_at", sa.BigInteger, nullable=True),
    sa.Column("used_ip", sa.Text, nullable=True),
)

T = TypeVar("T", bound=msgspec.Struct)


class KeyRecords(Generic[T]):
    """Keys of type `T`, which has the fields `id`, `last_used_at` and `last_used_ip`."""

    def __init__(self, database: Database, kind: type[T]) -> None:
        self._database = database
        self._kind = kind

    async def all(self) -> list[T]:
        """Every key, revoked ones included."""
        async with self._database.read() as connection:
            rows = (await connection.execute(sa.select(api_keys))).all()
        found: list[T] = []
        for row in rows:
            key: Any = msgspec.json.decode(row.document, type=self._kind)
            key.last_used_at, key.last_used_ip = row.used_at, row.used_ip
            found.append(key)
        return found

    async def put(self, key: T) -> None:
        """Insert or replace a key, durably."""
        found: Any = key
        row = {
            "id": found.id,
            "document": msgspec.json.encode(key).decode(),
            "used_at": found.last_used_at,
            "used_ip": found.last_used_ip,
        }
        async with self._database.write(durable=True) as connection:
            await connection.execute(upsert(api_keys, self._database.dialect), [row])

    async def touch(self, id: str, used_at: int, address: str) -> None:
        """Remember when and from where a key was used."""
        change = sa.update(api_keys).where(api_keys.c.id == id).values(used_at=used_at, used_ip=address)
        async with self._database.write() as connection:
            await connection.execute(change)
