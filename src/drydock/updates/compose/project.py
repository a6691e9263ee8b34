"""The Compose project of a container: its files, its service, and what an update changes in them (updates.md §11).

`plan_files` reads and validates everything before the container is touched; what it returns is journaled and written
after the new container has passed its gate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from drydock.core.operation import FileEdit, Operation, PostStart
from drydock.docker.own import Translate
from drydock.updates.actions import Action
from drydock.updates.compose.edit import ComposeProblem, Edited, edit_image, services_of
from drydock.updates.compose.files import read_text, sha256

CONFIG_FILES = "com.docker.compose.project.config_files"
WORKING_DIR = "com.docker.compose.project.working_dir"
ENV_FILES = "com.docker.compose.project.environment_file"
SERVICE = "com.docker.compose.service"
NAMES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")


class FilesPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What an update changes on disk, and what Compose would run after the start."""

    edits: list[FileEdit] = []
    post_start: list[PostStart] = []
    service: str | None = None
    warnings: list[str] = []


NOTHING = FilesPlan()


def _as_it_is(path: str) -> str:
    return path


async def plan_files(
    operation: Operation,
    action: Action | None,
    labels: Mapping[str, str],
    current: str,
    translate: Translate = _as_it_is,
) -> FilesPlan:
    """Edits for this update; raises `ComposeProblem` when a `dockercompose` action must not go on without them.

    For plain `docker` actions the edit is a courtesy: what does not work out is a warning. `translate` tells where we
    see the paths that Compose wrote into the labels.
    """
    if operation.source == "dependent" or action is None:
        return NOTHING
    return await asyncio.to_thread(_plan, operation, action, labels, current, translate)


def _plan(
    operation: Operation, action: Action, labels: Mapping[str, str], current: str, translate: Translate
) -> FilesPlan:
    files, service = config_files(labels, action, translate), labels.get(SERVICE)
    if not files or not service:
        return NOTHING
    env_path = _environment_file(labels, files[0], translate)
    try:
        return _edits(operation, action, env_path, current, files, service)
    except (ComposeProblem, OSError) as error:
        text = error.message if isinstance(error, ComposeProblem) else f"{error.filename}: {error.strerror}"
        if action.type == "dockercompose" and action.reconciliation_mode == "block":
            raise ComposeProblem(text) from error
        return FilesPlan(service=service, warnings=[text])


def config_files(labels: Mapping[str, str], action: Action, translate: Translate = _as_it_is) -> list[Path]:
    """The files of the container's project, in order: its own label, Compose's labels, the action's FILE.

    Compose's own labels hold paths of the host; what an operator wrote is a path as we see it.
    """
    folder = labels.get(WORKING_DIR, "")
    if own := labels.get(action.compose_file_label, "").strip():
        return [_absolute(own, translate(folder))]
    if named := [part.strip() for part in labels.get(CONFIG_FILES, "").split(",") if part.strip()]:
        return [Path(translate(str(_absolute(part, folder)))) for part in named]
    return _probe(Path(action.file)) if action.file else []


def _absolute(text: str, folder: str) -> Path:
    return Path(text) if Path(text).is_absolute() else Path(folder) / text


