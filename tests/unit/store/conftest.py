"""One suite over both databases: SQLite always, PostgreSQL where Debian's server is installed."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from drydock.store.settings import StoreSettings
from drydock.store.store import Store, open_store

BINARIES = Path("/usr/lib/postgresql/15/bin")


def _as_server_user(*command: str) -> None:
    prefix = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    subprocess.run([*prefix, *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A private PostgreSQL for the test run; gives the URL of the server without a database name."""
    if not BINARIES.exists():
        pytest.skip("postgresql-15 is not installed")
    home = Path(tempfile.mkdtemp(prefix="drydock-pg-"))
    if os.getuid() == 0:
        shutil.chown(home, "postgres")
    port = _free_port()
    data = str(home / "data")
    _as_server_user(
        str(BINARIES / "initdb"), "-D", data, "-A", "trust", "-U", "drydock", "-N", "--locale=C", "-E", "UTF8"
    )
    options = f"-p {port} -k {home} -c listen_addresses=127.0.0.1 -c fsync=off"
    _as_server_user(str(BINARIES / "pg_ctl"), "-D", data, "-w", "-l", str(home / "log"), "-o", options, "start")
    try:
        yield f"drydock@127.0.0.1:{port}"
    finally:
        _as_server_user(str(BINARIES / "pg_ctl"), "-D", data, "stop", "-m", "immediate")
        shutil.rmtree(home)


async def _sql(server: str, statement: str) -> None:
    connection = await asyncpg.connect(f"postgresql://{server}/postgres")
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreSettings]:
    """Settings of a fresh, empty store."""
    if request.param == "sqlite":
        yield StoreSettings(path=str(tmp_path / "store"))
        return
    server = request.getfixturevalue("postgres")
    name = f"t{os.urandom(6).hex()}"
    asyncio.run(_sql(server, f"CREATE DATABASE {name}"))
    yield StoreSettings(url=f"postgresql+asyncpg://{server}/{name}")
    asyncio.run(_sql(server, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def store(settings: StoreSettings) -> AsyncIterator[Store]:
    """An open store."""
    opened = await open_store(settings)
    yield opened
    await opened.close()
