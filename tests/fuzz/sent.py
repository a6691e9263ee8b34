"""What was sent, counted by the tests and told at the end of the run."""

from __future__ import annotations

SENT: list[str] = []
"""The operation of every case."""
