"""Says at the end how many cases were sent."""

from __future__ import annotations

import pytest

from fuzz.sent import SENT


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for people."""
    terminalreporter.write_line(f"fuzz: {len(SENT)} cases over {len(set(SENT))} operations")
