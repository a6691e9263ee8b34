"""The collection of container records and their decision traces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import sqlalchemy as sa
import structlog

from drydock.core.model import Container
from drydock.core.trace import Trace
from drydock.store.database import Database
from drydock.store.tables import metadata, upsert

log = structlog.get_logger("store")

containers = sa.Table(
    "containers",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("agent", sa.Text, nullable=False, server_default=""),
    sa.Column("watcher", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
)
traces = sa.Table(
    "traces",
    metadata,
    sa.Column("id", sa.Text, sa.ForeignKey("containers.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("document", sa.Text, nullable=False),
)

Record = tuple[Container, Trace | None]
PART = 100
"""Rows of one statement: between two, others have their turn."""
_decode_container = msgspec.json.Decoder(Container).decode
_decode_trace = msgspec.json.Decoder(Trace).decode
_encode = msgspec.json.Encoder().encode


class ContainerRecords:
    """Writes and reads container records. Environment values are stored as they are: the file is private."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[Record]:
        """Every record. One that cannot be read is skipped with a log line: the next check writes it anew."""
        async with self._database.read() as connection:
            query = sa.select(containers.c.id, containers.c.document, traces.c.document).outerjoin_from(
                containers, traces
            )
            rows = (await connection.execute(query)).all()
        found: list[Record] = []
        for id, document, trace in rows:
            try:
                found.append((_decode_container(document), _decode_trace(trace) if trace else None))
            except msgspec.DecodeError as error:
                log.error("store.record_unreadable", container=id, reason=str(error))
        return found

    async def put(self, records: Sequence[Record]) -> None:
        """Insert or replace records, all or none. A record without trace keeps the stored one."""
        if not records:
            return
        async with self._database.write() as connection:
            for start in range(0, len(records), PART):
                part = records[start : start + PART]
                rows = [
                    {
                        "id": one.id,
                        "agent": one.agent or "",
                        "watcher": one.watcher,
                        "name": one.name,
                        "document": _encode(one).decode(),
                    }
                    for one, _ in part
                ]
                await connection.execute(upsert(containers, self._database.dialect), rows)
                told = [{"id": one.id, "document": _encode(trace).decode()} for one, trace in part if trace is not None]
                if told:
                    await connection.execute(upsert(traces, self._database.dialect), told)

    async def remove(self, ids: Iterable[str]) -> None:
        """Forget these records and their traces."""
        wanted = list(ids)
        async with self._database.write() as connection:
            for start in range(0, len(wanted), 500):
                part = wanted[start : start + 500]
                await connection.execute(sa.delete(traces).where(traces.c.id.in_(part)))
                await connection.execute(sa.delete(containers).where(containers.c.id.in_(part)))
