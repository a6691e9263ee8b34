"""Back to the old container (updates.md §5.4): idempotent, from the journal and the Engine alone.

The same code serves a failed step, a cancel, and recovery after a crash. Each step looks before it acts; an outcome
is unknown is looked up, never guessed.
"""

from __future__ import annotations

import re
from contextlib import suppress

import msgspec

from drydock.backoff import Backoff
from drydock.core.errors import DrydockError, EngineConflict, EngineError, EngineNotFound, EngineUnreachable
from drydock.core.operation import OPERATION_LABEL, REBUILT_LABEL, Operation
from drydock.core.reference import DEFAULT_TAG, split
from drydock.docker.api import Document
from drydock.updates.plan.clone import Subject, clone
from drydock.updates.plan.effects import (
    Connect,
    Create,
    CurrentRow,
    Inspect,
    Instant,
    Notice,
    Now,
    Plan,
    Pull,
    Remove,
    Rename,
    SetRestartPolicy,
    Sleep,
    Start,
    StepFailed,
    Stop,
    Tag,
    WriteFile,
    find,
    look,
    look_image,
    record,
    write,
)
from drydock.updates.plan.options import PlanOptions

LONGEST_DELAY_S = 60.0
_STUCK = re.compile(r"task \S+ already exists")


class RestoreFailed(StepFailed):
    """The old container could not be brought back; the message lists every error."""

    code = "rollback-failed"


def roll_back(code: str, error: DrydockError | None, options: PlanOptions) -> Plan[Operation]:
    """Remove the new container, bring the old one back under its name, end the operation truthfully."""
    before: Operation = yield CurrentRow()
    stop_sent = before.intent == "Stop" and before.intent_target == before.old_container_id
    operation: Operation = yield record(
        phase="rollback-started",
        rollback_code=before.rollback_code or code,
        last_error=before.last_error or (error.message if error is not None else None),
        stop_in_doubt=before.stop_in_doubt or stop_sent,
    )
    try:
        operation = yield from restore_patiently(operation, options)
    except RestoreFailed as failure:
        both = "; ".join(part for part in (operation.last_error, failure.message) if part)
        return (yield from write(status="failed", phase="rollback-failed", last_error=both))
    yield from _undo_files(operation)
    rebuilt = operation.recovery == "rebuilt-from-spec"
    recovery = {"recovery": "restored-old"} if operation.recovered_at and not rebuilt else {}
    never_handed_over = operation.by_helper and operation.rollback_code == "create_new_failed"
    if operation.kind == "container-rollback" or never_handed_over:
        return (yield from write(status="failed", phase="failed", **recovery))
    return (yield from write(status="rolled-back", phase="rolled-back", **recovery))


def _undo_files(operation: Operation) -> Plan[None]:
    """Files follow the container back; one that was never written, or was edited by hand since, stays as it is."""
    for edit in reversed(operation.edits):
        back = msgspec.structs.replace(
            edit, before=edit.after, after=edit.before, sha_before=edit.sha_after, sha_after=edit.sha_before
        )
        for last in (False, True):
            try:
                yield WriteFile(back)
            except DrydockError as error:
                if last:
                    yield Notice("compose-sync-failed", error.message)
            else:
                break


def restore_patiently(operation: Operation, options: PlanOptions) -> Plan[Operation]:
    """`restore`, again and again while the Engine is away, and a few times when it refuses."""
    backoff, refusals, errors = Backoff(1.0, LONGEST_DELAY_S), iter(options.restore_retries_s), list[str]()
    while True:
        try:
            return (yield from restore(operation, options))
        except EngineUnreachable:
            if operation.active:
                yield record(phase="rollback-deferred")
            yield Sleep(backoff.next_s())
        except DrydockError as error:
            errors.append(error.message)
            pause = next(refusals, None)
            if pause is None:
                raise RestoreFailed("; ".join(dict.fromkeys(errors))) from error
            yield Sleep(pause)
        operation = yield CurrentRow()


def restore(operation: Operation, options: PlanOptions) -> Plan[Operation]:
    """One attempt to have exactly the old container, named, armed and running as before. Raises what went wrong."""
    yield from dispose_of_new(operation, options)
    if operation.stuck_container_id is not None:
        operation = yield from _stand_in(operation, options)
    old = yield from find_old(operation)
    if old is None:
        operation, old = yield from _rebuild(operation)
    elif operation.stop_in_doubt and old["State"].get("Running"):
        yield Stop(old["Id"], stop_patience(old, options))  # the one whose outcome is unknown may still be on its way

    if operation.old_name and old["Name"].lstrip("/") != operation.old_name:
        yield Rename(old["Id"], operation.old_name)
    policy = operation.old_restart_policy
    if policy and _policy_of(old) != policy.get("Name"):
        yield SetRestartPolicy(old["Id"], policy)
    if operation.old_container_was_running and operation.source != "dependent":
        try:
            yield from _ensure_running(old["Id"], options)
        except EngineError as error:
            if not _STUCK.search(error.message) or operation.temp_name is None or operation.old_spec is None:
                raise
            operation = yield record(stuck_container_id=old["Id"])
            operation = yield from _stand_in(operation, options)
    for dependent in operation.dependents:
        document = (yield from look(dependent.id)) if dependent.running else None
        if document is not None and not document["State"].get("Running"):
            yield Start(dependent.id)
    return operation


def _policy_of(container: Document) -> str | None:
    """Name of the restart policy that a container has now."""
    name: str | None = ((container.get("HostConfig") or {}).get("RestartPolicy") or {}).get("Name")
    return name


def find_old(operation: Operation) -> Plan[Document | None]:
    """The old container, or None when the Engine no longer has it."""
    return (yield from look(operation.old_container_id or operation.container_id))


