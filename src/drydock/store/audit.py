"""The collection of audit entries: append-only, chained by hashes, kept for 30 days (platform.md §9, §11.2).

Each row's `chain` is SHA-256 over the chain value before it and its document, so that a changed, inserted or removed
entry breaks every later value. `head` (the newest value) and `anchor` (the value before the oldest row kept) live among
the documents.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from drydock.core.audit import AuditEntry, AuditFilter
from drydock.core.times import DAY_MS, from_iso
from drydock.store.database import Database
from drydock.store.documents import documents
from drydock.store.tables import metadata, upsert

RETENTION_MS = 30 * DAY_MS
COLLECTION = "audit-chain"
PAGE = 1000

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("container_name", sa.Text, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("chain", sa.Text, nullable=True),
    sa.Index("ix_audit_at", "at", "seq"),
    sa.Index("ix_audit_container_name", "container_name", "at"),
)


class Verdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Outcome of a check of the chain. `broken` names the first entry that does not fit, and `reason` says why.

    `head` is the newest value: noted elsewhere, it proves later that nothing before it was changed.
    """

    intact: bool
    entries: int
    head: str
    unchained: int = 0
    broken: str | None = None
    reason: str | None = None


class AuditRecords:
    """Appends, queries, prunes and verifies audit entries."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._head: str | None = None

    async def append(self, *entries: AuditEntry) -> None:
        """Store entries in their order, all or none; they survive a power cut once this returns."""
        if not entries:
            return
        async with self._database.write(durable=True) as connection:
            # a file has one writer, who remembers the newest value; a server may have several
            if self._database.dialect == "postgresql":
                await connection.execute(sa.text("SELECT pg_advisory_xact_lock(7, 2)"))
                before = await _mark(connection, "head")
            else:
                before = await _mark(connection, "head") if self._head is None else self._head
            self._head = None  # until this is committed
            rows, chain = [_row(entry) for entry in entries], before
            for row in rows:
                chain = row["chain"] = link(chain, str(row["document"]))
            await connection.execute(sa.insert(audit), rows)
            await self._set(connection, "head", chain)
        self._head = chain

    async def query(self, wanted: AuditFilter, limit: int, offset: int) -> tuple[list[AuditEntry], int]:
        """Entries newest first, and how many match in all."""
        where = _conditions(wanted, self._database.dialect)
        page = sa.select(audit.c.document).where(*where).order_by(audit.c.at.desc(), audit.c.seq.desc())
        async with self._database.read() as connection:
            total = (await connection.execute(sa.select(sa.func.count()).select_from(audit).where(*where))).scalar_one()
            rows = (await connection.execute(page.limit(limit).offset(offset))).scalars().all()
        return [msgspec.json.decode(text, type=AuditEntry) for text in rows], total

    async def walk(self, wanted: AuditFilter, size: int = PAGE) -> AsyncIterator[list[AuditEntry]]:
        """Every entry that matches, newest first, a page at a time; entries written meanwhile are left out."""
        where = _conditions(wanted, self._database.dialect)
        columns = sa.select(audit.c.seq, audit.c.document).where(*where).order_by(audit.c.seq.desc()).limit(size)
        last: int | None = None
        while True:
            page = columns if last is None else columns.where(audit.c.seq < last)
            async with self._database.read() as connection:
                rows = (await connection.execute(page)).all()
            yield [msgspec.json.decode(row.document, type=AuditEntry) for row in rows]
            if len(rows) < size:
                return
            last = rows[-1].seq

    async def prune(self, now_ms: int) -> int:
        """Delete the oldest entries, those beyond the retention; gives how many.

        Only a prefix of the chain goes, and its last value becomes the anchor.
        """
        kept = sa.select(sa.func.min(audit.c.seq)).where(audit.c.at >= now_ms - RETENTION_MS)
        async with self._database.write(durable=True) as connection:
            first = (await connection.execute(kept)).scalar_one()
            old = audit.c.seq < first if first is not None else sa.true()
            last = sa.select(audit.c.chain).where(old).order_by(audit.c.seq.desc()).limit(1)
            chain = (await connection.execute(last)).scalar_one_or_none()
            if chain is not None:
                await self._set(connection, "anchor", chain)
            gone = await connection.execute(sa.delete(audit).where(old))
            return gone.rowcount

    async def verify(self) -> Verdict:
        """Recompute the whole chain, in one consistent view of the log."""
        async with self._database.read() as connection:
            anchor, head = await _mark(connection, "anchor"), await _mark(connection, "head")
            check, last = _Check(anchor), -1
            while True:
                page = sa.select(audit).where(audit.c.seq > last).order_by(audit.c.seq).limit(PAGE)
                rows = (await connection.execute(page)).mappings().all()
                for row in rows:
                    check.take(dict(row))
                if len(rows) < PAGE:
                    return check.verdict(head)
                last = rows[-1]["seq"]

    async def _set(self, connection: AsyncConnection, key: str, chain: str) -> None:
        row = {"collection": COLLECTION, "key": key, "document": msgspec.json.encode(chain).decode()}
        await connection.execute(upsert(documents, self._database.dialect), [row])


class _Check:
    """Walks the chain from the anchor."""

    def __init__(self, anchor: str) -> None:
        self._chain = anchor
        self._entries = 0
        self._unchained = 0
        self._broken: tuple[str, str] | None = None

    def take(self, row: Mapping[str, Any]) -> None:
        if row["chain"] is None and not self._entries:
            self._unchained += 1
            return
        self._entries += 1
        expected = link(self._chain, row["document"])
        if self._broken is None and (reason := _fault(row, expected)):
            self._broken = (row["id"], reason)
        self._chain = row["chain"] or expected

    def verdict(self, head: str) -> Verdict:
        broken = self._broken
        if broken is None and self._chain != head:
            broken = ("the newest", "entries after it are missing")
        return Verdict(
            intact=broken is None,
            entries=self._entries,
            unchained=self._unchained,
            head=head,
            broken=broken[0] if broken else None,
            reason=broken[1] if broken else None,
        )


def _fault(row: Mapping[str, Any], expected: str) -> str | None:
    if row["chain"] != expected:
        return "it, or an entry before it, was changed, inserted or removed"
    try:
        told = _row(msgspec.json.decode(row["document"], type=AuditEntry))
    except msgspec.DecodeError:
        return "it cannot be read"
    return None if all(row[name] == value for name, value in told.items()) else "its columns were changed"


def link(before: str, document: str) -> str:
    """The chain value of `document` after `before` (empty for the first entry)."""
    return hashlib.sha256(f"{before}\n{document}".encode()).hexdigest()


async def _mark(connection: AsyncConnection, key: str) -> str:
    query = sa.select(documents.c.document).where(documents.c.collection == COLLECTION, documents.c.key == key)
    text = (await connection.execute(query)).scalar_one_or_none()
    return "" if text is None else msgspec.json.decode(text, type=str)


def _row(entry: AuditEntry) -> dict[str, str | int]:
    return {
        "id": entry.id,
        "at": from_iso(entry.timestamp) or 0,
        "action": entry.action,
        "container_name": entry.container_name,
        "document": msgspec.json.encode(entry).decode(),
    }


def _conditions(wanted: AuditFilter, dialect: str) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if wanted.status:
        found.append(audit.c.document.contains(f'"status":"{wanted.status}"', autoescape=True))
    if wanted.agent is not None:
        found.append(audit.c.document.contains(f'"containerIdentityKey":"{wanted.agent}::', autoescape=True))
    if wanted.text:
        # some value of the document holds the text, in any case
        each = sa.func.json_each(audit.c.document)
        if dialect == "postgresql":
            each = sa.func.json_each_text(sa.cast(audit.c.document, sa.JSON))
        fields = each.table_valued("key", "value")
        holds = sa.cast(fields.c.value, sa.Text).icontains(wanted.text, autoescape=True)
        found.append(sa.exists(sa.select(sa.literal(1)).select_from(fields).where(holds).correlate(audit)))
    if wanted.actions:
        found.append(audit.c.action.in_(wanted.actions))
    if wanted.container:
        found.append(audit.c.container_name == wanted.container)
    if wanted.since is not None:
        found.append(audit.c.at >= wanted.since)
    if wanted.until is not None:
        found.append(audit.c.at <= wanted.until)
    return found
