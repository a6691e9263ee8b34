"""A newer version that migrated the store and failed: the older one goes on with the copy (updates.md §13.4)."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from drydock.core.errors import ConfigError
from drydock.core.operation import ImageWanted, Operation
from drydock.store.migrations import HEAD
from drydock.store.settings import StoreSettings
from drydock.store.store import open_store

NEWER = "9999"


def row(**changes: Any) -> Operation:
    fields: dict[str, Any] = {
        "id": "op",
        "container_id": "a" * 64,
        "container_name": "drydock",
        "status": "in-progress",
        "phase": "new-created",
        "created_at": 1,
        "updated_at": 1,
        "watcher": "local",
        "kind": "self-update",
        "by_helper": True,
        "wanted": ImageWanted(reference="drydock:2"),
    }
    return Operation(**{**fields, **changes})


async def write(folder: Path, operation: Operation) -> None:
    store = await open_store(StoreSettings(path=str(folder)))
    await store.operations.save(operation)
    await store.close()


async def migrated(folder: Path, before: Operation, after: Operation) -> None:
    """What a newer version leaves: a copy of before, and a file that says so."""
    await write(folder, before)
    file = folder / "drydock.db"
    (folder / f"drydock.db.before-{HEAD}-to-{NEWER}").write_bytes(file.read_bytes())
    await write(folder, after)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [NEWER])
        connection.execute("CREATE TABLE of_the_newer_version (x)")
        connection.commit()


async def test_an_unfinished_self_update_takes_the_store_back(tmp_path: Path) -> None:
    await migrated(tmp_path, row(), row(phase="new-started"))
    store = await open_store(StoreSettings(path=str(tmp_path)))
    found = await store.operations.get("op")
    await store.close()
    assert found is not None
    assert found.phase == "new-created", "as it was before the newer version came"
    assert (tmp_path / f"drydock.db.after-{NEWER}").exists(), "nothing is thrown away"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (row(), row(status="succeeded", phase="succeeded")),
        (row(kind="container-update"), row(kind="container-update")),
        (row(status="succeeded", phase="succeeded"), row(id="another")),
    ],
)
async def test_anything_else_is_left_to_the_operator(tmp_path: Path, before: Operation, after: Operation) -> None:
    await migrated(tmp_path, before, after)
    kept = (tmp_path / "drydock.db").read_bytes()
    with pytest.raises(ConfigError, match="newer version"):
        await open_store(StoreSettings(path=str(tmp_path)))
    assert (tmp_path / "drydock.db").read_bytes() == kept


async def test_without_the_copy_there_is_no_way_back(tmp_path: Path) -> None:
    await migrated(tmp_path, row(), row())
    (tmp_path / f"drydock.db.before-{HEAD}-to-{NEWER}").unlink()
    with pytest.raises(ConfigError, match="newer version"):
        await open_store(StoreSettings(path=str(tmp_path)))
