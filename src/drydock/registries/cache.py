"""What never changes, kept on disk: manifests and configurations by digest, publish dates, lists with validators (registries.md §8.3).

One SQLite file beside the store, safe to delete; a damaged one is made anew with a warning. The oldest-used entries go
when it grows over its size. Callers verify content by its hash. No tokens and no credentials are ever written here.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import structlog

T = TypeVar("T")
log = structlog.get_logger("registries")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (
    kind TEXT NOT NULL, key TEXT NOT NULL, meta TEXT NOT NULL, body BLOB NOT NULL,
    size INTEGER NOT NULL, used INTEGER NOT NULL, PRIMARY KEY (kind, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entry_used ON entry (used);
"""
OVERHEAD = 200
"""Bytes that an entry costs besides its body, roughly."""


class DiskCache:
    """Entries by kind and key: a short text and a body. `path` None keeps them in memory, `max_bytes` 0 keeps none."""

    def __init__(self, path: Path | None, max_bytes: int) -> None:
        self._path = path
        self._max = max_bytes
        self._lock = threading.Lock()
        self._tick = 0
        self._size = 0
        self._db: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open or create the file."""
        if not self._max:
            return
        try:
            self._db = await asyncio.to_thread(self._connect)
        except sqlite3.DatabaseError as error:
            log.warning("registries.cache_recreated", path=str(self._path), reason=str(error))
            await asyncio.to_thread(self._renew)

    async def close(self) -> None:
        """Close the file."""
        if self._db is not None:
            await asyncio.to_thread(self._db.close)
            self._db = None

    async def get(self, kind: str, key: str) -> tuple[str, bytes] | None:
        """Text and body of an entry, or None."""
        return await asyncio.to_thread(self._safely, self._get, kind, key) if self._db is not None else None

    async def put(self, kind: str, key: str, body: bytes, meta: str = "") -> None:
        """Keep an entry, in place of an older one of the same key."""
        if self._db is not None:
            await asyncio.to_thread(self._safely, self._put, kind, key, body, meta)

    async def drop(self, kind: str, key: str) -> None:
        """Forget an entry."""
        if self._db is not None:
            await asyncio.to_thread(self._safely, self._drop, kind, key)

    def _safely(self, work: Callable[..., T], *values: object) -> T | None:
        """Do it, or do without the cache: a full disk or a damaged file never fails a check."""
        try:
            return work(*values)
        except sqlite3.Error as error:
            log.warning("registries.cache_unusable", path=str(self._path), reason=str(error))
            if not isinstance(error, sqlite3.OperationalError):
                self._renew()
            return None

    def _drop(self, kind: str, key: str) -> None:
        self._run("DELETE FROM entry WHERE kind = ? AND key = ?", kind, key)

    def _renew(self) -> None:
        """Start with an empty file; without a cache when even that fails."""
        with self._lock:
            if self._db is not None:
                self._db.close()
            self._db = None
            try:
                for suffix in ("", "-wal", "-shm"):
                    if self._path is not None:
                        Path(f"{self._path}{suffix}").unlink(missing_ok=True)
                self._db = self._connect()
            except (OSError, sqlite3.DatabaseError) as error:
                log.warning("registries.cache_off", path=str(self._path), reason=str(error))

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path or ":memory:", check_same_thread=False, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.executescript(_SCHEMA)
            found = db.execute("SELECT coalesce(max(used), 0), coalesce(sum(size), 0) FROM entry").fetchone()
            self._tick, self._size = found
        except sqlite3.DatabaseError:
            db.close()
            raise
        return db

    def _run(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        with self._lock:
            if self._db is None:
                return []
            return self._db.execute(sql, values).fetchall()

    def _get(self, kind: str, key: str) -> tuple[str, bytes] | None:
        self._tick += 1
        rows = self._run(
            "UPDATE entry SET used = ? WHERE kind = ? AND key = ? RETURNING meta, body", self._tick, kind, key
        )
        if not rows:
            return None
        meta, body = rows[0]
        assert isinstance(meta, str), "the column is text"
        assert isinstance(body, bytes), "the column is a blob"
        try:
            return meta, zlib.decompress(body)
        except zlib.error:
            self._drop(kind, key)
            return None

    def _put(self, kind: str, key: str, body: bytes, meta: str) -> None:
        packed = zlib.compress(body, 6)
        self._tick += 1
        size = len(packed) + len(meta) + len(key) + OVERHEAD
        values = (kind, key, meta, packed, size, self._tick)
        self._run("INSERT OR REPLACE INTO entry (kind, key, meta, body, size, used) VALUES (?, ?, ?, ?, ?, ?)", *values)
        self._size += size
        if self._size > self._max:  # drop the least recently used entries until a tenth is free again
            totals = "SELECT used, sum(size) OVER (ORDER BY used DESC) AS total FROM entry"
            surplus = f"SELECT used FROM ({totals}) WHERE total > ?"
            self._run(f"DELETE FROM entry WHERE used IN ({surplus})", self._max * 9 // 10)
            rows = self._run("SELECT coalesce(sum(size), 0) FROM entry")
            self._size = int(str(rows[0][0])) if rows else 0
