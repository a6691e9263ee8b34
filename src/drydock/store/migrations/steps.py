"""Runs the steps of `versions/` with Alembic. Imported only when a store needs them: Alembic and Mako take 10 MB and 0.3 s."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from drydock.core.errors import ConfigError


@cache
def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def head() -> str:
    """The newest revision that this version knows."""
    found = scripts().get_current_head()
    assert found is not None, "the first migration is part of the package"
    return found


def upgrade(connection: Connection, target: str = "head") -> None:
    """Bring the schema to `target`, inside the caller's transaction. `ConfigError` for a store of a newer version."""
    found = scripts()
    context = EnvironmentContext(Config(), found)

    def steps(revision: str, _context: MigrationContext) -> list[RevisionStep]:
        present = revision if isinstance(revision, str) else next(iter(revision), None)
        if present and present not in {script.revision for script in found.walk_revisions()}:
            raise ConfigError(
                f"The store was written by a newer version of Drydock (schema {present}, this one knows {head()})",
                hint="Run the newer version again, or restore the copy that it made before its migration.",
            )
        return found._upgrade_revs(target, revision)

    context.configure(connection=connection, fn=steps, transactional_ddl=True)
    context.run_migrations()
