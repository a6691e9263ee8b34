"""What one may ask of the audit log, and the walk over all of it; on both databases."""

from __future__ import annotations

from typing import Any

import pytest

from drydock.core.audit import AuditEntry, AuditFilter
from drydock.core.times import to_iso
from drydock.store.figures import figures
from drydock.store.store import Store


def entry(number: int, **fields: Any) -> AuditEntry:
    return AuditEntry(**{"id": str(number), "timestamp": to_iso(number), "action": "preview", "container_name": "web", "status": "info", **fields})  # fmt: skip


@pytest.fixture
async def filled(store: Store) -> Store:
    await store.audit.append(
        entry(1, status="error", details='status":"success, 100% of it', container_identity_key="::local::web"),
        entry(2, status="success", container_identity_key="edge::local::web", user="Ada"),
        entry(3, container_identity_key="edge_::local::web", details="it's üblich"),
    )
    return store


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (AuditFilter(), "321"),
        (AuditFilter(status="success"), "2"),
        (AuditFilter(status="error"), "1"),
        (AuditFilter(agent="edge"), "2"),
        (AuditFilter(agent=""), "1"),
        (AuditFilter(agent="edg"), ""),
        (AuditFilter(agent="%"), ""),
        (AuditFilter(text="ada"), "2"),
        (AuditFilter(text="100%"), "1"),
        (AuditFilter(text="1_0%"), ""),
        (AuditFilter(text="it's"), "3"),
        (AuditFilter(text="üblich"), "3"),
        (AuditFilter(text="timestamp"), ""),
        (AuditFilter(text="web", status="info"), "3"),
    ],
)
async def test_filters(filled: Store, wanted: AuditFilter, found: str) -> None:
    entries, total = await filled.audit.query(wanted, 10, 0)
    assert ("".join(one.id for one in entries), total) == (found, len(found))
    walked = [one.id async for page in filled.audit.walk(wanted) for one in page]
    assert "".join(walked) == found


async def test_the_walk_crosses_pages(store: Store) -> None:
    await store.audit.append(*(entry(number) for number in range(5)))
    pages = [[one.id for one in page] async for page in store.audit.walk(AuditFilter(), 2)]
    assert pages == [["4", "3"], ["2", "1"], ["0"]]


async def test_figures(filled: Store) -> None:
    await filled.documents.put("settings", "settings", {"internetlessMode": True})
    found = await figures(filled.database)
    by_name = {one["name"]: one for one in found["collections"]}
    assert by_name["audit"]["documents"] == 3
    assert by_name["settings"] == {"name": "settings", "documents": 1, "serializedBytes": 25}
    assert found["documentCount"] == sum(one["documents"] for one in found["collections"])
    assert found["collectionCount"] == len(by_name) == len(found["collections"])
    assert found["memoryMode"] is False
    if filled.database.location is None:
        assert "path" not in found
    else:
        assert found["path"].endswith("drydock.db")
        assert found["lastPersistAt"].endswith("Z")
