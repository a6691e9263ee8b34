"""The Compose project of a container: its files, its service, and what an update changes in them (updates.md §11).

`plan_files` reads and validates everything before the container is touched; what it returns is journaled and written
after the new container has passed its gate.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from drydock.core.compose_labels import ENVIRONMENT_FILES, PROJECT, SERVICE, WORKING_DIR
from drydock.core.operation import FileEdit, Operation, PostStart
from drydock.core.reference import DEFAULT_TAG, split
from drydock.docker.own import Translate
from drydock.hosts.host import Hosts
from drydock.updates.actions import Action, Actions
from drydock.updates.compose.files import ComposeProblem, Interpolated, Invalid, read_text, sha256
from drydock.updates.compose.locate import absolute, as_it_is, serving_files

_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class FilesPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What an update changes on disk, and what Compose would run after the start."""

    edits: list[FileEdit] = []
    post_start: list[PostStart] = []
    service: str | None = None
    warnings: list[str] = []


NOTHING = FilesPlan()


class ComposeProjects:
    """Plans the edits of updates, wherever Compose's files are seen from here."""

    def __init__(self, actions: Actions, hosts: Hosts) -> None:
        self._actions = actions
        self._hosts = hosts

    async def plan(self, operation: Operation, container: Mapping[str, Any]) -> FilesPlan:
        """`plan_files` for a container's document; nothing for one that no Compose file describes."""
        config = container["Config"]
        labels: dict[str, str] = config.get("Labels") or {}
        action = self._actions.get(operation.trigger_name)
        if SERVICE not in labels and (action is None or action.file is None):
            return NOTHING
        host = self._hosts.of(operation)
        return await plan_files(operation, action, labels, config["Image"], await host.folders.translation(host.reader))


async def plan_files(
    operation: Operation,
    action: Action | None,
    labels: Mapping[str, str],
    current: str,
    translate: Translate = as_it_is,
) -> FilesPlan:
    """Edits for this update; raises `ComposeProblem` when a `dockercompose` action must not go on without them.

    For plain `docker` actions the edit is optional: a failure is a warning. `translate` says where Drydock
    sees the paths that Compose wrote into the labels.
    """
    if operation.source == "dependent" or action is None:
        return NOTHING
    return await asyncio.to_thread(_plan, operation, action, labels, current, translate)


def _plan(
    operation: Operation, action: Action, labels: Mapping[str, str], current: str, translate: Translate
) -> FilesPlan:
    try:
        found = serving_files(labels, action, translate)
        if not found.files:
            return FilesPlan(warnings=found.warnings)
        plan = _read_and_edit(operation, action, labels, current, translate, found.files)
    except (ComposeProblem, OSError) as error:
        # A Compose action goes no further without its file, or with `block` without its edit; a plain one only says so.
        text = error.message if isinstance(error, ComposeProblem) else _unreadable(error)
        if action.type == "dockercompose" and not isinstance(error, Interpolated):
            name = operation.container_name
            raise ComposeProblem(f"No compose updates were applied for container {name}: {text}") from error
        if action.type == "dockercompose" and action.reconciliation_mode == "block":
            raise ComposeProblem(text) from error
        return FilesPlan(service=labels.get(SERVICE), warnings=[text])
    return msgspec.structs.replace(plan, warnings=[*found.warnings, *plan.warnings])


