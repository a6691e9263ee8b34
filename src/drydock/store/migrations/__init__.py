"""The explicit steps of the schema, run at start (platform.md §11.3). One module per step in `versions/`.

A new step is `NNNN_name.py` with `revision = "NNNN"` and `down_revision` naming the one before; `HEAD` names the newest.
Steps never import the tables of today: they spell out what they create, so that their meaning never changes.
"""

from __future__ import annotations

import sqlite3

import sqlalchemy as sa

HEAD = "0005"
"""The newest revision that this version knows."""

VERSION_TABLE = "alembic_version"
_VERSION = f"SELECT version_num FROM {VERSION_TABLE}"


def upgrade(connection: sa.Connection) -> None:
    """Bring the schema to `HEAD`, inside the caller's transaction. `ConfigError` for a store of a newer version."""
    known = sa.inspect(connection).has_table(VERSION_TABLE)
    if known and connection.execute(sa.text(_VERSION)).scalars().all() == [HEAD]:
        return
    from drydock.store.migrations import steps

    steps.upgrade(connection)


def revision_of(connection: sqlite3.Connection) -> str | None:
    """The revision of a SQLite file; None when it has none yet."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", [VERSION_TABLE]).fetchone()
    row = connection.execute(_VERSION).fetchone() if known else None
    return str(row[0]) if row else None
