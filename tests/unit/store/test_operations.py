"""Operations and backups on both databases; the memory twin of the rows answers the same."""

from __future__ import annotations

import msgspec
import pytest

from drydock.core.operation import Backup, ImageWanted, Operation
from drydock.store.store import Store
from drydock.updates.execution.journal import Rows
from fakes.rows import MemoryRows

WANTED = ImageWanted(reference="app:2")


def row(number: int, **more: object) -> Operation:
    fields: dict[str, object] = {
        "id": f"op-{number}",
        "container_id": f"c{number}",
        "container_name": "web",
        "status": "succeeded",
        "phase": "succeeded",
        "created_at": number,
        "updated_at": number,
        "watcher": "local",
        "wanted": WANTED,
    }
    return Operation(**{**fields, **more})  # type: ignore[arg-type]  # fields by name


@pytest.fixture(params=["store", "memory"])
async def rows(request: pytest.FixtureRequest, store: Store) -> Rows:
    return MemoryRows() if request.param == "memory" else store.operations


async def test_a_row_comes_back_as_it_was(rows: Rows) -> None:
    saved = row(1, old_spec={"Config": {"Env": ["A=b"]}}, new_container_id="n", intent="Stop")
    await rows.save(saved)
    assert await rows.get("op-1") == saved
    assert await rows.get("nobody") is None


async def test_unfinished_rows_are_found_after_a_restart(rows: Rows) -> None:
    await rows.save(row(1))
    await rows.save(row(2, status="in-progress", phase="renamed"))
    await rows.save(row(3, dependents_due=True))
    await rows.save(row(4, status="failed", phase="rollback-failed"))
    await rows.save(row(5, status="failed", phase="rollback-failed", recovery="restored-old"))
    assert [found.id for found in await rows.unfinished()] == ["op-2", "op-3", "op-4"]


async def test_history_follows_the_name_and_the_ids(rows: Rows) -> None:
    await rows.save(row(1))
    await rows.save(row(2, container_name="other", new_container_id="c9"))
    await rows.save(row(3, agent="edge"))
    assert [found.id for found in await rows.of("::local::web", "c9")] == ["op-2", "op-1"]


async def test_successors_come_from_committed_operations_only(rows: Rows) -> None:
    await rows.save(row(1, old_container_id="a", new_container_id="b"))
    await rows.save(row(2, status="rolled-back", phase="rolled-back", old_container_id="b", new_container_id="x"))
    manual = {"status": "rolled-back", "phase": "rolled-back", "kind": "container-rollback"}
    await rows.save(row(3, old_container_id="c", new_container_id="d", **manual))
    assert await rows.replaced_by("a") == "b"
    assert await rows.replaced_by("b") is None
    assert await rows.replaced_by("c") == "d"


async def test_pruning_keeps_active_rows(rows: Rows) -> None:
    for number in range(1, 6):
        await rows.save(row(number))
    await rows.save(row(0, status="queued", phase="queued"))
    assert await rows.prune(3, 2) == 3
    assert {found.id for found in await rows.of("::local::web", "")} == {"op-0", "op-4", "op-5"}


async def test_saved_documents_of_good_updates_are_dropped_after_a_day(rows: Rows) -> None:
    spec = {"Config": {"Env": ["PASSWORD=x"]}}
    await rows.save(row(1, old_spec=spec))
    await rows.save(row(2, status="failed", phase="failed", old_spec=spec))
    await rows.drop_old_specs(2 * 86_400_000)
    good, bad = await rows.get("op-1"), await rows.get("op-2")
    assert good is not None
    assert bad is not None
    assert (good.old_spec, bad.old_spec) == (None, spec)


async def test_backups_are_newest_first_and_belong_to_a_host(store: Store) -> None:
    first = Backup(
        id="1",
        container_id="c",
        container_name="web",
        image_name="nginx",
        image_tag="1",
        timestamp="2026-01-01T00:00:00.000Z",
        trigger_name="docker.local",
        watcher="local",
    )
    second = msgspec.structs.replace(first, id="2", timestamp="2026-01-02T00:00:00.000Z")
    elsewhere = msgspec.structs.replace(second, id="3", watcher="far")
    for backup in (first, second, elsewhere):
        await store.backups.save(backup)
    assert [backup.id for backup in await store.backups.of("::local::web")] == ["2", "1"]
    assert [backup.id for backup in await store.backups.all("web")] == ["2", "3", "1"]
    assert await store.backups.all("nobody") == []
    await store.backups.remove("2")
    assert [backup.id for backup in await store.backups.of("::local::web")] == ["1"]
