"""Health checks that the Engine does not run by itself (updates.md §7.1).

Podman leaves them to timers of systemd; without systemd a container stays `starting` for ever. There the gate runs the
container's own check through exec, by the check's own interval, start period and retries.
"""

from __future__ import annotations

from typing import Any

import msgspec

from drydock.core.errors import EngineError
from drydock.core.operation import Operation
from drydock.updates.effects import CurrentRow, Document, Plan, Probe, RunsHealthChecks, record

NANO = 1_000_000_000
INTERVAL_S, TIMEOUT_S, RETRIES = 30.0, 30.0, 3
"""The Engine's defaults for what a check leaves open."""
START_INTERVAL_S = 5.0
"""While failures do not count yet, look more often."""
NOTE = "This Engine may not run health checks by itself: the update ran the container's check through exec"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """A health check, times in seconds."""

    command: tuple[str, ...]
    interval_s: float
    timeout_s: float
    start_period_s: float
    retries: int


def check_of(document: Document) -> Check | None:
    """The container's check; None without one, or in a form that nobody knows."""
    found: Document = document["Config"].get("Healthcheck") or {}
    command = _command(found.get("Test") or [])
    if not command:
        return None
    return Check(
        command=command,
        interval_s=(found.get("Interval") or 0) / NANO or INTERVAL_S,
        timeout_s=(found.get("Timeout") or 0) / NANO or TIMEOUT_S,
        start_period_s=(found.get("StartPeriod") or 0) / NANO,
        retries=found.get("Retries") or RETRIES,
    )


def _command(test: Any) -> tuple[str, ...]:
    match test:
        case ["CMD", *words]:
            return tuple(words)
        case ["CMD-SHELL", script, *_]:
            return ("/bin/sh", "-c", script)
    return ()


class Prober:
    """Runs one container's check when it is due, and counts as the Engine would."""

    def __init__(self, container: str, check: Check, began: float) -> None:
        self._container = container
        self._check = check
        self._began = began
        self._due = began
        self._failures = 0

    def verdict(self, now: float) -> Plan[str | None]:
        """`healthy`, `unhealthy`, or None while it is not decided; `now` is monotonic."""
        if now < self._due:
            return None
        passed: bool = yield Probe(self._container, self._check.command, self._check.timeout_s)
        if passed:
            return "healthy"
        starting = now - self._began < max(self._check.start_period_s, self._check.interval_s)
        self._failures += not starting
        self._due = now + (min(START_INTERVAL_S, self._check.interval_s) if starting else self._check.interval_s)
        return "unhealthy" if self._failures >= self._check.retries else None


def prober(document: Document, now: float) -> Plan[Prober | None]:
    """A prober where the Engine leaves the check to somebody else, None where it runs it or does not say."""
    check = check_of(document)
    if check is None:
        return None
    try:
        runs_checks: bool = yield RunsHealthChecks()
    except EngineError:
        return None
    if runs_checks:
        return None
    row: Operation = yield CurrentRow()
    if NOTE not in row.warnings:
        yield record(warnings=[*row.warnings, NOTE])
    return Prober(document["Id"], check, now)
