"""A fleet over a real store in a file, with a clock that stands still and every event noted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contract.world import World, build_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = await build_world(tmp_path)
    yield made
    await made.store.close()
