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
from drydock.docker.host import EngineFacts
from drydock.docker.namespaces import container_references, joins
from drydock.updates.compose.project import FilesPlan
from drydock.updates.plan.clone import Subject, clone, networks_not_in_use
from drydock.updates.plan.effects import (
    Cancelled,
    Checkpoint,
    CurrentRow,
    Dependents,
    Document,
    Identify,
    InspectImage,
    InspectNetwork,
    ListContainers,
    Notice,
    Plan,
    PlanFiles,
    PlanOptions,
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
    write,
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


def prepare(operation: Operation, options: PlanOptions) -> Plan[Operation]:
    """Make the image available, check everything that can be checked, journal how to go there and back."""
    old = yield from _container(operation)
    _refuse_foreign(old)
    yield from _refuse_second_manager(old)
    operation = yield from _spell(operation, old)
    source = yield from look_image(old["Image"])
    engine: EngineFacts = yield Identify()
    if _judged(operation):
        yield Verify(operation.wanted.reference)
    yield PreHook(old)
    operation, target = yield from _acquire(operation, source, engine)
    _same_platform(operation, source, target, engine)
    yield from _scan(operation, old, target)
    if operation.dry_run:
        raise DryRun("Dry run: the image was pulled, the container was left as it is")
    yield record(phase="prepare")
    yield from stop_if_cancelled()
    old = yield from _container(operation)
    return (yield from _journal(operation, options, old, source, target, engine))


def stop_if_cancelled() -> Plan[None]:
    """A point at which a cancel is honoured (updates.md §3.6)."""
    if (yield Checkpoint()):
        raise Cancelled


def _container(operation: Operation) -> Plan[Document]:
    found = yield from look(operation.container_id)
    if found is None:
        raise Gone(f"Container {operation.container_name} no longer exists")
    return found


def _refuse_foreign(old: Document) -> None:
    name = old["Name"].lstrip("/")
    if base := temporary_base(name):
        raise Refused(
            f"Container {name} is the leftover of an update of {base}: "
            f"rename it back with `docker rename {name} {base}`, or remove it when {base} exists",
        )
    if SWARM_TASK in (old["Config"].get("Labels") or {}):
        raise Refused("Container is managed by Docker Swarm")


def _refuse_second_manager(old: Document) -> Plan[None]:
    made_by = made_lately_by(old, (yield from wall_time()))
    if made_by and (yield Stranger(made_by)):
        raise Refused(SECOND_MANAGER)


def made_lately_by(container: Document, now_ms: int) -> str | None:
    """The operation that created a container, while the container is young enough to be still worked on."""
    made_by: str | None = (container["Config"].get("Labels") or {}).get(OPERATION_LABEL)
    created = from_iso(container.get("Created"))
    return made_by if created is not None and now_ms - created < SECOND_MANAGER_MS else None


def _spell(operation: Operation, old: Document) -> Plan[Operation]:
    """The target keeps the spelling of the container's own reference, so that a file and `docker ps` stay the same."""
    wanted = operation.wanted
    reference = spelled(wanted, old["Config"]["Image"]) if wanted.tag or wanted.digest else wanted.reference
    if reference == wanted.reference:
        return operation
    return (yield from write(wanted=msgspec.structs.replace(wanted, reference=reference), target_image=reference))


# ── the image ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _acquire(operation: Operation, source: Document | None, engine: EngineFacts) -> Plan[tuple[Operation, Document]]:
    wanted = operation.wanted
    if wanted.image_id and (here := (yield from look_image(wanted.image_id))) is not None:
        yield from name_image(here, wanted.reference)
        return operation, here
    operation = yield record(status="in-progress", phase="pulling")
    sources = [wanted.reference] if wanted.image_id is None else wanted.sources
    used = yield from _pull_first(sources, _platform(source, engine))
    image: Document = yield InspectImage(used)
    if used != wanted.reference:
        yield from name_image(image, wanted.reference)
        if "@" not in used:
            yield Notice("rollback", f"{used} was pulled by its tag, which may have moved since the backup")
    return operation, image


def _pull_first(sources: list[str], platform: str | None) -> Plan[str]:
    errors = []
    for reference in sources:
        try:
            yield Pull(reference, platform)
        except EngineError as error:
            errors.append(error.message)
            continue
        return reference
    raise PullFailed("; ".join(errors) or "The image is gone and no registry reference of it is known")


def _platform(source: Document | None, engine: EngineFacts) -> str | None:
    """`os/arch[/variant]` when the old image is not of the daemon's own platform."""
    if source is None or not source.get("Architecture"):
        return None
    if source["Architecture"] == _ARCHITECTURES.get(engine.architecture, engine.architecture):
        return None
    return "/".join(part for part in (source.get("Os"), source["Architecture"], source.get("Variant")) if part)


def _same_platform(operation: Operation, source: Document | None, target: Document, engine: EngineFacts) -> None:
    wanted = (source or {}).get("Architecture") or _ARCHITECTURES.get(engine.architecture, engine.architecture)
    found = target.get("Architecture")
    if wanted and found and wanted != found:
        raise Refused(
            f'Cannot update to {operation.wanted.reference}: image architecture "{found}" is not compatible with '
            f'Docker daemon architecture "{wanted}". The running container has been left untouched.',
        )


def _judged(operation: Operation) -> bool:
    """What is going to be new here is judged by the security gate; what ran before is not."""
    return operation.source != "dependent" and operation.kind != "container-rollback"


def _scan(operation: Operation, old: Document, target: Document) -> Plan[None]:
    if _judged(operation):
        yield Scan(operation.wanted.reference, target["Id"], old)


# ── the documents ───────────────────────────────────────────────────────────────────────────────────────────────────


def _journal(
    operation: Operation,
    options: PlanOptions,
    old: Document,
    source: Document | None,
    target: Document,
    engine: EngineFacts,
) -> Plan[Operation]:
    if _already_there(operation, old, target):
        raise NothingToDo("The container already runs this image")
    entries: list[Document] = yield ListContainers()
    yield from _networks_exist(old)
    dependents: list[Dependent] = yield Dependents(old, entries)
    yield from _not_ourselves(dependents)
    replaced, inherited = yield from _references(old)
    told, notes = yield from _in_dockers_words(old, source, engine)
    result = clone(
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
    files: FilesPlan = yield PlanFiles(old)
    temporary = yield from _temporary_name(old, entries)
    backup_id = yield from _backup(operation, options, old, source)
    operation = yield record(
        old_container_id=old["Id"],
        old_name=old["Name"].lstrip("/"),
        temp_name=temporary,
        old_container_was_running=_was_running(operation, old),
        old_spec=old,
        new_spec=result.document,
        networks_to_connect=result.connects,
        old_image_id=old["Image"],
        old_repo_digests=list((source or {}).get("RepoDigests") or []),
        old_restart_policy=(old.get("HostConfig") or {}).get("RestartPolicy"),
        auto_remove=bool((old.get("HostConfig") or {}).get("AutoRemove")),
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
            *(note for note in result.notes if "old image" in note),
        ],
    )
    return operation


def _in_dockers_words(old: Document, source: Document | None, engine: EngineFacts) -> Plan[tuple[Document, list[str]]]:
    """The container's document for the clone, whichever Engine gave it."""
    if engine.kind != "podman":
        return old, []
    if places := volumes_at_risk(old):
        raise Refused(
            f"Podman deletes the volume at {', '.join(places)} when this container, which removes itself, goes: an update "
            "that fails would lose the data. Give the volume a name, or create the container without --rm.",
        )
    check, command = yield PodmanSays(old["Id"], old["Image"])
    return as_docker(old, source["Config"] if source else None, check, command)


def _already_there(operation: Operation, old: Document, target: Document) -> bool:
    same = old["Image"] == target["Id"] and old["Config"]["Image"] == operation.wanted.reference
    return same and operation.source != "dependent"


def _was_running(operation: Operation, old: Document) -> bool:
    """Also when Drydock stopped it (a dependent), or the crash that interrupted the operation (§0, I2)."""
    if old["State"].get("Running") or old["State"].get("Restarting"):
        return True
    stopped_since = operation.source == "dependent" or operation.attempt > 0
    return bool(stopped_since and operation.old_container_was_running)


def _not_ourselves(dependents: list[Dependent]) -> Plan[None]:
    """Drydock would cut itself off by replacing the container whose network it shares."""
    if not dependents:
        return
    own: str | None = yield WhoAmI()
    if any(dependent.id == own for dependent in dependents):
        raise Refused(
            "Drydock itself shares a namespace of this container and would be stopped with it: "
            "update it from outside, for example with `docker compose up -d`",
        )


def _networks_exist(old: Document) -> Plan[None]:
    """A network in which the container runs at this moment exists: the Engine removes none that is in use."""
    for name in networks_not_in_use(old):
        try:
            yield InspectNetwork(name)
        except EngineNotFound as error:
            raise Refused(
                f"Network {name} no longer exists: create it again, or detach the container from it",
            ) from error


def _references(old: Document) -> Plan[tuple[dict[str, str], frozenset[str]]]:
    """Successors of the containers this one hangs on, and the mounts it inherits from some of them."""
    replaced, inherited = dict[str, str](), set[str]()
    for field, ref in container_references(old).items():
        other = yield from look(ref)
        if other is None or is_temporary(other["Name"].lstrip("/")):
            other = (yield from _heir(ref)) or other
        if other is None:
            raise Refused(f"{field.split(':')[0]} refers to container {ref[:12]}, which no longer exists")
        if not joins({ref}, other):
            replaced[ref] = other["Id"]
        if field.startswith("VolumesFrom"):
            inherited |= {mount["Destination"] for mount in other.get("Mounts") or []}
    return replaced, frozenset(inherited)


def _heir(container: str) -> Plan[Document | None]:
    successor: str | None = yield Successor(container)
    return (yield from look(successor)) if successor else None


def _temporary_name(old: Document, entries: list[Document]) -> Plan[str]:
    taken = {name.lstrip("/") for entry in entries for name in entry.get("Names") or []}
    name, stamp = old["Name"].lstrip("/"), (yield from wall_time())
    while temporary_name(name, stamp) in taken:
        stamp += 1
    return temporary_name(name, stamp)


def _backup(operation: Operation, options: PlanOptions, old: Document, source: Document | None) -> Plan[str | None]:
    """Keep the old image alive by a tag, and write the backup record (updates.md §8.1)."""
    if source is None or not options.backup or not _worth_keeping(operation, old):
        return None
    current: Operation = yield CurrentRow()
    if current.backup_id is not None:
        return current.backup_id
    backup_id: str | None = yield SaveBackup(old, source)
    if backup_id is not None:
        yield Tag(source["Id"], *backup_reference(old["Name"].lstrip("/"), backup_id))
    return backup_id


def _worth_keeping(operation: Operation, old: Document) -> bool:
    if operation.source == "dependent":
        return False
    if operation.kind != "container-rollback":
        return True
    health = (old["State"].get("Health") or {}).get("Status")
    return bool(old["State"].get("Running")) and (health == "healthy" or not has_health_check(old))


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
