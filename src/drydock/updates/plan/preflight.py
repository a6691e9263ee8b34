"""Everything before the first change (updates.md §5.1 steps 1–4, §5.3): image, checks, and the journaled documents.

`prepare` either returns an operation in phase `prepare` that knows all it needs, or raises with the old container
untouched.
"""

from __future__ import annotations

import msgspec

from drydock.core.compose_labels import SWARM_TASK
from drydock.core.errors import DrydockError, EngineError, EngineNotFound
from drydock.core.operation import OPERATION_LABEL, Dependent, Operation, backup_reference
from drydock.core.temporary import is_temporary, temporary_base, temporary_name
from drydock.core.times import from_iso
from drydock.docker.api import Document
from drydock.docker.host import EngineFacts
from drydock.docker.namespaces import container_references, joins
from drydock.updates.compose.project import FilesPlan
from drydock.updates.plan.clone import Clone, Subject, clone, networks_not_in_use
from drydock.updates.plan.effects import (
    Cancelled,
    Checkpoint,
    CurrentRow,
    Dependents,
    Identify,
    InspectImage,
    InspectNetwork,
    ListContainers,
    Notice,
    Plan,
    PlanFiles,
    PodmanSays,
    PreHook,
    Pull,
    SaveBackup,
    Scan,
    StepFailed,
    Stranger,
    Successor,
    Tag,
    Verify,
    WhoAmI,
    look,
    look_image,
    record,
)
from drydock.updates.plan.health_gate import has_health_check
from drydock.updates.plan.podman import as_docker, volumes_at_risk
from drydock.updates.plan.rollback import name_image, wall_time
from drydock.updates.target import spelled

SECOND_MANAGER = (
    "Another Drydock updated this container less than 10 minutes ago: only one may manage a host. "
    "Stop the other one; if there is none (the store was replaced), try again in 10 minutes."
)
SECOND_MANAGER_MS = 10 * 60_000
"""Two managers would undo each other's work (updates.md §9.5, row 18)."""

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm", "i686": "386"}


class Refused(StepFailed):
    """The update cannot be done; nothing was changed."""

    code = "update-refused"


class Gone(Refused):
    """The container no longer exists; may be a duplicate of an update that has just succeeded (updates.md §4)."""

    code = "container-gone"


class PullFailed(StepFailed):
    """No source gave the image."""

    code = "pull-failed"


class NothingToDo(StepFailed):
    """The container already runs exactly this image under this reference."""

    code = "nothing-to-do"


class DryRun(StepFailed):
    """Pulled and scanned; a dry run goes no further."""

    code = "dry-run"


def prepare(operation: Operation) -> Plan[Operation]:
    """Make the image available, check everything that can be checked, journal how to go there and back."""
    old = yield from _container(operation)
    name, labels = old["Name"].lstrip("/"), old["Config"].get("Labels") or {}
    if base := temporary_base(name):
        raise Refused(
            f"Container {name} is the leftover of an update of {base}: "
            f"rename it back with `docker rename {name} {base}`, or remove it when {base} exists",
        )
    if SWARM_TASK in labels:
        raise Refused("Container is managed by Docker Swarm")
    made_by = made_lately_by(old, (yield from wall_time()))
    if made_by and (yield Stranger(made_by)):
        raise Refused(SECOND_MANAGER)

    # The target keeps the spelling of the container's own reference, so that a file and `docker ps` stay the same.
    wanted = operation.wanted
    if wanted.tag or wanted.digest:
        reference = spelled(wanted, old["Config"]["Image"])
        if reference != wanted.reference:
            wanted = msgspec.structs.replace(wanted, reference=reference)
            operation = yield record(wanted=wanted, target_image=reference)

    # What is going to be new here is judged by the security gate; what ran before is not.
    judged = operation.source != "dependent" and operation.kind != "container-rollback"
    source = yield from look_image(old["Image"])
    engine: EngineFacts = yield Identify()
    if judged:
        yield Verify(wanted.reference)
    yield PreHook(old)
    operation, target = yield from _acquire(operation, source, engine)
    if judged:
        yield Scan(wanted.reference, target["Id"], old)
    if operation.dry_run:
        raise DryRun("Dry run: the image was pulled, the container was left as it is")
    yield record(phase="prepare")
    yield from stop_if_cancelled()
    old = yield from _container(operation)
    return (yield from _journal(operation, old, source, target, engine))


