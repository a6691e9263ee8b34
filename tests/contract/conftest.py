"""Contract tests: real requests over HTTP to the application as it is served, with a fleet seeded through its store.

`DRYDOCK_TEST_URL=http://host:port` runs the tests that need no seeding (`api` fixture alone) against a running server.
Tests name the rows of the checklists that they cover; the end of the run prints how many are covered and which are not.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from contract.http_app import HttpApp, serve_app

ROWS = dict(
    line.split("\t") for line in Path(__file__).with_name("rows.txt").read_text().splitlines() if line[0] != "#"
)
_covered: set[str] = set()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Collect the rows, and refuse one that does not exist."""
    for item in items:
        for mark in item.iter_markers("rows"):
            unknown = set(mark.args) - set(ROWS)
            if unknown:
                raise pytest.UsageError(f"{item.nodeid} names unknown rows {sorted(unknown)}")
            _covered.update(mark.args)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker tells the process that prints the summary."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["rows"] = sorted(_covered)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Every worker collects every test."""
    _covered.update(getattr(node, "workeroutput", {}).get("rows", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which rows no test names; in full with `-v`."""
    missing = [row for row in ROWS if row not in _covered]
    terminalreporter.write_line(f"checklist: {len(_covered)} of {len(ROWS)} rows named by tests")
    if terminalreporter.verbosity > 0:
        for row in missing:
            terminalreporter.write_line(f"  {row} {ROWS[row]}")


@pytest.fixture
async def http_app(tmp_path: Path) -> AsyncIterator[HttpApp]:
    """An application of its own with an empty fleet, served over HTTP."""
    if os.environ.get("DRYDOCK_TEST_URL"):
        pytest.skip("needs a server that the test can seed")
    async with serve_app(tmp_path) as made:
        yield made


@pytest.fixture
async def api(request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    """A client of `/api/v1`: of the server named by DRYDOCK_TEST_URL, else of an `http_app`."""
    url = os.environ.get("DRYDOCK_TEST_URL")
    if not url:
        yield request.getfixturevalue("http_app").api
        return
    async with httpx.AsyncClient(base_url=re.sub("/$", "", url) + "/api/v1") as client:
        yield client
