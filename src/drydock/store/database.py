"""Opening the store: SQLite by default, PostgreSQL by URL; connections, transactions, migrations (platform.md §11).

SQLite: WAL, `BEGIN IMMEDIATE` for every write (the driver would start none before a SELECT and lose updates), one
writer at a time. Journal and audit commit with `synchronous=FULL` (`write(durable=True)`), the rest with `NORMAL`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy import event
from sqlalchemy.ext.asyncio.engine import AsyncConnection, AsyncEngine, create_async_engine

from drydock.core.errors import ConfigError
from drydock.store import migrations
from drydock.store.location import Location
from drydock.store.settings import StoreSettings
from drydock.store.stepback import step_back

log = structlog.get_logger("store")


class Database:
    """Connections to one store. Use `read()` and `write()`; each is one transaction."""

    def __init__(
        self, durable: AsyncEngine, quick: AsyncEngine, reader: AsyncEngine, location: Location | None
    ) -> None:
        self._durable = durable
        self._quick = quick
        self._reader = reader
        self.location = location
        self._turn = asyncio.Lock()

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._durable.dialect.name

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads."""
        async with self._reader.begin() as connection:
            yield connection

    @asynccontextmanager
    async def write(self, *, durable: bool = False) -> AsyncIterator[AsyncConnection]:
        """A transaction that writes; `durable` survives a power cut at the moment it returns.

        Writers of this process wait for each other here, fairly, instead of inside SQLite.
        """
        engine = self._durable if durable else self._quick
        async with self._turn, engine.begin() as connection:
            if self.dialect == "postgresql" and not durable:
                await connection.execute(sa.text("SET LOCAL synchronous_commit TO OFF"))
            yield connection

    async def close(self) -> None:
        """Close every connection and give the lock back."""
        for engine in {self._durable, self._quick, self._reader}:
            await engine.dispose()
        if self.location is not None:
            self.location.tighten()
            self.location.unlock()


async def open_database(settings: StoreSettings) -> Database:
    """Open and migrate the store.

    Raises `StoreLocked` when another process uses it, `StoreCorrupt` when the file is damaged, `ConfigError` when it
    cannot be used or was written by a newer version.
    """
    return await (_open_server(settings.url) if settings.url else _open_file(settings))


async def _open_file(settings: StoreSettings) -> Database:
    location = Location(settings)
    location.prepare()
    location.lock()
    try:
        location.check_header()
        await asyncio.to_thread(_check_and_copy, location)
        durable = _sqlite(location, "FULL", "BEGIN IMMEDIATE")
        quick = _sqlite(location, "NORMAL", "BEGIN IMMEDIATE")
        reader = _sqlite(location, "NORMAL", "BEGIN")
        async with durable.begin() as connection:
            await connection.run_sync(migrations.upgrade)
    except sqlite3.DatabaseError as error:
        location.unlock()
        raise location.corrupt(str(error)) from error
    except BaseException:
        location.unlock()
        raise
    location.tighten()
    return Database(durable, quick, reader, location)


async def _open_server(url: str) -> Database:
    try:
        engine = create_async_engine(url, pool_size=5, pool_pre_ping=True)
        async with engine.begin() as connection:
            await connection.execute(sa.text("SELECT pg_advisory_xact_lock(7, 0)"))
            await connection.run_sync(migrations.upgrade)
    except (OSError, sa.exc.SQLAlchemyError, ModuleNotFoundError) as error:
        raise ConfigError(
            f"The database of DD_STORE_URL cannot be used: {type(error).__name__}",
            hint="Check host, port, name and credentials; `postgresql+asyncpg://user:password@host/database` is expected.",
        ) from error
    return Database(engine, engine, engine, None)


def _check_and_copy(location: Location) -> None:
    """Check the file, and copy it when a migration is about to change it. Runs in a thread."""
    if not location.file.exists() or location.file.stat().st_size == 0:
        return
    with sqlite3.connect(location.file) as connection:
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise location.corrupt(verdict)
    connection.close()
    step_back(location)
    with sqlite3.connect(location.file) as connection:
        revision = migrations.revision_of(connection)
        if revision is not None and revision < migrations.HEAD:
            target = location.directory / f"{location.file.name}.before-{revision}-to-{migrations.HEAD}"
            with sqlite3.connect(target) as copy:
                connection.backup(copy)
            copy.close()
            target.chmod(0o600)
            location.prune_copies()
            log.info("store.copied_before_migration", file=target.name)
    connection.close()


def _sqlite(location: Location, synchronous: str, begin: str) -> AsyncEngine:
    engine = create_async_engine(f"sqlite+aiosqlite:///{location.file}", pool_size=1, max_overflow=0)

    @event.listens_for(engine.sync_engine, "connect")
    def _setup(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # BEGIN is sent explicitly
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            f"synchronous={synchronous}",
            "foreign_keys=ON",
            "busy_timeout=5000",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
