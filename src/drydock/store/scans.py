"""Scan results by image digest, and which findings a container was last alerted about (security.md §6, §9)."""

from __future__ import annotations

import sqlalchemy as sa

from drydock.store.database import Database
from drydock.store.tables import metadata, upsert

scans = sa.Table(
    "scans",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
)
alerts = sa.Table(
    "scan_alerts",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("findings", sa.Text, nullable=False),
)


class ScanRecords:
    """Results of the digest cache; they can be lost without harm, so writes are not durable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> list[tuple[str, str]]:
        """Digest and document, oldest first."""
        query = sa.select(scans.c.digest, scans.c.document).order_by(scans.c.at)
        async with self._database.read() as connection:
            return [(row.digest, row.document) for row in await connection.execute(query)]

    async def put(self, key: str, document: str, at: int) -> None:
        """Insert or replace one result; `at` in epoch ms."""
        row = {"digest": key, "document": document, "at": at}
        async with self._database.write() as connection:
            await connection.execute(upsert(scans, self._database.dialect), [row])

    async def remove(self, keys: list[str]) -> None:
        """Forget results."""
        async with self._database.write() as connection:
            await connection.execute(sa.delete(scans).where(scans.c.digest.in_(keys)))


class AlertRecords:
    """The fingerprint of the findings that a container was last alerted about."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, key: str) -> str | None:
        """The fingerprint; None when there was no alert yet."""
        query = sa.select(alerts.c.findings).where(alerts.c.key == key)
        async with self._database.read() as connection:
            return (await connection.execute(query)).scalar_one_or_none()

    async def put(self, key: str, findings: str) -> None:
        """Remember an alert."""
        async with self._database.write() as connection:
            row = {"key": key, "findings": findings}
            await connection.execute(upsert(alerts, self._database.dialect), [row])
