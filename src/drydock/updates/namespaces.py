"""Who shares a namespace with a container: network, IPC or PID (updates.md §6.6, §12.4).

The Engine's list tells the network mode at most, and Podman's not even that. So every container is inspected once; what
it hangs on is fixed at its creation, and remembered for as long as it exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drydock.core.errors import EngineNotFound
from drydock.core.operation import Dependent
from drydock.core.recreate import joins, shared_with
from drydock.docker.api import Engine

Document = dict[str, Any]


class Namespaces:
    """Answers from memory where it can; keeps nothing about containers that are gone."""

    def __init__(self) -> None:
        self._known: dict[int, dict[str, frozenset[str]]] = {}

    async def dependents(self, engine: Engine, owner: Document, entries: Sequence[Document]) -> list[Dependent]:
        """The containers among `entries` (the Engine's list) that join a namespace of `owner`. Raises `EngineError`."""
        before, now = self._known.get(id(engine), {}), dict[str, frozenset[str]]()
        for entry in entries:
            if entry["Id"] == owner["Id"]:
                continue
            found = before.get(entry["Id"])
            now[entry["Id"]] = await _references(engine, entry["Id"]) if found is None else found
        self._known[id(engine)] = now
        return [_dependent(entry) for entry in entries if joins(now.get(entry["Id"], ()), owner)]


async def _references(engine: Engine, container: str) -> frozenset[str]:
    try:
        document = await engine.inspect_container(container)
    except EngineNotFound:
        return frozenset()
    return shared_with(document)


def _dependent(entry: Document) -> Dependent:
    name = (entry.get("Names") or [entry["Id"]])[0].lstrip("/")
    return Dependent(id=entry["Id"], name=name, running=entry.get("State") == "running")