def stop_if_cancelled() -> Plan[None]:
    """A point at which a cancel is honoured (updates.md §3.6)."""
    if (yield Checkpoint()):
        raise Cancelled


def _container(operation: Operation) -> Plan[Document]:
    found = yield from look(operation.container_id)
    if found is None:
        raise Gone(f"Container {operation.container_name} no longer exists")
    return found


def made_lately_by(container: Document, now_ms: int) -> str | None:
    """The operation that created a container, while the container is young enough to be still worked on."""
    made_by: str | None = (container["Config"].get("Labels") or {}).get(OPERATION_LABEL)
    created = from_iso(container.get("Created"))
    return made_by if created is not None and now_ms - created < SECOND_MANAGER_MS else None


# ── the image ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _acquire(operation: Operation, source: Document | None, engine: EngineFacts) -> Plan[tuple[Operation, Document]]:
    """The wanted image on the host under its reference, and on the platform of the old one."""
    wanted = operation.wanted
    daemon = _ARCHITECTURES.get(engine.architecture, engine.architecture)
    image = (yield from look_image(wanted.image_id)) if wanted.image_id else None
    if image is not None:
        yield from name_image(image, wanted.reference)
    else:
        operation = yield record(status="in-progress", phase="pulling")
        platform = None
        if source is not None and source.get("Architecture") not in (None, "", daemon):
            parts = (source.get("Os"), source["Architecture"], source.get("Variant"))
            platform = "/".join(part for part in parts if part)
        sources = [wanted.reference] if wanted.image_id is None else wanted.sources
        errors = list[str]()
        for used in sources:  # the first that can be pulled
            try:
                yield Pull(used, platform)
                break
            except EngineError as error:
                errors.append(error.message)
        else:
            raise PullFailed("; ".join(errors) or "The image is gone and no registry reference of it is known")
        image = yield InspectImage(used)
        assert image is not None
        if used != wanted.reference:
            yield from name_image(image, wanted.reference)
            if "@" not in used:
                yield Notice("rollback", f"{used} was pulled by its tag, which may have moved since the backup")

    runs, found = (source or {}).get("Architecture") or daemon, image.get("Architecture")
    if runs and found and runs != found:
        raise Refused(
            f'Cannot update to {wanted.reference}: image architecture "{found}" is not compatible with '
            f'Docker daemon architecture "{runs}". The running container has been left untouched.',
        )
    return operation, image


# ── the documents ───────────────────────────────────────────────────────────────────────────────────────────────────


def _journal(
    operation: Operation,
    old: Document,
    source: Document | None,
    target: Document,
    engine: EngineFacts,
) -> Plan[Operation]:
    """The last checks, which need the whole host; then everything that is needed to go there and back."""
    same = old["Image"] == target["Id"] and old["Config"]["Image"] == operation.wanted.reference
    if same and operation.source != "dependent":
        raise NothingToDo("The container already runs this image")
    entries: list[Document] = yield ListContainers()
    dependents = yield from _dependents(old, entries)
    successor, notes = yield from _successor(operation, old, source, target, engine)
    files: FilesPlan = yield PlanFiles(old)
    name, stamp = old["Name"].lstrip("/"), (yield from wall_time())
    taken = {taken.lstrip("/") for entry in entries for taken in entry.get("Names") or []}
    while temporary_name(name, stamp) in taken:
        stamp += 1
    backup_id = yield from _backup(operation, old, source)
    host, state = old.get("HostConfig") or {}, old["State"]
    # Stopped by us (a dependent), or by the crash that interrupted the operation: it counts as running (§0, I2).
    stopped_since = (operation.source == "dependent" or operation.attempt > 0) and operation.old_container_was_running
    operation = yield record(
        old_container_id=old["Id"],
        old_name=name,
        temp_name=temporary_name(name, stamp),
        old_container_was_running=bool(state.get("Running") or state.get("Restarting") or stopped_since),
        old_spec=old,
        new_spec=successor.document,
        networks_to_connect=successor.connects,
        old_image_id=old["Image"],
        old_repo_digests=list((source or {}).get("RepoDigests") or []),
        old_restart_policy=host.get("RestartPolicy"),
        auto_remove=bool(host.get("AutoRemove")),
        target_image_id=target["Id"],
        dependents=dependents,
        backup_id=backup_id,
        edits=files.edits or operation.edits,
        post_start=files.post_start,
        service=files.service,
        warnings=[
            *operation.warnings,
            *files.warnings,
            *notes,
        ],
    )
    return operation


