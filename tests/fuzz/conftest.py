"""Says at the end how many cases were sent and what became of them; `DRYDOCK_FUZZ_LEAST` is how many there must be."""

from __future__ import annotations

import os

import pytest

from fuzz.known import NEVER
from fuzz.tally import TALLY


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Collect what each test sent, also from another process."""
    if report.when == "call":
        TALLY.take(report.user_properties)


def _faults() -> list[str]:
    least = int(os.environ.get("DRYDOCK_FUZZ_LEAST", "0"))
    if not least:
        return []
    faults = [f"never succeeded: {label}" for label in TALLY.unsuccessful() if label not in NEVER]
    return faults if least <= TALLY.cases else [*faults, f"only {TALLY.cases} cases, {least} are wanted"]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Too few cases, or an operation that was never reached, is a failure."""
    if _faults():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table for people; in full for a long run."""
    if os.environ.get("DRYDOCK_FUZZ_LEAST"):
        for line in TALLY.lines():
            terminalreporter.write_line(line)
    terminalreporter.write_line(f"fuzz: {TALLY.cases} cases over {len(TALLY.answers)} operations")
    for fault in _faults():
        terminalreporter.write_line(f"fuzz: {fault}", red=True)
