"""The same suite over SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from drydock.core.audit import AuditEntry, AuditFilter
from drydock.core.errors import ConfigError
from drydock.core.times import to_iso
from drydock.core.trace import Step, Trace
from drydock.store import migrations
from drydock.store.audit import RETENTION_MS
from drydock.store.documents import documents
from drydock.store.location import Location, StoreCorrupt, StoreLocked
from drydock.store.migrations import steps
from drydock.store.settings import StoreSettings
from drydock.store.store import Store, open_store
from drydock.store.tables import metadata
from kit.containers import container

TRACE = Trace(steps=[Step(stage="kind", outcome="pass", reason="minor")], checked_at="2026-01-01T00:00:00.000Z")


def entry(number: int, action: str = "update-applied", name: str = "web") -> AuditEntry:
    return AuditEntry(id=f"e{number}", timestamp=to_iso(number), action=action, container_name=name, status="success")


async def test_records_come_back_as_they_went_in(store: Store) -> None:
    first, second = container(1, update="1.1.0"), container(2, name="ünïcode")
    await store.containers.put([(first, TRACE), (second, None)])
    assert dict(_by_id(await store.containers.all())) == {first.id: (first, TRACE), second.id: (second, None)}


def _by_id(records: list) -> list:
    return [(record[0].id, record) for record in records]


async def test_a_put_without_trace_keeps_the_stored_one(store: Store) -> None:
    await store.containers.put([(container(1), TRACE)])
    await store.containers.put([(container(1, status="exited"), None)])
    assert await store.containers.all() == [(container(1, status="exited"), TRACE)]


async def test_removal_takes_the_trace_along(store: Store) -> None:
    await store.containers.put([(container(n), TRACE) for n in range(1, 4)])
    await store.containers.remove([container(1).id, container(3).id, "unknown"])
    assert [record[0].id for record in await store.containers.all()] == [container(2).id]
    async with store.database.read() as connection:
        left = (await connection.execute(sa.text("SELECT count(*) FROM traces"))).scalar_one()
    assert left == 1


async def test_an_unreadable_record_is_skipped_and_the_others_load(store: Store) -> None:
    await store.containers.put([(container(1), None), (container(2), None)])
    async with store.database.write() as connection:
        await connection.execute(
            sa.text("UPDATE containers SET document = '{' WHERE id = :id"), {"id": container(1).id}
        )
    assert [record[0].id for record in await store.containers.all()] == [container(2).id]


async def test_everything_survives_reopening(settings: StoreSettings) -> None:
    store = await open_store(settings)
    await store.containers.put([(container(1), TRACE)])
    await store.documents.put("settings", "main", {"updateMode": "auto"})
    await store.close()
    again = await open_store(settings)
    assert await again.containers.all() == [(container(1), TRACE)]
    assert await again.documents.get("settings", "main", dict) == {"updateMode": "auto"}
    await again.close()


async def test_documents(store: Store) -> None:
    await store.documents.put("preferences", "b", [1])
    await store.documents.put("preferences", "a", [2])
    await store.documents.put("preferences", "a", [3])
    assert await store.documents.all("preferences", list) == {"a": [3], "b": [1]}
    await store.documents.remove("preferences", "a")
    assert await store.documents.get("preferences", "a", list) is None


async def test_retention_expires(store: Store) -> None:
    await store.retention.put("policy", "::local::web", "{}", 2_000)
    await store.retention.put("lifecycle", "local::web", "{}", 1_000)
    assert [row[:2] for row in await store.retention.load(999)] == [
        ("lifecycle", "local::web"),
        ("policy", "::local::web"),
    ]
    assert [row[:2] for row in await store.retention.load(1_000)] == [("policy", "::local::web")]
    await store.retention.remove("policy", "::local::web")
    assert await store.retention.load(0) == []


async def test_audit_is_newest_first_and_filtered(store: Store) -> None:
    for number in range(1, 6):
        await store.audit.append(entry(number, action="rollback" if number % 2 else "preview", name=f"c{number}"))
    found, total = await store.audit.query(AuditFilter(actions=("rollback",)), 2, 0)
    assert ([item.id for item in found], total) == (["e5", "e3"], 3)
    found, total = await store.audit.query(AuditFilter(since=2, until=4), 10, 1)
    assert ([item.id for item in found], total) == (["e3", "e2"], 3)
    found, total = await store.audit.query(AuditFilter(container="c4"), 10, 0)
    assert ([item.id for item in found], total) == (["e4"], 1)


async def test_entries_of_one_instant_keep_their_order(store: Store) -> None:
    for name in "abc":
        await store.audit.append(AuditEntry(id=name, timestamp=to_iso(7), action="x", container_name="", status="info"))
    found, _ = await store.audit.query(AuditFilter(), 10, 0)
    assert [item.id for item in found] == ["c", "b", "a"]


async def test_audit_prunes_after_thirty_days(store: Store) -> None:
    await store.audit.append(entry(1))
    await store.audit.append(entry(2))
    assert await store.audit.prune(RETENTION_MS + 2) == 1
    assert (await store.audit.query(AuditFilter(), 10, 0))[1] == 1


async def test_concurrent_read_then_write_loses_nothing(store: Store) -> None:
    await store.documents.put("n", "n", 0)

    async def add_one() -> None:
        async with store.database.write() as connection:
            text = (await connection.execute(sa.select(documents.c.document))).scalar_one()
            await connection.execute(sa.update(documents).values(document=str(int(text) + 1)))

    await asyncio.gather(*(add_one() for _ in range(50)))
    assert await store.documents.get("n", "n", int) == 50


async def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    async def fail() -> None:
        async with store.database.write() as connection:
            await connection.execute(sa.insert(documents).values(collection="a", key="b", document="1"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert await store.documents.get("a", "b", int) is None


async def test_migrations_create_what_the_tables_say(store: Store) -> None:
    def columns(connection: sa.Connection) -> dict[str, set[str]]:
        inspector = sa.inspect(connection)
        return {name: {c["name"] for c in inspector.get_columns(name)} for name in metadata.tables}

    async with store.database.read() as connection:
        found = await connection.run_sync(columns)
    assert found == {name: set(table.columns.keys()) for name, table in metadata.tables.items()}


# the file


@pytest.fixture
def files(tmp_path: Path) -> StoreSettings:
    return StoreSettings(path=str(tmp_path / "store"))


async def test_a_second_process_is_refused(files: StoreSettings) -> None:
    store = await open_store(files)
    with pytest.raises(StoreLocked) as refused:
        await open_store(files)
    assert "DD_STORE_PATH" in (refused.value.hint or "")
    await store.close()
    await (await open_store(files)).close()


@pytest.mark.parametrize("content", [b"garbage " * 200, b"SQLite format 3\x00" + b"\xff" * 8000])
async def test_a_damaged_file_is_told_clearly(files: StoreSettings, content: bytes) -> None:
    file = Path(files.path, files.file)
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(StoreCorrupt) as refused:
        await open_store(files)
    assert str(file) in refused.value.message
    assert "Move the file aside" in (refused.value.hint or "")
    assert file.read_bytes() == content


async def test_files_are_private(files: StoreSettings) -> None:
    store = await open_store(files)
    await store.documents.put("a", "b", 1)
    await store.close()
    modes = {path.name: path.stat().st_mode & 0o777 for path in Path(files.path).iterdir()}
    assert Path(files.path).stat().st_mode & 0o777 == 0o700
    assert set(modes.values()) == {0o600}


async def test_the_file_is_copied_before_a_migration(files: StoreSettings) -> None:
    store = await open_store(files)
    await store.documents.put("a", "b", 1)
    await store.close()
    with sqlite3.connect(Path(files.path, files.file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
    connection.close()
    with pytest.raises(ConfigError, match="newer version"):
        await open_store(files)
    copies = Location(files).copies()
    assert len(copies) == 1
    with sqlite3.connect(copies[0]) as connection:
        assert connection.execute("SELECT document FROM documents").fetchall() == [("1",)]
    connection.close()


async def test_no_copy_without_a_migration(files: StoreSettings) -> None:
    for _ in range(2):
        await (await open_store(files)).close()
    assert Location(files).copies() == []


async def test_an_old_json_store_is_left_alone(tmp_path: Path) -> None:
    old = tmp_path / "dd.json"
    old.write_text('{"collections": []}')
    store = await open_store(StoreSettings(path=str(tmp_path), file="dd.json"))
    await store.close()
    assert old.read_text() == '{"collections": []}'
    assert (tmp_path / "drydock.db").exists()


@pytest.mark.parametrize("file", ["../x.db", "/x.db", ".", "a/../../x"])
async def test_the_file_must_lie_inside_the_directory(tmp_path: Path, file: str) -> None:
    with pytest.raises(ConfigError, match="DD_STORE_FILE"):
        await open_store(StoreSettings(path=str(tmp_path), file=file))


async def test_an_unreachable_server_is_told_without_credentials() -> None:
    with pytest.raises(ConfigError) as refused:
        await open_store(StoreSettings(url="postgresql+asyncpg://user:hunter2@127.0.0.1:1/none"))
    assert "hunter2" not in f"{refused.value} {refused.value.hint}"


def test_there_is_one_line_of_migrations() -> None:
    revisions = [script.revision for script in steps.scripts().walk_revisions()]
    assert revisions == sorted(revisions, reverse=True)
    assert migrations.HEAD == steps.head() == revisions[0]


PREPARING = """
import asyncio, sys
from drydock.store.settings import StoreSettings
from drydock.store.prepare import prepare
from drydock.store.store import open_store

async def main():
    await (await open_store(settings)).close()

settings = StoreSettings(path=sys.argv[1])
prepare(settings)
asyncio.run(main())
print("alembic" in sys.modules)
"""


@pytest.mark.parametrize("known", [False, True])
async def test_the_tools_of_migrations_stay_in_a_child(files: StoreSettings, known: bool) -> None:
    if known:
        await (await open_store(files)).close()
    told = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", PREPARING, files.path], capture_output=True, text=True
    )
    assert told.stdout.strip() == "False", told.stderr
