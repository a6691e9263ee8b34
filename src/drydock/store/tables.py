"""The one collection of tables, to which every collection's module adds its own; and insert-or-replace for both databases."""

from __future__ import annotations

from functools import cache

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)


@cache
def upsert(table: sa.Table, dialect: str) -> sa.Insert:
    """An insert that replaces every other column when the primary key exists."""
    keys = [column.name for column in table.primary_key.columns]
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql

        into = postgresql.insert(table)
        changes = {c.name: into.excluded[c.name] for c in table.columns if c.name not in keys}
        return into.on_conflict_do_update(index_elements=keys, set_=changes)
    from sqlalchemy.dialects import sqlite

    lite = sqlite.insert(table)
    changes = {c.name: lite.excluded[c.name] for c in table.columns if c.name not in keys}
    return lite.on_conflict_do_update(index_elements=keys, set_=changes)
