"""Orphans: temporary containers that no operation knows, from a lost store or an older version (updates.md §9.4)."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from drydock.clock import Clock
from drydock.core.errors import EngineError
from drydock.core.labels import SELF_UPDATE_OPERATION
from drydock.core.operation import OPERATION_LABEL
from drydock.core.temporary import temporary_base
from drydock.core.times import DAY_MS, from_iso
from drydock.docker.api import Document, Engine
from drydock.hosts.host import Hosts
from drydock.hosts.local import full_engine
from drydock.updates.execution.journal import Journal
from drydock.updates.execution.locks import Locks, container_key

log = structlog.get_logger("updates.sweep")

GIVEN_UP_S = 600.0
_REVIVING = ("always", "unless-stopped")


class Sweeper:
    """Looks at every host for leftovers and puts right what is certain; the rest is a warning."""

    def __init__(self, journal: Journal, hosts: Hosts, locks: Locks, clock: Clock) -> None:
        self._journal = journal
        self._hosts = hosts
        self._locks = locks
        self._clock = clock

    async def sweep(self) -> None:
        """One pass over all hosts; an Engine that does not answer is left for the next time."""
        for host in self._hosts.all():
            try:
                engine = full_engine(host)
                entries = await engine.list_containers(all=True)
                await self._helpers(engine, entries)
                by_name = {name.lstrip("/"): entry for entry in entries for name in entry.get("Names") or []}
                for name, entry in by_name.items():
                    base = temporary_base(name)
                    ours = any((row.host, row.container_name) == (host.key, base) for row in self._journal.active())
                    if base is not None and not ours:
                        async with self._locks.hold([container_key(host.key, base)], permit=False):
                            await self._orphan(engine, name, base, entry["Id"], by_name.get(base))
            except EngineError as error:
                log.warning("sweep.skipped", watcher=host.key.watcher, error=error.message)

    async def _helpers(self, engine: Engine, entries: Iterable[Document]) -> None:
        """Helpers of operations that ended. Those of another Drydock are left to it, unless they have stopped."""
        for entry in entries:
            operation = (entry.get("Labels") or {}).get(SELF_UPDATE_OPERATION)
            if operation is None or self._journal.live(operation) is not None:
                continue
            known = await self._journal.get(operation) is not None
            old = self._clock.now_ms() / 1000 - float(entry.get("Created") or 0) > GIVEN_UP_S
            if known or (old and entry.get("State") not in ("running", "restarting")):
                log.info("sweep.helper_removed", container=entry["Id"])
                await engine.remove_container(entry["Id"], force=known)

    async def _orphan(self, engine: Engine, name: str, base: str, orphan: str, holder: Document | None) -> None:
        old = await engine.inspect_container(orphan)
        if holder is None:
            await self._bring_back(engine, old, base)
            return
        new = await engine.inspect_container(holder["Id"])
        stopped = from_iso(old["State"].get("FinishedAt"))
        long_ago = stopped is not None and self._clock.now_ms() - stopped > DAY_MS
        ours = OPERATION_LABEL in (new["Config"].get("Labels") or {})
        if ours and new["State"].get("Status") == "created" and old["State"].get("Running"):
            await engine.remove_container(new["Id"])
            await self._bring_back(engine, old, base)
        elif ours and new["State"].get("Running") and not old["State"].get("Running") and long_ago:
            log.info("sweep.removed", container=name)
            await engine.remove_container(orphan)
        else:
            log.warning("sweep.leftover", container=name, hint=f"Compare it with {base} and remove one of them")

    async def _bring_back(self, engine: Engine, old: Document, base: str) -> None:
        log.warning("sweep.brought_back", container=base)
        await engine.rename_container(old["Id"], base)
        policy = ((old.get("HostConfig") or {}).get("RestartPolicy") or {}).get("Name")
        if not old["State"].get("Running") and policy in _REVIVING:
            await engine.start_container(old["Id"])
        elif not old["State"].get("Running"):
            log.warning("sweep.left_stopped", container=base, policy=policy)