def _unreadable(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{error.filename} does not exist"
    if isinstance(error, PermissionError):
        return f"{error.filename}: permission denied (give Drydock's user the file's group, with group_add)"
    return f"{error.filename or ''}: {error.strerror or error}"


def _read_and_edit(
    operation: Operation,
    action: Action,
    labels: Mapping[str, str],
    current: str,
    translate: Translate,
    files: list[Path],
) -> FilesPlan:
    from drydock.updates.compose.edit import services_of  # the YAML library comes into memory with the first file

    texts = {path: read_text(path) for path in files}
    parsed = {path: services_of(text) for path, text in texts.items()}
    service = labels.get(SERVICE) or _guess(parsed.values(), labels, action, current)
    if service is None:
        return NOTHING

    # The service over the whole chain: later files win key by key.
    parts = [part for services in parsed.values() if isinstance(part := services.get(service), dict)]
    if not parts:
        raise ComposeProblem(f"Service {service} is not defined in {', '.join(map(str, files))}")
    merged: dict[str, Any] = {key: value for part in parts for key, value in part.items()}
    plan = FilesPlan(post_start=post_start(merged), service=service, warnings=_drift(action, service, merged, current))
    if "image" not in merged:
        note = f"Service {service} has no image in {', '.join(map(str, files))}: the files stay as they are"
        return msgspec.structs.replace(plan, warnings=[*plan.warnings, note])

    # The same tag again changes no file, unless digests are pinned.
    wanted, reference = operation.wanted, operation.wanted.reference
    if action.type == "dockercompose" and action.digest_pinning and wanted.digest:
        digest = wanted.digest if ":" in wanted.digest else f"sha256:{wanted.digest}"
        reference = f"{split(reference).name}@{digest}"
    elif operation.from_version == operation.to_version or (operation.to_version or "").startswith("sha256:"):
        return plan

    # The last file of the chain where the service's image literally stands is the one that is changed.
    holding = [path for path, services in parsed.items() if "image" in (services.get(service) or {})]
    if not holding:
        raise ComposeProblem(f"No file of the project holds the image of service {service}")
    env_path = _environment_file(labels, files[0], translate)
    edits = _edits(holding[-1], texts[holding[-1]], service, reference, env_path, backup=action.backup)
    return msgspec.structs.replace(plan, edits=edits)


def _guess(parsed: Iterable[Mapping[str, Any]], labels: Mapping[str, str], action: Action, current: str) -> str | None:
    """A container without Compose labels, served through FILE: the first service of its image, exactly or in part."""
    if PROJECT in labels or action.file is None:
        return None
    images = {
        name: str(part["image"])
        for services in parsed
        for name, part in services.items()
        if isinstance(part, dict) and part.get("image")
    }
    for same in (str.__eq__, _same_with_tag, str.__contains__):
        if found := next((name for name, image in images.items() if same(image, current)), None):
            return found
    return None


def _drift(action: Action, service: str, merged: Mapping[str, Any], current: str) -> list[str]:
    """The running image and the declared one should be the same before anything is changed; RECONCILIATIONMODE decides."""
    declared = str(merged.get("image", ""))
    if action.type != "dockercompose" or action.reconciliation_mode == "off" or "$" in declared or not declared:
        return []
    if _same_with_tag(declared, current):
        return []
    text = f"Service {service} declares {declared}, but {current} runs: reconcile them first"
    if action.reconciliation_mode == "block":
        raise ComposeProblem(text)
    return [text]


def _same_with_tag(declared: str, current: str) -> bool:
    """Whether two references mean the same tag, however short they are written."""
    found = []
    for reference in (declared, current):
        bare = reference.removeprefix("docker.io/").removeprefix("library/")
        _, tag, digest = split(bare)
        found.append(bare if tag or digest else f"{bare}:{DEFAULT_TAG}")
    return found[0] == found[1]


def _environment_file(labels: Mapping[str, str], compose: Path, translate: Translate) -> Path | None:
    named = labels.get(ENVIRONMENT_FILES, "").split(",")[-1].strip()
    folder = labels.get(WORKING_DIR)
    if named:
        path = Path(translate(str(absolute(named, folder or ""))))
    else:
        path = (Path(translate(folder)) if folder else compose.parent) / ".env"
    return path if path.is_file() else None


def _edits(
    path: Path, text: str, service: str, reference: str, env_path: Path | None, *, backup: bool
) -> list[FileEdit]:
    """What becomes of the Compose file, or of the `.env` file behind a variable in it."""
    from drydock.updates.compose.edit import edit_image

    env_text = read_text(env_path) if env_path else None
    try:
        edited = edit_image(text, service, reference, env_text)
    except Invalid as error:
        raise ComposeProblem(f"Error when validating compose configuration for {path} ({error.message})") from error
    edits: list[FileEdit] = []
    for file, before, after, keep in ((path, text, edited.compose, backup), (env_path, env_text, edited.env, False)):
        if file is None or before is None or after is None or after == before:
            continue
        if not os.access(file, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
        edits.append(
            FileEdit(
                path=str(file),
                before=before,
                after=after,
                sha_before=sha256(before),
                sha_after=sha256(after),
                backup=keep,
            )
        )
    return edits


# ── post_start (updates.md §11.6) ───────────────────────────────────────────────────────────────────────────────────


def post_start(service: Mapping[str, Any]) -> list[PostStart]:
    """`post_start` in each of its forms: a text for `sh -c`, a list of words, or a mapping with `command`.

    Raises `ComposeProblem` for what cannot be run, before anything is changed.
    """
    entries = service.get("post_start") or []
    hooks = []
    for entry in entries if isinstance(entries, list) else [entries]:
        facts: Mapping[str, Any] = entry if isinstance(entry, dict) else {"command": entry}
        command, user, folder = facts.get("command"), facts.get("user"), facts.get("working_dir")
        words = ["/bin/sh", "-c", command] if isinstance(command, str) else [str(word) for word in command or []]
        if not words:
            raise ComposeProblem("A post_start hook has no command")
        hooks.append(
            PostStart(
                command=words,
                environment=_environment(facts.get("environment")),
                user=None if user is None else str(user),
                working_dir=None if folder is None else str(folder),
                privileged=facts.get("privileged") is True,
            )
        )
    return hooks


def _environment(values: Any) -> list[str]:
    pairs = values.items() if isinstance(values, dict) else (str(value).partition("=")[::2] for value in values or [])
    found = []
    for key, value in pairs:
        if not _VARIABLE_NAME.fullmatch(str(key)):
            raise ComposeProblem(f"A post_start hook sets the variable {key!r}: names are letters, digits and _")
        found.append(f"{key}={'' if value is None else value}")
    return found
