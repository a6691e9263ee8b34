"""Is the new container alive, and is it well? (updates.md §5.1 step 9, §7.1)

Both are plans over one container id. Times come from the container's own health check and label.
"""

from __future__ import annotations

from drydock.core.errors import EngineError, EngineNotFound
from drydock.core.operation import Operation
from drydock.updates.effects import Document, Inspect, Instant, Now, Plan, Sleep, StepFailed, Touch, reach
from drydock.updates.options import PlanOptions
from drydock.updates.probe import Prober, prober

WINDOW_LABEL = "dd.rollback.window"
_NANO = 1_000_000_000
_DEFAULT_INTERVAL_NS, _DEFAULT_RETRIES = 30 * _NANO, 3


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
    if options.liveness_grace_s:
        yield Sleep(options.liveness_grace_s)
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
    interval = check.get("Interval") or _DEFAULT_INTERVAL_NS
    timeout = check.get("Timeout") or _DEFAULT_INTERVAL_NS
    rounds = (check.get("Retries") or _DEFAULT_RETRIES) * (interval + timeout)
    own = ((check.get("StartPeriod") or 0) + rounds) / _NANO + 10
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
        if options.heartbeat_s and now.monotonic - beat >= options.heartbeat_s:
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
    if _restarted(first, document):
        raise NotHealthy(f"Container {_name(first)} restarted during the health gate")
    status: str | None = probed or (state.get("Health") or {}).get("Status")
    if status == "unhealthy":
        raise NotHealthy(f"Health gate failed: container {_name(first)} reported unhealthy")
    return bool(status == "healthy")


def _restarted(first: Document, now: Document) -> bool:
    grown: bool = now.get("RestartCount", 0) > first.get("RestartCount", 0)
    return grown or bool(now["State"].get("StartedAt") != first["State"].get("StartedAt"))


def _name(document: Document) -> str:
    return str(document.get("Name", document["Id"])).lstrip("/")
