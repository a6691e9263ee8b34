"""The collection of sessions: one row per browser, the id only as its SHA-256 (platform.md §5).

Rows are mappings; the auth room gives them their type (the store knows the core only).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec
import sqlalchemy as sa

from drydock.store.database import Database
from drydock.store.tables import metadata

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("username", sa.Text, nullable=True),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Index("ix_sessions_username", "username"),
    sa.Index("ix_sessions_expires_at", "expires_at"),
)

T = TypeVar("T", bound=msgspec.Struct)


class SessionRecords(Generic[T]):
    """Sessions of type `T`, which has the fields `key`, `user` and `expires_at`."""

    def __init__(self, database: Database, kind: type[T]) -> None:
        self._database = database
        self._kind = kind

    async def get(self, key: str) -> T | None:
        """The session with this key; None when there is none or its shape is foreign."""
        query = sa.select(sessions.c.document).where(sessions.c.key == key)
        async with self._database.read() as connection:
            text = (await connection.execute(query)).scalar_one_or_none()
        return None if text is None else self._decoded(text)

    async def insert(self, session: T) -> None:
        """Store a new session."""
        async with self._database.write() as connection:
            await connection.execute(sa.insert(sessions), [_row(session)])

    async def update(self, session: T) -> None:
        """Write a session that is still there; one that was deleted meanwhile stays deleted."""
        row = _row(session)
        async with self._database.write() as connection:
            await connection.execute(sa.update(sessions).where(sessions.c.key == row["key"]).values(row))

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove sessions, durably: a user signed out."""
        async with self._database.write(durable=True) as connection:
            await connection.execute(sa.delete(sessions).where(sessions.c.key.in_(list(keys))))

    async def of_user(self, user: str) -> list[T]:
        """All sessions of a user, expired ones included."""
        query = sa.select(sessions.c.document).where(sessions.c.username == user)
        async with self._database.read() as connection:
            found = (await connection.execute(query)).scalars().all()
        return [session for text in found if (session := self._decoded(text)) is not None]

    async def delete_expired(self, now_ms: int) -> int:
        """Remove what has expired; how many there were."""
        async with self._database.write() as connection:
            gone = await connection.execute(sa.delete(sessions).where(sessions.c.expires_at <= now_ms))
            return gone.rowcount

    def _decoded(self, text: str) -> T | None:
        try:
            return msgspec.json.decode(text, type=self._kind)
        except msgspec.DecodeError:
            return None


def _row(session: Any) -> dict[str, Any]:
    return {
        "key": session.key,
        "username": session.user,
        "expires_at": session.expires_at,
        "document": msgspec.json.encode(session).decode(),
    }