def find_new(operation: Operation) -> Plan[Document | None]:
    """The new container: by its journaled id, else by the label it was created with."""
    ref = operation.new_container_id
    if ref is not None and (known := (yield from look(ref))) is not None:
        return known
    ref = yield from find(f"{OPERATION_LABEL}={operation.id}")
    return (yield from look(ref)) if ref else None


def dispose_of_new(operation: Operation, options: PlanOptions) -> Plan[None]:
    """Stop and delete the new container, keeping every volume, and wait until it is gone."""
    new = yield from find_new(operation)
    if new is None:
        return
    if new["State"].get("Running"):
        try:
            yield Stop(new["Id"], stop_patience(new, options))
        except EngineUnreachable:
            raise
        except EngineError:
            yield Sleep(0)  # deletion is forced below
    with suppress(EngineNotFound, EngineConflict):  # the Engine is removing it, or has done so
        yield Remove(new["Id"], force=True)
    for _ in range(100):
        if (yield from look(new["Id"])) is None:
            return
        yield Sleep(0.1)
    raise RestoreFailed(f"Container {new['Id'][:12]} could not be removed")


def stop_patience(document: Document, options: PlanOptions) -> float:
    """How long a stop may take: the container's own grace plus slack, in seconds."""
    grace = document["Config"].get("StopTimeout")
    return float(10 if grace is None else grace) + options.stop_slack_s


def _ensure_running(container: str, options: PlanOptions) -> Plan[None]:
    """Start the container if it does not run, and see that it stays up."""
    document: Document = yield Inspect(container)
    if document["State"].get("Running"):
        return
    yield Start(container)
    if options.settings.liveness_grace_s:
        yield Sleep(options.settings.liveness_grace_s)
    document = yield Inspect(container)
    if not document["State"].get("Running"):
        raise StepFailed(f"The old container does not run (exit code {document['State'].get('ExitCode')})")


# ── an old container that no longer exists ──────────────────────────────────────────────────────────────────────────


def _stand_in(operation: Operation, options: PlanOptions) -> Plan[Operation]:
    """Create anew an old container that the Engine cannot start any more; it goes when the other one runs.

    After a crash of the daemon in the middle of a stop, containerd may keep a task that no container belongs to: every
    start of that container then fails with `task … already exists`, until containerd is started anew.
    """
    stuck = yield from look(operation.stuck_container_id or "")
    if stuck is not None and stuck["State"].get("Running"):
        # The daemon was started anew meanwhile, and the container with it: nothing has to stand in for it.
        if (stand_in := (yield from find(f"{REBUILT_LABEL}={operation.id}"))) is not None:
            yield Remove(stand_in, force=True)
        operation = yield record(old_container_id=stuck["Id"], stuck_container_id=None)
        return operation
    if stuck is not None and stuck["Name"].lstrip("/") == operation.old_name:
        if _policy_of(stuck) not in (None, "", "no"):
            yield SetRestartPolicy(stuck["Id"], {"Name": "no"})
        yield Rename(stuck["Id"], operation.temp_name or "")
    operation, fresh = yield from _rebuild(operation)
    if operation.old_container_was_running:
        yield from _ensure_running(fresh["Id"], options)
    if stuck is not None:
        with suppress(EngineNotFound):
            yield Remove(stuck["Id"])
    operation = yield record(stuck_container_id=None)
    return operation


def _rebuild(operation: Operation) -> Plan[tuple[Operation, Document]]:
    """Create the old container anew from its saved document (updates.md §5.4 step 3)."""
    old = operation.old_spec
    if old is None:
        raise RestoreFailed(f"Container {operation.container_name} is gone and nothing is known about it")
    reference = old["Config"]["Image"]
    image = yield from _old_image(operation, reference)
    same = clone(
        Subject(
            inspect=old,
            source=image["Config"],
            target=image["Config"],
            reference=reference,
            operation=operation.id,
        ),
    )
    rebuilt = yield from find(f"{REBUILT_LABEL}={operation.id}")
    if rebuilt is None:
        labels = {**(old["Config"].get("Labels") or {}), REBUILT_LABEL: operation.id}
        rebuilt = yield Create(operation.old_name or operation.container_name, {**same.document, "Labels": labels})
    attached = ((yield Inspect(rebuilt)).get("NetworkSettings") or {}).get("Networks") or {}
    for network, endpoint in same.connects.items():
        if network not in attached:
            yield Connect(network, rebuilt, endpoint)
    operation = yield record(old_container_id=rebuilt, recovery="rebuilt-from-spec")
    found: Document = yield Inspect(rebuilt)
    return operation, found


def _old_image(operation: Operation, reference: str) -> Plan[Document]:
    """The old image, on the host under its original reference; pulled by digest, then by tag, where it is gone."""
    image = yield from look_image(operation.old_image_id or reference)
    for source in [*operation.old_repo_digests, reference] if image is None else []:
        try:
            yield Pull(source)
        except EngineUnreachable:
            raise
        except EngineError:
            continue
        image = yield from look_image(source)
        break
    if image is None:
        raise RestoreFailed(f"The old image {reference} is gone from the host and from its registry")
    yield from name_image(image, reference)
    return image


def name_image(image: Document, reference: str) -> Plan[None]:
    """Let `reference` mean `image` on this host, where it is a name with a tag."""
    name, tag, digest = split(reference)
    if digest:
        return
    current = yield from look_image(reference)
    if current is None or current["Id"] != image["Id"]:
        yield Tag(image["Id"], name, tag or DEFAULT_TAG)


def wall_time() -> Plan[int]:
    """Epoch milliseconds."""
    now: Instant = yield Now()
    return now.ms
