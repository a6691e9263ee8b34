"""Who shares a namespace with a container: network, IPC or PID (updates.md §6.6, §12.4).

The Engine's list contains the network mode at most, and Podman's not even that. So every container has to be inspected once;
what it depends on is fixed at its creation, and remembered for as long as it exists. Code that inspects a container anyway –
the watcher, at its first look – lets this know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from drydock.core.errors import EngineNotFound
from drydock.core.operation import Dependent
from drydock.core.recreate import joins, shared_with
from drydock.docker.api import EngineReader

Document = dict[str, Any]

MOST = 10_000
"""Containers remembered for one Engine; the ones learned first are forgotten first."""


class Namespaces:
    """Answers from memory where it can; asks the Engine about the containers it has never seen."""

    def __init__(self) -> None:
        self._known: dict[int, dict[str, frozenset[str]]] = {}

    def learn(self, engine: EngineReader, inspected: Document) -> None:
        """Remember what an inspected container hangs on."""
        self._keep(engine, inspected["Id"], shared_with(inspected))

    def known(self, engine: EngineReader) -> Mapping[str, frozenset[str]]:
        """By container id, what it hangs on; containers never inspected are missing."""
        return self._known.get(id(engine), {})

    async def explore(self, engine: EngineReader) -> None:
        """Inspect every container that was never seen. Raises `EngineError`."""
        await self._ask(engine, await engine.list_containers(all=True))

    async def dependents(self, engine: EngineReader, owner: Document, entries: Sequence[Document]) -> list[Dependent]:
        """The containers among `entries` (the Engine's list) that join a namespace of `owner`. Raises `EngineError`."""
        others = [entry for entry in entries if entry["Id"] != owner["Id"]]
        known = await self._ask(engine, others)
        return [_dependent(entry) for entry in others if joins(known[entry["Id"]], owner)]

    async def _ask(self, engine: EngineReader, entries: Sequence[Document]) -> dict[str, frozenset[str]]:
        """What each of `entries` hangs on."""
        found: dict[str, frozenset[str]] = {}
        for identity in (entry["Id"] for entry in entries):
            known = self.known(engine).get(identity)
            found[identity] = await _references(engine, identity) if known is None else known
            self._keep(engine, identity, found[identity])
        return found

    def _keep(self, engine: EngineReader, container: str, hangs_on: frozenset[str]) -> None:
        known = self._known.setdefault(id(engine), {})
        known[container] = hangs_on
        if len(known) > MOST:
            known.pop(next(iter(known)))


async def _references(engine: EngineReader, container: str) -> frozenset[str]:
    try:
        document = await engine.inspect_container(container)
    except EngineNotFound:
        return frozenset()
    return shared_with(document)


def _dependent(entry: Document) -> Dependent:
    name = (entry.get("Names") or [entry["Id"]])[0].lstrip("/")
    return Dependent(id=entry["Id"], name=name, running=entry.get("State") == "running")
