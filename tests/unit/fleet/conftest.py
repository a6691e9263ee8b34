"""A fleet over a real store in a file, with a clock that stands still and every event noted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contract.http_app import HttpApp, build_app


@pytest.fixture
async def http_app(tmp_path: Path) -> AsyncIterator[HttpApp]:
    made = await build_app(tmp_path)
    yield made
    await made.store.close()
