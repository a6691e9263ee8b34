"""Who shares a namespace with a container: network, IPC or PID (updates.md §6.6, §12.4).

The Engine's list contains the network mode at most, and Podman's not even that. So every container has to be inspected once;
what it depends on is fixed at its creation, and remembered for as long as it exists. Code that inspects a container anyway –
the watcher, at its first look – lets this know.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from drydock.core.errors import EngineNotFound
from drydock.core.operation import Dependent
from drydock.docker.api import Document, EngineReader

CONTAINER_MODE = re.compile(r"^container:(?P<ref>.+)$")
"""A mode of `HostConfig` that names the container whose namespace is joined."""

MOST = 10_000
"""Containers remembered; the ones learned first are forgotten first."""


def container_references(inspect: Document) -> dict[str, str]:
    """Containers this one hangs on: `NetworkMode`, `IpcMode`, `PidMode` → id, and `VolumesFrom:<n>` → id or name."""
    host = inspect.get("HostConfig") or {}
    found = {}
    for field in ("NetworkMode", "IpcMode", "PidMode"):
        if match := CONTAINER_MODE.match(host.get(field) or ""):
            found[field] = match["ref"]
    for number, entry in enumerate(host.get("VolumesFrom") or []):
        found[f"VolumesFrom:{number}"] = entry.split(":")[0]
    return found


def shared_with(inspect: Document) -> frozenset[str]:
    """Containers whose network, IPC or PID namespace this one joins, by id or name as the Engine keeps them."""
    found = container_references(inspect)
    return frozenset(ref for field, ref in found.items() if not field.startswith("VolumesFrom"))


def joins(references: Collection[str], owner: Document) -> bool:
    """Whether one of `references` means the container `owner`: its id, the beginning of it, or its name."""
    identity, name = owner["Id"], owner["Name"].lstrip("/")
    return any(ref.lstrip("/") == name or (len(ref) >= 12 and identity.startswith(ref)) for ref in references)


class Namespaces:
    """What is known of one Engine's containers: answers from memory where it can, asks about those never seen."""

    def __init__(self) -> None:
        self._known: dict[str, frozenset[str]] = {}

    @property
    def known(self) -> Mapping[str, frozenset[str]]:
        """By container id, what it hangs on; containers never inspected are missing."""
        return self._known

    def learn(self, inspected: Document) -> None:
        """Remember what an inspected container hangs on."""
        self._keep(inspected["Id"], shared_with(inspected))

    async def explore(self, engine: EngineReader) -> None:
        """Inspect every container that was never seen. Raises `EngineError`."""
        for entry in await engine.list_containers(all=True):
            await self._of(engine, entry["Id"])

    async def dependents(self, engine: EngineReader, owner: Document, entries: Sequence[Document]) -> list[Dependent]:
        """The containers among `entries` (the Engine's list) that join a namespace of `owner`. Raises `EngineError`."""
        found = []
        for entry in entries:
            if entry["Id"] != owner["Id"] and joins(await self._of(engine, entry["Id"]), owner):
                name = (entry.get("Names") or [entry["Id"]])[0].lstrip("/")
                found.append(Dependent(id=entry["Id"], name=name, running=entry.get("State") == "running"))
        return found

    async def _of(self, engine: EngineReader, container: str) -> frozenset[str]:
        known = self._known.get(container)
        if known is None:
            try:
                known = shared_with(await engine.inspect_container(container))
            except EngineNotFound:
                known = frozenset()
        self._keep(container, known)
        return known

    def _keep(self, container: str, hangs_on: frozenset[str]) -> None:
        self._known[container] = hangs_on
        if len(self._known) > MOST:
            self._known.pop(next(iter(self._known)))
