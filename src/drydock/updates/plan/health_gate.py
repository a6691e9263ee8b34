"""Is the new container alive, and is it well? (updates.md §5.1 step 9, §7.1)

Both are plans over one container id. Times come from the container's own health check and label.
"""

from __future__ import annotations

import msgspec

from drydock.core.errors import EngineError, EngineNotFound
from drydock.core.operation import Operation
from drydock.docker.api import Document
from drydock.docker.host import EngineFacts
from drydock.updates.plan.effects import (
    CurrentRow,
    Identify,
    Inspect,
    Instant,
    Now,
    Plan,
    Probe,
    Sleep,
    StepFailed,
    Touch,
    reach,
    record,
)
from drydock.updates.plan.options import PlanOptions

WINDOW_LABEL = "dd.rollback.window"
NANO = 1_000_000_000
INTERVAL_S, TIMEOUT_S, RETRIES = 30.0, 30.0, 3
"""The Engine's defaults for what a check leaves open."""
START_INTERVAL_S = 5.0
"""While failures do not count yet, look more often."""
NOTE = "This Engine may not run health checks by itself: the update ran the container's check through exec"


class NotAlive(StepFailed):
    """The new container does not run."""

    code = "container-not-running"


class NotHealthy(StepFailed):
    """The health gate failed or ran out of time."""

    code = "health-gate-failed"
    rollback_code = "health_gate_failed"


def alive(container: str, options: PlanOptions, *, fresh: bool = True) -> Plan[Document]:
    """Wait the grace time and look: the container must run, and not be restarting. Returns its document.

    `fresh`: it was started just now, so that any restart by its policy is a failure, also one that runs at the moment.
    """
    if options.settings.liveness_grace_s:
        yield Sleep(options.settings.liveness_grace_s)
    document: Document = yield Inspect(container)
    state = document["State"]
    if not state.get("Running"):
        reason = state.get("Error") or f"exit code {state.get('ExitCode', 'unknown')}"
        raise NotAlive(f"Container {_name(document)} stopped right after its start ({reason})")
    if state.get("Restarting") or (fresh and document.get("RestartCount", 0) > 0):
        raise NotAlive(f"Container {_name(document)} keeps restarting (exit code {state.get('ExitCode')})")
    return document


def has_health_check(document: Document) -> bool:
    """Whether the Engine judges this container's health."""
    check = document["Config"].get("Healthcheck") or {}
    test = check.get("Test")
    if test == ["NONE"]:
        return False
    return bool(test) or bool((document["State"].get("Health") or {}).get("Status"))


def patience(document: Document, options: PlanOptions) -> float:
    """How long the gate waits, in seconds (updates.md §7.1)."""
    check = document["Config"].get("Healthcheck") or {}
    interval_s = (check.get("Interval") or 0) / NANO or INTERVAL_S
    timeout_s = (check.get("Timeout") or 0) / NANO or TIMEOUT_S
    rounds_s = (check.get("Retries") or RETRIES) * (interval_s + timeout_s)
    own = (check.get("StartPeriod") or 0) / NANO + rounds_s + 10
    return max(options.least_gate_s, rollback_window(document, options), own)


def rollback_window(document: Document, options: PlanOptions) -> float:
    """`dd.rollback.window` in seconds; the default where it is missing, malformed or not positive."""
    return milliseconds(document, WINDOW_LABEL, options.rollback_window_s)


def milliseconds(document: Document, label: str, default_s: float) -> float:
    """A label that holds milliseconds, as seconds; `default_s` where it is missing or no positive number."""
    text = (document["Config"].get("Labels") or {}).get(label, "").strip()
    return int(text) / 1000 if text.isdecimal() and int(text) > 0 else default_s


def healthy(document: Document, options: PlanOptions) -> Plan[Operation]:
    """Wait until the container reports healthy; phases `health-gate` and `health-gate-passed`.

    Raises `NotHealthy` when it reports unhealthy, exits, restarts, vanishes, or when the time is over.
    """
    yield from reach("health-gate")
    began: Instant = yield Now()
    limit, beat = patience(document, options), began.monotonic
    own = yield from prober(document, began.monotonic)
    while True:
        now: Instant = yield Now()
        if (yield from _verdict(document, own, now.monotonic)):
            return (yield from reach("health-gate-passed"))
        if now.monotonic - began.monotonic >= limit:
            waited = round((now.monotonic - began.monotonic) * 1000)
            raise NotHealthy(f"Health gate timed out after {waited}ms for container {_name(document)}")
        if options.settings.heartbeat_s and now.monotonic - beat >= options.settings.heartbeat_s:
            beat = now.monotonic
            yield Touch()
        yield Sleep(options.gate_poll_s)


def _verdict(first: Document, own: Prober | None, now: float) -> Plan[bool]:
    """True: healthy. False: not decided, also when the Engine cannot be asked just now."""
    try:
        document: Document = yield Inspect(first["Id"])
        probed = (yield from own.verdict(now)) if own and document["State"].get("Running") else None
    except EngineNotFound as error:
        raise NotHealthy(f"Container {_name(first)} vanished during the health gate") from error
    except EngineError:
        return False
    state = document["State"]
    if not state.get("Running"):
        raise NotHealthy(f"Container {_name(first)} exited during the health gate (exit code {state.get('ExitCode')})")
    grown = document.get("RestartCount", 0) > first.get("RestartCount", 0)
    if grown or state.get("StartedAt") != first["State"].get("StartedAt"):
        raise NotHealthy(f"Container {_name(first)} restarted during the health gate")
    status: str | None = probed or (state.get("Health") or {}).get("Status")
    if status == "unhealthy":
        raise NotHealthy(f"Health gate failed: container {_name(first)} reported unhealthy")
    return bool(status == "healthy")


def _name(document: Document) -> str:
    return str(document.get("Name", document["Id"])).lstrip("/")


# ── checks that the Engine does not run by itself ───────────────────────────────────────────────────────────────────
# Podman leaves them to timers of systemd; without systemd a container stays `starting` indefinitely. There the gate runs
# the container's own check through exec, by the check's own interval, start period and retries.


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """A health check, times in seconds."""

    command: tuple[str, ...]
    interval_s: float
    timeout_s: float
    start_period_s: float
    retries: int


def check_of(document: Document) -> Check | None:
    """The container's check; None without one, or in an unknown form."""
    found: Document = document["Config"].get("Healthcheck") or {}
    match found.get("Test") or []:
        case ["CMD", *words] if words:
            command = tuple(words)
        case ["CMD-SHELL", script, *_]:
            command = ("/bin/sh", "-c", script)
        case _:
            return None
    return Check(
        command=command,
        interval_s=(found.get("Interval") or 0) / NANO or INTERVAL_S,
        timeout_s=(found.get("Timeout") or 0) / NANO or TIMEOUT_S,
        start_period_s=(found.get("StartPeriod") or 0) / NANO,
        retries=found.get("Retries") or RETRIES,
    )


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
    """A prober where the Engine leaves the check to systemd, None where it runs it or does not say."""
    check = check_of(document)
    if check is None:
        return None
    try:
        facts: EngineFacts = yield Identify()
    except EngineError:
        return None
    if facts.runs_health_checks:
        return None
    row: Operation = yield CurrentRow()
    if NOTE not in row.warnings:
        yield record(warnings=[*row.warnings, NOTE])
    return Prober(document["Id"], check, now)