def _probe(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return [path / name for name in NAMES if (path / name).exists()][:1]


def _edits(
    operation: Operation,
    action: Action,
    env_path: Path | None,
    current: str,
    files: list[Path],
    service: str,
) -> FilesPlan:
    texts = {path: read_text(path) for path in files}
    merged = _merged(texts.values(), service)
    if merged is None:
        raise ComposeProblem(f"Service {service} is not defined in {', '.join(map(str, files))}")
    _reconcile(action, service, merged, current)
    hooks = _post_start(merged)
    reference = _target(operation, action)
    if reference is None or "image" not in merged:
        return FilesPlan(post_start=hooks, service=service)
    path = _file_to_edit(texts, service)
    env_text = read_text(env_path) if env_path else None
    edited = edit_image(texts[path], service, reference, env_text)
    edits = [
        edit for edit in (_edit(path, texts[path], edited.compose, action), _env(env_path, env_text, edited)) if edit
    ]
    return FilesPlan(edits=edits, post_start=hooks, service=service)


def _merged(texts: Iterable[str], service: str) -> dict[str, Any] | None:
    """The service over the whole chain, later files win key by key."""
    found: dict[str, Any] | None = None
    for text in texts:
        part = services_of(text).get(service)
        if isinstance(part, dict):
            found = {**(found or {}), **part}
    return found


def _reconcile(action: Action, service: str, merged: Mapping[str, Any], current: str) -> None:
    """The running image and the declared one should be the same before anything is changed."""
    declared = str(merged.get("image", ""))
    if action.type != "dockercompose" or action.reconciliation_mode != "block" or "$" in declared or not declared:
        return
    if _with_tag(declared) != _with_tag(current):
        raise ComposeProblem(f"Service {service} declares {declared}, but {current} runs: reconcile them first")


def _with_tag(reference: str) -> str:
    bare = reference.removeprefix("docker.io/").removeprefix("library/")
    return bare if ":" in bare.rpartition("/")[2] or "@" in bare else f"{bare}:latest"


def _target(operation: Operation, action: Action) -> str | None:
    """The reference to write; None when the file stays: the same tag again, unless digests are pinned."""
    wanted = operation.wanted
    if action.type == "dockercompose" and action.digest_pinning and wanted.digest:
        name = wanted.reference.partition("@")[0]
        head, colon, tail = name.rpartition(":")
        digest = wanted.digest if ":" in wanted.digest else f"sha256:{wanted.digest}"
        return f"{head if colon and '/' not in tail else name}@{digest}"
    same_tag = operation.from_version == operation.to_version or (operation.to_version or "").startswith("sha256:")
    return None if same_tag else wanted.reference


def _file_to_edit(texts: Mapping[Path, str], service: str) -> Path:
    """The last file of the chain where the service's image literally stands."""
    holding = [path for path, text in texts.items() if "image" in (services_of(text).get(service) or {})]
    if not holding:
        raise ComposeProblem(f"No file of the project holds the image of service {service}")
    return holding[-1]


def _environment_file(labels: Mapping[str, str], compose: Path, translate: Translate) -> Path | None:
    named = labels.get(ENV_FILES, "").split(",")[-1].strip()
    folder = labels.get(WORKING_DIR)
    if named:
        path = Path(translate(str(_absolute(named, folder or ""))))
    else:
        path = (Path(translate(folder)) if folder else compose.parent) / ".env"
    return path if path.is_file() else None


def _edit(path: Path, before: str, after: str | None, action: Action) -> FileEdit | None:
    if after is None or after == before:
        return None
    return FileEdit(
        path=str(path),
        before=before,
        after=after,
        sha_before=sha256(before),
        sha_after=sha256(after),
        backup=action.backup,
    )


def _env(path: Path | None, before: str | None, edited: Edited) -> FileEdit | None:
    if path is None or before is None or edited.env is None or edited.env == before:
        return None
    return FileEdit(
        path=str(path), before=before, after=edited.env, sha_before=sha256(before), sha_after=sha256(edited.env)
    )


def _post_start(merged: Mapping[str, Any]) -> list[PostStart]:
    """`post_start` in each of its forms: a text, a list of words, or `{command, environment}`."""
    entries = merged.get("post_start") or []
    found = []
    for entry in entries if isinstance(entries, list) else [entries]:
        command = entry.get("command") if isinstance(entry, dict) else entry
        words = ["/bin/sh", "-c", command] if isinstance(command, str) else [str(word) for word in command or []]
        found.append(PostStart(command=words, environment=_environment(entry)))
    return found


def _environment(entry: Any) -> list[str]:
    values = entry.get("environment") if isinstance(entry, dict) else None
    if isinstance(values, dict):
        return [f"{key}={'' if value is None else value}" for key, value in values.items()]
    return [str(value) for value in values or []]
