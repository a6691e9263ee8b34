"""A host with an update waiting, and everything an update needs, in memory."""

from __future__ import annotations

import logging

import pytest
import structlog

from fakes.update_harness import UpdateHarness


@pytest.fixture(autouse=True, scope="session")
def _quiet() -> None:
    """Thousands of updates fail on purpose here: their log would be all there is to see."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@pytest.fixture
def harness() -> UpdateHarness:
    return UpdateHarness()
