"""After a crash: inspect the Engine and the journal, decide by the table of updates.md §9.3, act.

`recover` is a plan like any other and idempotent: it may be interrupted and run again. `decide` is the table.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from drydock.backoff import Backoff
from drydock.core.errors import EngineError
from drydock.core.operation import PHASES, Operation
from drydock.docker.api import Document
from drydock.updates.plan.effects import (
    CurrentRow,
    JournalError,
    Notice,
    Plan,
    Requeue,
    Sleep,
    look,
    record,
    write,
)
from drydock.updates.plan.options import PlanOptions
from drydock.updates.plan.rollback import (
    LONGEST_DELAY_S,
    RestoreFailed,
    dispose_of_new,
    find_new,
    find_old,
    restore_patiently,
    roll_back,
    wall_time,
)
from drydock.updates.plan.update import disarm, replace, stop_surely


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """What is there: the old container, the new one, and a stranger who has the name."""

    old: Document | None
    new: Document | None
    stranger: Document | None


class Decision(Enum):
    """What to do with an interrupted operation."""

    REQUEUE = "nothing was changed: try again"
    ROLL_BACK = "bring the old container back"
    VERIFY = "the new container runs: see that it is well, then finish"
    START = "start the new container, see that it is well, then finish"
    COMMIT = "the new container is good: finish"
    STRANGER = "another container took the name: keep the old container, stopped"


def recover(operation: Operation, options: PlanOptions, *, expire: str | None = None) -> Plan[Operation]:
    """Bring an interrupted operation to its end; waits for Engine and disk as long as it takes.

    One that changed nothing goes back into the queue, or ends expired with the text `expire`.
    """
    backoff = Backoff(1.0, LONGEST_DELAY_S)
    while True:
        try:
            return (yield from _recover(operation, options, expire))
        except (EngineError, JournalError):
            yield Sleep(backoff.next_s())
        operation = yield CurrentRow()


def retry_restore(operation: Operation, options: PlanOptions) -> Plan[Operation]:
    """Another attempt for a row that ended `rollback-failed`: the status stays, `recovery` says the outcome."""
    try:
        operation = yield from restore_patiently(operation, options)
    except RestoreFailed:
        return operation
    recovery = operation.recovery or "restored-old"
    return (yield from write(recovery=recovery, recovered_at=(yield from wall_time())))


def _recover(operation: Operation, options: PlanOptions, expire: str | None) -> Plan[Operation]:
    scene = yield from observe(operation)
    decision = decide(operation, scene)
    if decision is Decision.REQUEUE and expire is None:
        operation = yield Requeue()
        return operation
    if decision is Decision.REQUEUE:
        text = "; ".join(part for part in (operation.last_error, expire) if part)
        return (yield from write(status="expired", phase="expired", last_error=text, recovery="nothing-to-do"))
    new_id = scene.new["Id"] if scene.new else operation.new_container_id
    operation = yield record(recovered_at=(yield from wall_time()), new_container_id=new_id)
    if decision is Decision.STRANGER and scene.stranger is not None:
        return (yield from _give_way(operation, scene.stranger, options))
    if decision is Decision.ROLL_BACK:
        return (yield from roll_back("interrupted", None, options))

    # Forward: the new container runs, or is to run. The old one is stopped first, whatever its daemon has done.
    if scene.old is not None:
        yield from disarm(operation, scene.old["Id"])
        yield from stop_surely(scene.old["Id"], options)
    outcome = "rolled-forward" if scene.old is not None else "already-committed"
    changes = {"revived_once": True} if decision is Decision.START else {}
    operation = yield record(recovery=outcome, **changes)
    stage = {Decision.START: "start", Decision.VERIFY: "verify"}.get(decision, "files")
    return (yield from replace(operation, options, resume=stage))


def observe(operation: Operation) -> Plan[Scene]:
    """Look for the three containers of updates.md §9.3 step 2."""
    old = yield from find_old(operation)
    new = yield from find_new(operation)
    named = yield from look(operation.old_name or operation.container_name)
    known = {document["Id"] for document in (old, new) if document is not None}
    stranger = named if named is not None and named["Id"] not in known else None
    return Scene(old=old, new=new, stranger=stranger)


def decide(operation: Operation, scene: Scene) -> Decision:
    """The table of updates.md §9.3, first fitting row."""
    old, new, stranger = scene.old, scene.new, scene.stranger
    if operation.phase.startswith("rollback"):
        return Decision.ROLL_BACK
    if operation.temp_name is None:
        return Decision.REQUEUE
    if stranger is not None:
        waiting = old is not None and old["Name"].lstrip("/") == operation.temp_name
        if old is None or (waiting and stranger["State"].get("Running")):
            return Decision.STRANGER
    if new is None:
        never_renamed = old is not None and old["Name"].lstrip("/") == operation.old_name
        early = PHASES.index(operation.phase) <= PHASES.index("prepare")
        return Decision.REQUEUE if never_renamed and early else Decision.ROLL_BACK
    passed = operation.phase == "health-gate-passed"
    if not operation.old_container_was_running:
        return Decision.COMMIT if old is None else Decision.ROLL_BACK
    if new["State"].get("Running"):
        return Decision.COMMIT if passed else Decision.VERIFY
    if old is None:
        return Decision.START
    if new["State"].get("Status") == "created" or operation.revived_once:
        return Decision.ROLL_BACK
    return Decision.START if passed or _stopped_from_outside(new) else Decision.ROLL_BACK


def _stopped_from_outside(new: Document) -> bool:
    """It is down although its policy would have revived it after its own crash: the daemon went down."""
    policy = ((new.get("HostConfig") or {}).get("RestartPolicy") or {}).get("Name")
    code = new["State"].get("ExitCode")
    return policy in ("always", "unless-stopped") or (policy == "on-failure" and bool(code))


def _give_way(operation: Operation, stranger: Document, options: PlanOptions) -> Plan[Operation]:
    """Keep the old container, stopped and unarmed, and tell the operator which container has its name."""
    yield from dispose_of_new(operation, options)
    old = yield from find_old(operation)
    if old is not None:
        yield from disarm(operation, old["Id"])
        yield from stop_surely(old["Id"], options)
    name = operation.old_name or operation.container_name
    text = f"Name {name} was taken by container {stranger['Id'][:12]} during the update"
    yield Notice("rollback", text)
    return (yield from write(status="failed", phase="failed", last_error=text, recovery="failed"))
