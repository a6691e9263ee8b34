"""What a Compose file says its services depend on (watching.md §5.12): reading the files, nothing else.

Compose writes the host's path of its files into the labels of the containers. Where Drydock runs in a container, the
paths lead through its own bind mounts. Names in `depends_on` are services, resolved where they are used.
"""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from drydock.core.compose_labels import CONFIG_FILES, SERVICE, WORKING_DIR
from drydock.core.labels import DEPENDS_ON, csv
from drydock.docker.api import EngineReader
from drydock.docker.own import OwnFolders

log = structlog.get_logger("watcher")

LARGEST = 1024 * 1024
"""A Compose file larger than this is not read."""

Services = Mapping[str, Any]


@dataclass
class ComposeFiles:
    """Reads each file once while it stays as it is."""

    folders: OwnFolders = field(default_factory=OwnFolders)
    _kept: dict[str, tuple[int, Services]] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)

    async def depends_on(self, reader: EngineReader, labels: Mapping[str, str]) -> tuple[str, ...] | None:
        """Services that this one depends on; None when no file says so, or a label replaces the detection."""
        service = labels.get(SERVICE, "").strip()
        folder = labels.get(WORKING_DIR, "")
        files = [posixpath.normpath(posixpath.join(folder, path)) for path in csv(labels.get(CONFIG_FILES))]
        if not service or not files or DEPENDS_ON in labels:
            return None
        translate = await self.folders.translation(reader)
        return await asyncio.to_thread(self._read_all, service, [translate(path) for path in files])

    def _read_all(self, service: str, paths: Sequence[str]) -> tuple[str, ...] | None:
        found: list[Services] = []
        for path in paths:
            try:
                stamp = Path(path).stat().st_mtime_ns
                kept = self._kept.get(path)
                if kept is None or kept[0] != stamp:
                    kept = self._kept[path] = (stamp, services_of(path))
                found.append(kept[1])
            except (OSError, ValueError) as error:
                self._warn(f"{path} cannot be read: {error}")
        if not found:
            self._warn(f"none of {', '.join(paths)} can be read: dependencies of {service} stay unknown")
            return None
        known = {name for services in found for name in services}
        named = dict.fromkeys(name for services in found for name in dependencies(services.get(service)))
        if service in named:
            self._warn(f"service {service} depends on itself; ignored")
        for name in named.keys() - known:
            self._warn(f"service {service} depends on {name}, which its files do not define; ignored")
        return tuple(name for name in named if name != service and name in known)

    def _warn(self, reason: str) -> None:
        if reason not in self._told:
            self._told.add(reason)
            log.warning("watcher.compose_file", reason=reason)


def services_of(path: str) -> Services:
    """The services of a Compose file. Raises OSError, or ValueError for what is no Compose file."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    file = Path(path)
    if file.stat().st_size > LARGEST:
        raise ValueError("it is larger than 1 MiB")
    try:
        document = YAML(typ="safe", pure=True).load(file.read_text("utf-8"))
    except YAMLError as error:
        raise ValueError(str(error).splitlines()[0]) from error
    services = document.get("services") if isinstance(document, Mapping) else None
    if not isinstance(services, Mapping):
        raise ValueError("it defines no services")
    return {str(name): body for name, body in services.items()}


def dependencies(service: Any) -> Iterable[str]:
    """The names in a service's `depends_on`: a list, or the keys of a mapping."""
    listed = service.get("depends_on") if isinstance(service, Mapping) else None
    return [str(name).strip() for name in listed if str(name).strip()] if isinstance(listed, list | Mapping) else []
