"""The update of one container, as a plan (updates.md §5): rename, create, disarm, stop, start, gate, commit.

One generator serves updates, manual and automatic rollbacks, Compose updates and the recreation of dependents; what
differs stands in the operation. A failure before the rename leaves everything untouched, a later one goes to
`rollback`. Stages are small so that `recovery` can resume in the middle.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from drydock.backoff import Backoff
from drydock.core.errors import DrydockError, EngineError, EngineNotFound, EngineNotSupported, EngineUnreachable
from drydock.core.operation import Operation
from drydock.docker.api import Document
from drydock.updates.plan.effects import (
    Connect,
    Create,
    CurrentRow,
    Duplicate,
    Inspect,
    Notice,
    Plan,
    Remove,
    Rename,
    Run,
    SetRestartPolicy,
    Sleep,
    Start,
    StepFailed,
    Stop,
    WaitRemoved,
    WriteFile,
    look,
    reach,
    record,
    write,
)
from drydock.updates.plan.health_gate import alive, has_health_check, healthy
from drydock.updates.plan.options import PlanOptions
from drydock.updates.plan.preflight import (
    DryRun,
    Gone,
    NothingToDo,
    PullFailed,
    Refused,
    explain,
    prepare,
    stop_if_cancelled,
)
from drydock.updates.plan.rollback import LONGEST_DELAY_S, roll_back, stop_patience


class PostStartFailed(StepFailed):
    """A post_start command of the Compose service ended with an error."""

    code = "post-start-failed"
    rollback_code = "post_start_failed"


DEPENDENTS_FIRST = "dependent containers"
"""How Podman words it that a container cannot be removed while others share its namespaces."""

Stage = Callable[[Operation, PlanOptions], Plan[None]]
Finish = Callable[[Operation, PlanOptions], Plan[Operation]]


def update(operation: Operation, options: PlanOptions, finish: Finish | None = None) -> Plan[Operation]:
    """From an accepted operation to a terminal row; `finish` is what follows the rename (`replace`)."""
    try:
        operation = yield from prepare(operation)
        yield from _rename(operation)
    except NothingToDo:
        if operation.kind == "container-rollback":
            return (yield from write(status="rolled-back", phase="rolled-back", rollback_code="manual"))
        return (yield from write(status="succeeded", phase="succeeded", recovery="nothing-to-do"))
    except DryRun as end:
        if operation.kind == "self-update":
            return (yield from write(status="expired", phase="expired", last_error=end.message))
        return (yield from write(status="succeeded", phase="dryrun"))
    except _HalfRenamed as error:
        return (yield from roll_back("create_new_failed", error, options))
    except DrydockError as error:
        # Nothing was changed. A container that is gone may have been replaced by another operation just now.
        gone = isinstance(error, EngineNotFound) and "no such container" in str(error).lower()
        if (gone or isinstance(error, Gone)) and (yield Duplicate()):
            return (yield from write(status="expired", phase="expired", last_error=error.message))
        phase = "pull-failed" if isinstance(error, PullFailed) else "failed"
        return (yield from write(status="failed", phase=phase, last_error=error.message))
    return (yield from (finish or replace)(operation, options))


class _HalfRenamed(StepFailed):
    """The rename was sent; the old container may have its temporary name."""


def _rename(operation: Operation) -> Plan[None]:
    """Give the old container its temporary name. The last point at which nothing has changed."""
    yield from stop_if_cancelled()
    assert operation.old_container_id is not None
    assert operation.temp_name is not None
    try:
        yield Rename(operation.old_container_id, operation.temp_name)
        return
    except EngineError as failure:
        error = failure
    # Nothing happened: refuse. The new name is there, or the outcome is unknown: roll back, which rebuilds what vanished.
    unknown = isinstance(error, EngineUnreachable)
    try:
        document: Document = yield Inspect(operation.old_container_id)
    except EngineNotFound as gone:
        if unknown:
            raise _HalfRenamed(error.message) from gone
        raise Gone(f"Container {operation.container_name} no longer exists") from gone
    except EngineUnreachable as away:
        raise _HalfRenamed(error.message) from away
    if unknown or document["Name"].lstrip("/") == operation.temp_name:
        raise _HalfRenamed(error.message) from error
    raise Refused(error.message) from error


def replace(operation: Operation, options: PlanOptions, *, resume: str | None = None) -> Plan[Operation]:
    """The stages after the rename, from the one called `resume` on, then commit; any failure rolls back.

    A container that was stopped is replaced by one that stays stopped.
    """
    stages: list[tuple[str, str, Stage]] = [
        ("renamed", "create_new_failed", mark_renamed),
        ("create", "create_new_failed", create),
    ]
    if operation.old_container_was_running:
        stages += [
            ("stop", "stop_old_failed", _stop_old),
            ("start", "start_new_failed", _start_new),
            ("verify", "start_new_failed", _verify),
        ]
    stages.append(("files", "compose_write_failed", write_files))
    names = [name for name, _, _ in stages]
    for _, code, stage in stages[names.index(resume) if resume else 0 :]:
        try:
            yield from stage(operation, options)
        except DrydockError as error:
            operation = yield CurrentRow()
            own = error.rollback_code if isinstance(error, StepFailed) else None
            reason = StepFailed(explain(error, operation))
            return (yield from roll_back(own or code, reason, options))
        operation = yield CurrentRow()
    return (yield from commit(operation, options))


# ── stages ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def mark_renamed(_: Operation, __: PlanOptions) -> Plan[None]:
    """The old container has its temporary name; the last but one point at which a cancel is honoured."""
    yield from reach("renamed")
    yield from stop_if_cancelled()


def create(operation: Operation, _: PlanOptions) -> Plan[None]:
    """The new container under the name, on all its networks, not started."""
    assert operation.new_spec is not None
    created: str = yield Create(operation.old_name or operation.container_name, operation.new_spec)
    yield record(new_container_id=created)
    for network, endpoint in operation.networks_to_connect.items():
        yield Connect(network, created, endpoint)
    yield from reach("new-created")


def _stop_old(operation: Operation, options: PlanOptions) -> Plan[None]:
    yield from stop_if_cancelled()
    old = operation.old_container_id or ""
    yield from disarm(operation, old)
    for dependent in operation.dependents:
        if dependent.running:
            yield from stop_surely(dependent.id, options)
    yield from _send_stop(old, stop_patience(operation.old_spec or {"Config": {}}, options))
    yield from reach("old-stopped", old_container_stopped=True)


def disarm(operation: Operation, old: str) -> Plan[None]:
    """Take the restart policy away, so that no daemon restart can run old and new together (updates.md §0, I3).

    An Engine that cannot change policies (Podman) is left as it is.
    """
    if (operation.old_restart_policy or {}).get("Name") in (None, "", "no"):
        return
    try:
        yield SetRestartPolicy(old, {"Name": "no"})
    except (EngineNotFound, EngineNotSupported) as error:
        if isinstance(error, EngineNotFound) and (yield from look(old)) is None:
            raise
        yield Notice("restart-policy-kept", "This Engine cannot change the restart policy of a container")


def stop_surely(container: str, options: PlanOptions) -> Plan[None]:
    """Stop, and know that it has stopped: a lost answer is followed up until the container no longer runs."""
    document = yield from look(container)
    if document is None or not document["State"].get("Running"):
        return
    yield from _send_stop(container, stop_patience(document, options))


def _send_stop(container: str, patience: float) -> Plan[None]:
    """A lost answer is followed up: the stop may still be on its way."""
    try:
        yield Stop(container, patience)
        return
    except EngineNotFound:
        return
    except EngineUnreachable:
        pass
    for _ in range(max(1, round(patience))):
        try:
            document = yield from look(container)
            if document is None or not document["State"].get("Running"):
                return
        except EngineUnreachable:
            pass
        yield Sleep(1.0)
    raise StepFailed(f"Container {container[:12]} did not stop within {round(patience)} s")


def _start_new(operation: Operation, _: PlanOptions) -> Plan[None]:
    new = operation.new_container_id or ""
    if operation.recovered_at and operation.networks_to_connect:
        # After an interruption between create and connect: no container starts half-networked.
        document: Document = yield Inspect(new)
        attached = (document.get("NetworkSettings") or {}).get("Networks") or {}
        for network, endpoint in operation.networks_to_connect.items():
            if network not in attached:
                yield Connect(network, new, endpoint)
    yield Start(new)
    yield from reach("new-started", started_once=True)


def _verify(operation: Operation, options: PlanOptions) -> Plan[None]:
    fresh = operation.recovered_at is None
    document = yield from alive(operation.new_container_id or "", options, fresh=fresh)
    # The journaled commands in order (updates.md §11.6); a container that no longer runs is left to the health gate.
    for hook in operation.post_start if document["State"].get("Running") else ():
        result = yield Run(
            document["Id"], tuple(hook.command), tuple(hook.environment), hook.user, hook.working_dir, hook.privileged
        )
        if result.exit_code != 0:
            raise PostStartFailed(
                f"Compose post_start hook failed for {operation.container_name} ({operation.service or 'service'}) "
                f"with exit code {result.exit_code}",
            )
    if has_health_check(document):
        yield from healthy(document, options)


def write_files(operation: Operation, options: PlanOptions, *, may_undo: bool = True) -> Plan[None]:
    """Compose files change when the new container is good; only `block` lets a failure undo the update."""
    action = options.action
    block = may_undo and action.type == "dockercompose" and action.reconciliation_mode == "block"
    for edit in operation.edits:
        try:
            yield WriteFile(edit)
        except DrydockError as error:
            if block:
                raise
            yield Notice("compose-sync-failed", error.message)
        else:
            yield Notice("compose-updated", f"{edit.path} names {operation.wanted.reference}")


# ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def commit(operation: Operation, options: PlanOptions) -> Plan[Operation]:
    """The new container is good: remove the old one and say so. Never undoes a healthy update (updates.md §5.2)."""
    warning = yield from _remove_old(operation, options)
    changes: dict[str, Any] = {"dependents_due": bool(operation.dependents)}
    if warning:
        changes["warnings"] = [*operation.warnings, warning]
        yield Notice("update-cleanup-failed", warning)
    if operation.kind == "container-rollback":
        code = "auto_rollback" if operation.source == "monitor" else "manual"
        return (yield from write(status="rolled-back", phase="rolled-back", rollback_code=code, **changes))
    return (yield from write(status="succeeded", phase="succeeded", **changes))


def _remove_old(operation: Operation, options: PlanOptions) -> Plan[str | None]:
    """Delete the old container, without its volumes. Returns a warning when the Engine refuses for good."""
    old = operation.old_container_id or ""
    if operation.auto_remove and (yield WaitRemoved(old, options.action.auto_remove_timeout)):
        return None
    refusals, backoff = iter(options.remove_retries_s), Backoff(1.0, LONGEST_DELAY_S)
    while True:
        try:
            yield Remove(old)
        except EngineNotFound:
            return None
        except EngineUnreachable:
            yield Sleep(backoff.next_s())
            # Away at the very end: a policy other than `always` may have left the new container down.
            new = operation.new_container_id or ""
            with suppress(EngineUnreachable):
                document = yield from look(new)
                if (
                    operation.old_container_was_running
                    and document is not None
                    and not document["State"].get("Running")
                ):
                    yield Start(new)
        except DrydockError as error:
            if operation.dependents and DEPENDENTS_FIRST in error.message:
                return None  # removed with the last of them (`worker`)
            pause = next(refusals, None)
            if pause is None:
                return f"The replaced container {operation.temp_name} could not be removed: {error.message}"
            yield Sleep(pause)
        else:
            return None
