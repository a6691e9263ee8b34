"""The way back for the store when a newer Drydock, installed by a self-update, did not last (updates.md §13.4).

The newer one may have migrated the store before it failed, and the older one cannot read that. A copy was made before the
migration. It is taken up again only while the very self-update that led there is unfinished in both files: what a later,
deliberate downgrade finds is left to the operator. The newer file is kept beside it.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import structlog

from drydock.store.location import Location
from drydock.store.migrations import HEAD, revision_of

log = structlog.get_logger("store")

ACTIVE = ("queued", "in-progress")


def step_back(location: Location) -> None:
    """Put the copy of before the migration in the place of a store that a failed self-update has migrated."""
    with closing(sqlite3.connect(location.file)) as connection:
        revision = revision_of(connection)  # closing the connection also folds the write-ahead log into the file
    if revision is None or revision <= HEAD:
        return
    copy = location.directory / f"{location.file.name}.before-{HEAD}-to-{revision}"
    if not copy.exists() or not _self_updates(copy) & _self_updates(location.file):
        return
    aside = location.directory / f"{location.file.name}.after-{revision}"
    shutil.copyfile(location.file, aside)
    aside.chmod(0o600)
    restored = location.directory / f"{location.file.name}.restored"
    shutil.copyfile(copy, restored)
    for leftover in ("-wal", "-shm"):
        Path(f"{location.file}{leftover}").unlink(missing_ok=True)
    os.replace(restored, location.file)
    log.warning("store.stepped_back", revision=HEAD, copy=copy.name, kept=aside.name)


def _self_updates(file: Path) -> set[str]:
    """Ids of the unfinished self-updates; none where the file cannot be read."""
    try:
        with closing(sqlite3.connect(file)) as connection:
            rows = connection.execute("SELECT id, document FROM operations").fetchall()
    except sqlite3.Error:
        return set()
    documents = {id: json.loads(text) for id, text in rows}
    return {id for id, row in documents.items() if row.get("kind") == "self-update" and row.get("status") in ACTIVE}