def _dependents(old: Document, entries: list[Document]) -> Plan[list[Dependent]]:
    """The containers that share a namespace of the old one. Refuses where the host cannot have it anew."""
    # A network in which the container runs at this moment exists: the Engine removes none that is in use.
    for name in networks_not_in_use(old):
        try:
            yield InspectNetwork(name)
        except EngineNotFound as error:
            text = f"Network {name} no longer exists: create it again, or detach the container from it"
            raise Refused(text) from error
    dependents: list[Dependent] = yield Dependents(old, entries)
    if dependents and (yield WhoAmI()) in [dependent.id for dependent in dependents]:
        raise Refused(
            "Drydock itself shares a namespace of this container and would be stopped with it: "
            "update it from outside, for example with `docker compose up -d`",
        )
    return dependents


def _successor(
    operation: Operation, old: Document, source: Document | None, target: Document, engine: EngineFacts
) -> Plan[tuple[Clone, list[str]]]:
    """The document of the new container, and what people should know about it."""
    replaced, inherited = yield from _references(old)
    told, notes = old, list[str]()
    if engine.kind == "podman":
        if places := volumes_at_risk(old):
            raise Refused(
                f"Podman deletes the volume at {', '.join(places)} when this container, which removes itself, goes: an "
                "update that fails would lose the data. Give the volume a name, or create the container without --rm.",
            )
        check, command = yield PodmanSays(old["Id"], old["Image"])
        told, notes = as_docker(old, source["Config"] if source else None, check, command)
    made = clone(
        Subject(
            inspect=told,
            source=source["Config"] if source else None,
            target=target["Config"],
            reference=operation.wanted.reference,
            operation=operation.id,
            target_image_id=target["Id"],
            host_name=engine.name,
            default_runtime=engine.default_runtime,
            replaced=replaced,
            inherited_mounts=inherited,
        ),
    )
    return made, [*notes, *(note for note in made.notes if "old image" in note)]


def _references(old: Document) -> Plan[tuple[dict[str, str], frozenset[str]]]:
    """Successors of the containers this one hangs on, and the mounts it inherits from some of them."""
    replaced, inherited = dict[str, str](), set[str]()
    for field, ref in container_references(old).items():
        other = yield from look(ref)
        if other is None or is_temporary(other["Name"].lstrip("/")):
            successor: str | None = yield Successor(ref)
            other = ((yield from look(successor)) if successor else None) or other
        if other is None:
            raise Refused(f"{field.split(':')[0]} refers to container {ref[:12]}, which no longer exists")
        if not joins({ref}, other):
            replaced[ref] = other["Id"]
        if field.startswith("VolumesFrom"):
            inherited |= {mount["Destination"] for mount in other.get("Mounts") or []}
    return replaced, frozenset(inherited)


def _backup(operation: Operation, old: Document, source: Document | None) -> Plan[str | None]:
    """Keep the old image alive by a tag, and write the backup record (updates.md §8.1).

    A rollback makes one only of a container that is well: a broken one is not worth going back to.
    """
    worth_keeping = operation.source != "dependent"
    if operation.kind == "container-rollback":
        healthy = (old["State"].get("Health") or {}).get("Status") == "healthy" or not has_health_check(old)
        worth_keeping = worth_keeping and bool(old["State"].get("Running")) and healthy
    if source is None or not worth_keeping:
        return None
    current: Operation = yield CurrentRow()
    if current.backup_id is not None:
        return current.backup_id
    backup_id: str | None = yield SaveBackup(old, source)
    if backup_id is not None:
        yield Tag(source["Id"], *backup_reference(old["Name"].lstrip("/"), backup_id))
    return backup_id


def explain(error: DrydockError, operation: Operation) -> str:
    """The message of a failed start, with what to check when the program inside could not be found."""
    text = error.message
    known = ("no such file or directory", "executable file not found", "permission denied")
    if "exec:" not in text or not any(phrase in text for phrase in known):
        return text
    source = (operation.old_spec or {}).get("Config", {}).get("Image", "the old image")
    return (
        f"Container {operation.container_name} could not be started from {operation.wanted.reference} (it ran {source}): "
        f"its command does not exist in the new image. Review Entrypoint/Cmd overrides. {text}"
    )
