"""The manager's half of an update that it cannot carry out itself (updates.md §13.3, §13.4).

`hand_over` creates the new container and starts the helper. From then on only the helper touches the two containers;
`attend` waits for it – in the process that handed over, or in whichever comes up next, old or new – and writes the end.
Where no helper is left it takes the one way out that stops nothing it needs: back, inside of the old container; forward,
inside of the new one.
"""

from __future__ import annotations

from drydock.backoff import Backoff
from drydock.core.errors import DrydockError, EngineConflict, EngineError, EngineNotFound, EngineUnreachable
from drydock.core.labels import SELF_UPDATE_OPERATION
from drydock.core.operation import Operation
from drydock.docker.api import Document
from drydock.updates.plan.effects import (
    Announce,
    Connect,
    Create,
    CurrentRow,
    HelperFor,
    Inspect,
    ListContainers,
    Plan,
    Remove,
    Reread,
    Sleep,
    Start,
    StepFailed,
    WhoAmI,
    look,
    reach,
    record,
    write,
)
from drydock.updates.plan.options import PlanOptions
from drydock.updates.plan.preflight import stop_if_cancelled
from drydock.updates.plan.recovery import Decision, Scene, decide, observe
from drydock.updates.plan.rollback import roll_back, wall_time
from drydock.updates.plan.update import commit, create, disarm, mark_renamed, replace, stop_surely, write_files
from drydock.updates.self_update.helper import NAME, Helper

POLL_S = 1.0
LONGEST_DELAY_S = 5.0
GRACE_MS = 10 * 60_000
"""How long a helper may take before it is given up (updates.md §13.4)."""

MOST_HELPERS = 3
INTERRUPTED = "Interrupted by a restart before anything was changed"
NOT_UP = "The new container did not come up; the old one was brought back"


def hand_over(operation: Operation, options: PlanOptions) -> Plan[Operation]:
    """What follows the rename: the new container, a word to the browsers, the helper; then `attend`."""
    if not operation.old_container_was_running:
        return (yield from replace(operation, options))
    failure: DrydockError | None = None
    try:
        yield from mark_renamed(operation, options)
        if operation.auto_remove:
            raise StepFailed(
                "Docker removes this container as soon as it stops (--rm), so there would be no way back: "
                "run it without --rm and with a restart policy"
            )
        yield from create(operation, options)
        if operation.kind == "self-update":
            yield Announce()
        yield from stop_if_cancelled()
        yield from _launch((yield CurrentRow()))
    except DrydockError as error:
        failure = error
    return (yield from attend(options, failure))


def _launch(operation: Operation) -> Plan[None]:
    """Create and start a helper; its row knows it before it runs."""
    old: Document = yield Inspect(operation.old_container_id or "")
    helper: Helper = yield HelperFor(old)
    yield record(secret_hash=helper.secret_hash, attempt=operation.attempt + 1)
    created: str = yield Create(NAME.format((yield from wall_time())), helper.document)
    yield record(helper_id=created)
    for network in helper.networks:
        yield Connect(network, created, {})
    yield Start(created)


# ── waiting for the end ─────────────────────────────────────────────────────────────────────────────────────────────


def attend(options: PlanOptions, failure: DrydockError | None = None) -> Plan[Operation]:
    """Wait for the helper of an operation and end its row truthfully; also what a start of Drydock does with one.

    `failure` is why no helper could be started.
    """
    backoff = Backoff(POLL_S, LONGEST_DELAY_S)
    while True:
        try:
            row = yield from _attend(options, failure)
        except DrydockError as error:
            # What the Engine or Drydock itself refuses is not going to change; an Engine that is away comes back.
            refused = isinstance(error, EngineError | StepFailed) and not isinstance(error, EngineUnreachable)
            failure = failure or (error if refused else None)
            yield Sleep(backoff.next_s())
            continue
        if row is not None:
            return row
        yield Sleep(POLL_S)


def _attend(options: PlanOptions, failure: DrydockError | None) -> Plan[Operation | None]:
    """One look: the terminal row, or None while there is something to wait for."""
    row: Operation = yield Reread()
    if not row.active:  # the helper has reported
        if row.status == "succeeded":
            yield from write_files(row, options, may_undo=False)
        return row
    helpers: list[Document] = []
    for entry in (yield ListContainers(f"{SELF_UPDATE_OPERATION}={row.id}")):
        if (document := (yield from look(entry["Id"]))) is not None:
            helpers.append(document)
    scene = yield from observe(row)
    if scene.old is None and scene.new is not None:
        row = yield record(new_container_id=scene.new["Id"])
        return (yield from _succeed(row, options))
    if helpers and not (yield from _dismissed(row, helpers)):
        arrived = scene.new is not None and (yield WhoAmI()) == scene.new["Id"]
        if arrived and scene.new is not None and row.phase == "new-created":
            yield from reach("new-started", started_once=True, new_container_id=scene.new["Id"])
        return None
    if helpers:
        return None  # look again: one of them may have been at work until now
    return (yield from _alone(row, scene, options, failure))


def _dismissed(row: Operation, helpers: list[Document]) -> Plan[bool]:
    """Remove helpers that do nothing any more, and those that had their time. False while one is at work."""
    overdue = (yield from wall_time()) - row.updated_at > GRACE_MS
    at_work = any(helper["State"].get("Running") or helper["State"].get("Restarting") for helper in helpers)
    if at_work and not overdue:
        return False
    for helper in helpers:
        try:
            yield Remove(helper["Id"], force=overdue)
        except EngineNotFound:
            continue
        except EngineConflict:
            return False  # it has come back to life
    return True


# ── no helper is left ───────────────────────────────────────────────────────────────────────────────────────────────


def _alone(row: Operation, scene: Scene, options: PlanOptions, failure: DrydockError | None) -> Plan[Operation | None]:
    """No other process will touch these containers: go the way that needs no helper, or start another one."""
    if failure is None and decide(row, scene) is Decision.REQUEUE:
        return (yield from write(status="expired", phase="expired", last_error=INTERRUPTED))
    own: str | None = yield WhoAmI()
    going_back = row.phase.startswith("rollback")
    must_go_back = scene.new is None or own == row.old_container_id or going_back
    if not must_go_back and failure is None and row.attempt < MOST_HELPERS:
        yield from _launch(row)
        return None
    if not must_go_back and scene.new is not None and scene.new["State"].get("Running"):
        # Inside of the new container, or connected through it: it stays, the old one goes.
        if scene.old is not None:
            yield from disarm(row, scene.old["Id"])
            yield from stop_surely(scene.old["Id"], options)
        now = yield from wall_time()
        row = yield record(recovered_at=now, recovery="rolled-forward", new_container_id=scene.new["Id"])
        return (yield from _succeed(row, options))

    # Back: the old container under its name; the new one, where it still exists, goes.
    if failure is not None:
        code = failure.rollback_code if isinstance(failure, StepFailed) else None
        return (yield from roll_back(code or "create_new_failed", failure, options))
    if scene.new is None and row.helper_id is not None and not going_back:
        return (yield from roll_back("start_new_failed", StepFailed(NOT_UP), options))
    yield record(recovered_at=(yield from wall_time()))
    return (yield from roll_back("interrupted", None, options))


def _succeed(row: Operation, options: PlanOptions) -> Plan[Operation]:
    """Files follow once the new container is good. There is no way back from here, whatever becomes of them."""
    yield from write_files(row, options, may_undo=False)
    return (yield from commit(row, options))
