"""Where the Compose files of a container are, and whether an action serves it (updates.md §11.1, §11.2, §2.3).

Compose's own labels hold paths of the host; what an operator wrote – a label, FILE – is a path as Drydock sees it. Nothing is
read here but the names in a folder.
"""

from __future__ import annotations

import functools
import posixpath
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import structs

from drydock.core.compose_labels import CONFIG_FILES, WORKING_DIR
from drydock.core.policy.automation import TriggerFacts
from drydock.docker.own import Translate
from drydock.updates.actions import Action
from drydock.updates.compose.files import ComposeProblem

NAMES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
_GENERIC_FOLDERS = frozenset({"app", "apps", "compose", "docker", "service", "services", "stack", "stacks"})


class Located(msgspec.Struct, frozen=True, kw_only=True):
    """The files of a container's project, in order, and what should be reported about the search."""

    files: list[Path] = []
    warnings: list[str] = []


def as_it_is(path: str) -> str:
    """No translation: Drydock sees the host's paths."""
    return path


def locate(labels: Mapping[str, str], action: Action, translate: Translate = as_it_is) -> Located:
    """The files, of the first source that names any: the container's own label, Compose's labels, the action's FILE."""
    folder, warnings = labels.get(WORKING_DIR, ""), list[str]()
    if own := labels.get(action.compose_file_label, "").strip():
        path = _inside(own, translate(folder))
        if path is not None:
            return Located(files=[path])
        warnings.append(f"Label {action.compose_file_label}={own} leads out of the project's folder and was ignored")
    if named := [part.strip() for part in labels.get(CONFIG_FILES, "").split(",") if part.strip()]:
        return Located(files=[Path(translate(str(absolute(part, folder)))) for part in named], warnings=warnings)
    return Located(files=probe(Path(action.file)) if action.file else [], warnings=warnings)


def serving_files(labels: Mapping[str, str], action: Action, translate: Translate = as_it_is) -> Located:
    """Like `locate`, for the action that carries out the update; `ComposeProblem` when it does not serve the container.

    A `dockercompose` action with FILE serves the projects that use this file. With MOUNTPREFIXFALLBACK the same folder
    and file name are enough: host and process may see the file at different places.
    """
    found = locate(labels, action, translate)
    if action.type != "dockercompose" or action.file is None or not found.files:
        return found
    own = _candidates(action.file)
    if any(posixpath.normpath(path) == posixpath.normpath(one) for path in found.files for one in own):
        return found
    for number, path in enumerate(found.files):
        for one in own:
            if action.mount_prefix_fallback and path.parts[-2:] == one.parts[-2:]:
                note = f"{path} is taken to be {one} (MOUNTPREFIXFALLBACK)"
                return Located(files=[*found.files[:number], one, *found.files[number + 1 :]], warnings=[note])
    shown = ", ".join(map(str, found.files))
    raise ComposeProblem(f"{action.id} serves {action.file}, but the container's project is {shown}")


def fit(action: Action, labels: Mapping[str, str]) -> Literal["verified", "unknown"] | None:
    """How well an action fits a container, for admission: None when its FILE belongs to another project.

    Looser than `serving_files`: here the host's paths are compared with ours, so a common ending must do.
    """
    if action.type != "dockercompose" or action.file is None:
        return "unknown"
    paths = [text for text in (labels.get(action.compose_file_label, ""), labels.get(CONFIG_FILES, "")) if text.strip()]
    if not paths:
        return "unknown"
    named = [absolute(part.strip(), labels.get(WORKING_DIR, "")) for part in paths[0].split(",") if part.strip()]
    return "verified" if any(_alike(path, one) for path in named for one in _candidates(action.file)) else None


def fitting(actions: Iterable[Action], labels: Mapping[str, str]) -> tuple[TriggerFacts, ...]:
    """The actions that may serve a container with these labels, as the policy sees them."""
    found = ((action, fit(action, labels)) for action in actions)
    return tuple(structs.replace(action.facts(), compose_file=known) for action, known in found if known is not None)


def _alike(path: Path, other: Path) -> bool:
    """The same ending: folder and name for generic names, the name alone for a distinctive one."""
    if path.parts == other.parts:
        return True
    common = 0
    for mine, theirs in zip(reversed(path.parts), reversed(other.parts), strict=False):
        if mine != theirs or mine == "/":
            break
        common += 1
    if path.name not in NAMES:
        return common >= 1
    return common > 2 or (common == 2 and path.parent.name not in _GENERIC_FOLDERS)


def absolute(text: str, folder: str) -> Path:
    """A path of a label, relative ones from `folder`."""
    return Path(text) if Path(text).is_absolute() else Path(folder) / text


def probe(path: Path) -> list[Path]:
    """A file, or the first of the usual names that a folder holds."""
    if not path.is_dir():
        return [path]
    return [path / name for name in NAMES if (path / name).exists()][:1]


@functools.cache
def _candidates(file: str) -> tuple[Path, ...]:
    """FILE itself, or the usual names in it; it is looked at once."""
    return tuple(Path(file) / name for name in NAMES) if Path(file).is_dir() else (Path(file),)


def _inside(text: str, folder: str) -> Path | None:
    """What an operator wrote: an absolute path as it is, a relative one only inside of the project's folder."""
    if Path(text).is_absolute():
        return Path(text)
    base = posixpath.normpath(folder) if folder else ""
    path = posixpath.normpath(posixpath.join(base, text))
    return Path(path) if base and path.startswith(base.rstrip("/") + "/") else None
