"""The helper's half: exchange two containers (updates.md §13.3 step 5, §13.4).

Nothing is remembered between two runs: each inspects the Engine and continues from there, so the helper may be killed at any
point and started again. The old container keeps its restart policy until the new one runs: should the Engine die in
between, it revives the old one.
"""

from __future__ import annotations

from drydock.backoff import Backoff
from drydock.core.errors import DrydockError, EngineError, EngineUnreachable
from drydock.core.operation import Operation
from drydock.docker.api import Document
from drydock.updates.plan.effects import Plan, Sleep, Start, StepFailed, look, record, write
from drydock.updates.plan.health_gate import alive, has_health_check, healthy
from drydock.updates.plan.options import PlanOptions
from drydock.updates.plan.preflight import explain
from drydock.updates.plan.rollback import LONGEST_DELAY_S, roll_back
from drydock.updates.plan.update import commit, disarm, stop_surely


def swap(operation: Operation, options: PlanOptions) -> Plan[Operation]:
    """From whatever there is to exactly one container: the new one if it is well, else the old one."""
    backoff = Backoff(1.0, LONGEST_DELAY_S)
    while True:
        try:
            return (yield from _swap(operation, options))
        except EngineUnreachable:
            yield Sleep(backoff.next_s())


def _swap(operation: Operation, options: PlanOptions) -> Plan[Operation]:
    old = yield from look(operation.old_container_id or "")
    new = yield from look(operation.new_container_id or "")
    if old is None and new is None:
        text = f"Both containers of {operation.container_name} are gone"
        return (yield from write(status="failed", phase="failed", last_error=text))
    if old is None and new is not None:
        # The exchange was done before; a daemon that went down afterwards may have left the new container stopped.
        if not new["State"].get("Running"):
            try:
                yield Start(new["Id"])
            except EngineUnreachable:
                raise
            except EngineError as error:
                yield record(warnings=[error.message])
        return (yield from write(status="succeeded", phase="succeeded"))
    if old is None or new is None or operation.phase.startswith("rollback"):
        return (yield from roll_back("start_new_failed", None, options))
    try:
        yield from _forward(operation, old, new, options)
    except EngineUnreachable:
        raise
    except DrydockError as error:
        own = error.rollback_code if isinstance(error, StepFailed) else None
        reason = StepFailed(explain(error, operation))
        return (yield from roll_back(own or "start_new_failed", reason, options))
    return (yield from commit(operation, options))


def _forward(operation: Operation, old: Document, new: Document, options: PlanOptions) -> Plan[None]:
    state = new["State"]
    first = state.get("Status") == "created"
    if not first and not state.get("Running"):
        raise StepFailed(f"Container {operation.container_name} stopped (exit code {state.get('ExitCode')})")
    yield from stop_surely(old["Id"], options)
    if first:
        yield Start(new["Id"])
    yield from disarm(operation, old["Id"])
    document = yield from alive(new["Id"], options, fresh=first)
    if has_health_check(document):
        yield from healthy(document, options)
