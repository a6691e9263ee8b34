"""Environment numbers live as long as the store (dockhand-stats.md §3)."""

from __future__ import annotations

import asyncio
from pathlib import Path

from drydock.compat.dockhand.environments import StoredNumbers
from drydock.store.settings import StoreSettings
from drydock.store.store import open_store
from kit.clock import NEW_YEAR_MS, ManualClock


async def test_numbers_survive_and_are_never_given_twice(tmp_path: Path) -> None:
    settings = StoreSettings(path=str(tmp_path))
    store = await open_store(settings)
    numbers = StoredNumbers(store.documents, ManualClock(NEW_YEAR_MS))
    both = await asyncio.gather(numbers.number("::local"), numbers.number("edge::local"), numbers.number("::local"))
    assert [each.id for each in both] == [1, 2, 1]
    assert both[0].created_at == "2026-01-01T00:00:00.000Z"
    await store.close()

    store = await open_store(settings)
    later = StoredNumbers(store.documents, ManualClock(1_800_000_000_000))
    assert (await later.number("::far")).id == 3
    assert await later.number("::local") == both[0]
    await store.close()
