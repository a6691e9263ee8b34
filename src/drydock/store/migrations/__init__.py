"""The explicit steps of the schema, run at start (platform.md §11.3). One module per step in `versions/`.

A new step is `NNNN_name.py` with `revision = "NNNN"` and `down_revision` naming the one before. Steps never import the
tables of today: they spell out what they create, so that they mean the same for ever.
"""

from __future__ import annotations

import sqlite3
from functools import cache
from pathlib import Path

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from drydock.core.errors import ConfigError


@cache
def _scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def head() -> str:
    """The newest revision that this version knows."""
    found = _scripts().get_current_head()
    assert found is not None, "the first migration is part of the package"
    return found


def upgrade(connection: Connection, target: str = "head") -> None:
    """Bring the schema to `target`, inside the caller's transaction. `ConfigError` for a store of a newer version."""
    scripts = _scripts()
    context = EnvironmentContext(Config(), scripts)

    def steps(revision: str, _context: MigrationContext) -> list[RevisionStep]:
        _refuse_newer(revision)
        return scripts._upgrade_revs(target, revision)

    context.configure(connection=connection, fn=steps, transactional_ddl=True)
    context.run_migrations()


def _refuse_newer(revision: str | tuple[str, ...]) -> None:
    found = revision if isinstance(revision, str) else next(iter(revision), None)
    known = {script.revision for script in _scripts().walk_revisions()}
    if found and found not in known:
        raise ConfigError(
            f"The store was written by a newer version of Drydock (schema {found}, this one knows {head()})",
            hint="Run the newer version again, or restore the copy that it made before its migration.",
        )


def revision_of(connection: sqlite3.Connection) -> str | None:
    """The revision of a SQLite file; None when it has none yet."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if known else None
    return str(row[0]) if row else None
