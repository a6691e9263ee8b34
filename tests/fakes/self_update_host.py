"""A host on which Drydock runs in a container of its own: programs live and die with their containers.

Every container of a Drydock image carries a manager, every helper carries the program of the helper. What happens to a
container – stop, removal, the daemon's death, a restart policy – happens to its program. Time is simulated: it moves to
the next sleeper when nobody has anything to do.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Coroutine
from typing import Any

from drydock.core.errors import DrydockError
from drydock.core.labels import SELF_UPDATE_HELPER
from drydock.core.operation import Operation
from drydock.hosts.host import Host, Hosts
from drydock.updates.execution.executor import Surroundings
from drydock.updates.execution.journal import Journal
from drydock.updates.execution.worker import Worker
from drydock.updates.self_update import process
from drydock.updates.self_update.handover import INTERRUPTED
from drydock.updates.self_update.helper import Access, Helper, document, order_for, read_order
from drydock.updates.self_update.identity import secret_digest
from kit.clock import ManualClock

from .hosts import local_host
from .update_harness import UpdateHarness

Document = dict[str, Any]
BOOT_S = 1.0


class Killed(BaseException):
    """The program got SIGKILL."""


class Own:
    """What a manager knows of itself that runs in a container of this machine."""

    def __init__(self, machine: SelfUpdateHost, container: str) -> None:
        self._machine = machine
        self._container = container

    @property
    def surroundings(self) -> Surroundings:
        """Those of the machine, in this container."""
        return dataclasses.replace(
            self._machine.around.surroundings,
            own_container=self.container_id,
            helper=self.helper,
            announce=self.announce,
        )

    async def container_id(self, host: Host) -> str | None:
        return self._container

    async def helper(self, operation: Operation, host: Host, old: Document) -> Helper:
        own = await host.reader.inspect_container(self._container)
        image = await host.reader.inspect_image(own["Image"])
        access = Access(socket="/run/docker.sock")
        order = order_for(operation, access, self._machine.finalize_url, "secret", 2000)
        return Helper(document(order, access, own, image, "0"), secret_digest("secret"))

    async def announce(self, operation: Operation) -> None:
        self._machine.announced.append(operation.id)


class SelfUpdateHost(UpdateHarness):
    """One host with its Engine, one store, and the programs in its containers."""

    def __init__(self) -> None:
        self.programs: dict[tuple[str, str], asyncio.Task[None]] = {}
        self.holder: tuple[str, str] | None = None
        self.announced: list[str] = []
        self.finalize_url = ""
        self.refused_locks = 0
        super().__init__()
        self.clock = self.engine.clock = ManualClock()  # type: ignore[assignment]  # a clock all the same
        self.watching = True
        self.ended: list[str] = []

    def _watch(self) -> None:
        if self.names and self.watching:
            super()._watch()
        self._follow()

    # ── programs follow their containers ────────────────────────────────────────────────────────────────────────────

    def _follow(self) -> None:
        alive = {
            (c["Id"], c["State"]["StartedAt"]): c for c in self.engine.containers.values() if c["State"]["Running"]
        }
        for key, task in list(self.programs.items()):
            if key not in alive and not task.done():
                self._release(key)
                task.cancel()
                del self.programs[key]
        for key, container in alive.items():
            if key not in self.programs and self._has_program(container):
                self.programs[key] = asyncio.ensure_future(self._run(key, self._program(key, container)))

    def _has_program(self, container: Document) -> bool:
        return container["Config"]["Image"].startswith("dd:") or SELF_UPDATE_HELPER in container["Config"]["Labels"]

    def _program(self, key: tuple[str, str], container: Document) -> Coroutine[Any, Any, int]:
        if SELF_UPDATE_HELPER in container["Config"]["Labels"]:
            return self._helper(dict(entry.split("=", 1) for entry in container["Config"]["Env"]))
        return self._manager(key)

    async def _run(self, key: tuple[str, str], program: Coroutine[Any, Any, int]) -> None:
        try:
            code = await program
        except Killed:
            code = 137
        except DrydockError as error:
            self.ended.append(error.message)
            code = 1
        self._release(key)
        container = self.engine.containers.get(key[0])
        if self.programs.pop(key, None) is not None and container is not None:
            self.engine.ended(container, code)

    def _release(self, key: tuple[str, str]) -> None:
        if self.holder == key:
            self.holder = None

    async def _helper(self, environ: dict[str, str]) -> int:
        await self.clock.sleep(BOOT_S)
        await process.run(read_order(environ), local_host(self.engine, self.clock), self.clock)
        return 0

    async def _manager(self, key: tuple[str, str]) -> int:
        """A start of Drydock: the store's lock, then the rows; whoever finds the store locked ends."""
        await self.clock.sleep(BOOT_S)
        if self.holder is not None:
            self.refused_locks += 1
            await self.clock.sleep(BOOT_S)  # the Engine waits between two attempts
            return 1
        self.holder = key
        journal = Journal(self.rows, self.clock, lambda row: self.events.append((row.id, row.phase)))
        hosts, surroundings = Hosts([local_host(self.engine, self.clock)]), Own(self, key[0]).surroundings
        worker = Worker(journal, self.clock, hosts, surroundings, lambda _: self.options)
        for row in await journal.load():
            await self._take_up(journal, worker, row)
        await asyncio.Event().wait()
        return 0

    async def _take_up(self, journal: Journal, worker: Worker, row: Operation) -> None:
        if row.status == "queued" and row.attempt == 0 and not row.intent and row.id not in self.begun:
            self.begun.add(row.id)
            claimed = await journal.claim(row.id)
            assert claimed is not None
            await worker.run(claimed)
        elif row.active and row.temp_name is None:
            await journal.change(row.id, status="expired", phase="expired", last_error=INTERRUPTED)
        else:
            await worker.recover(row)

    begun: set[str]

    # ── what a test does ────────────────────────────────────────────────────────────────────────────────────────────

    async def own_container(self, *, policy: str = "always", **host: Any) -> str:
        """Drydock's own container, created and not yet started."""
        self.begun = set()
        return await self.container(
            "drydock", image="dd:1", start=False, HostConfig={"RestartPolicy": {"Name": policy}, **host}
        )

    def boot(self, container: str) -> None:
        """Start it, and the manager in it."""
        self.engine.switch_on(container)
        self._follow()

    async def until_settled(self, seconds: float = 7200) -> bool:
        """Let time pass until every row is terminal and no helper is left, and a while longer. False at the limit."""
        limit = self.clock.monotonic() + seconds
        quiet = None
        while self.clock.monotonic() < limit:
            if not await self.clock.step():
                return self._settled()
            quiet = (quiet or self.clock.monotonic()) if self._settled() else None
            if quiet is not None and self.clock.monotonic() - quiet > 30:
                return True
        return False

    def _settled(self) -> bool:
        helpers = [c for c in self.engine.containers.values() if SELF_UPDATE_HELPER in c["Config"]["Labels"]]
        return not helpers and not any(row.active for row in self.rows.all())

    async def started_by_hand(self) -> None:
        """Somebody removed the helper between the old container's stop and the new one's start, and starts the old one."""
        assert not any(c["State"]["Running"] for c in self.engine.containers.values()), self.engine.names()
        self.engine.switch_on(next(iter(self.engine.containers)))
        self._follow()

    async def shut_down(self) -> None:
        """End every program."""
        for task in self.programs.values():
            task.cancel()
        await asyncio.gather(*self.programs.values(), return_exceptions=True)
        self.programs.clear()
        self.holder = None
