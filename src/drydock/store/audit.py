"""The collection of audit entries, kept for 30 days (platform.md §9, §11.2)."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from drydock.core.audit import AuditEntry, AuditFilter
from drydock.core.times import DAY_MS, from_iso
from drydock.store.database import Database
from drydock.store.tables import metadata

RETENTION_MS = 30 * DAY_MS

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("container_name", sa.Text, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Index("ix_audit_at", "at", "seq"),
    sa.Index("ix_audit_container_name", "container_name", "at"),
)


class AuditRecords:
    """Appends, queries and prunes audit entries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, entry: AuditEntry) -> None:
        """Store one entry; it survives a power cut once this returns."""
        async with self._database.write(durable=True) as connection:
            await connection.execute(sa.insert(audit), [_row(entry)])

    async def query(self, wanted: AuditFilter, limit: int, offset: int) -> tuple[list[AuditEntry], int]:
        """Entries newest first, and how many match in all."""
        where = _conditions(wanted)
        page = sa.select(audit.c.document).where(*where).order_by(audit.c.at.desc(), audit.c.seq.desc())
        async with self._database.read() as connection:
            total = (await connection.execute(sa.select(sa.func.count()).select_from(audit).where(*where))).scalar_one()
            rows = (await connection.execute(page.limit(limit).offset(offset))).scalars().all()
        return [msgspec.json.decode(text, type=AuditEntry) for text in rows], total

    async def prune(self, now_ms: int) -> int:
        """Delete entries older than the retention; gives how many."""
        async with self._database.write() as connection:
            gone = await connection.execute(sa.delete(audit).where(audit.c.at < now_ms - RETENTION_MS))
            return gone.rowcount


def _row(entry: AuditEntry) -> dict[str, str | int]:
    return {
        "id": entry.id,
        "at": from_iso(entry.timestamp) or 0,
        "action": entry.action,
        "container_name": entry.container_name,
        "document": msgspec.json.encode(entry).decode(),
    }


def _conditions(wanted: AuditFilter) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if wanted.actions:
        found.append(audit.c.action.in_(wanted.actions))
    if wanted.container:
        found.append(audit.c.container_name == wanted.container)
    if wanted.since is not None:
        found.append(audit.c.at >= wanted.since)
    if wanted.until is not None:
        found.append(audit.c.at <= wanted.until)
    return found
