"""A clock that tests move, and a real store for sessions, keys and audit entries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from drydock.store.settings import StoreSettings
from drydock.store.store import Store, open_store
from kit.clock import SkippingClock


@pytest.fixture
def clock() -> SkippingClock:
    return SkippingClock()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(StoreSettings(path=str(tmp_path)))
    yield opened
    await opened.close()
