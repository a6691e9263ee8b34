"""Stats of any container of a host, addressed by environment (dockhand-stats.md §4, §5, §7).

Beside the collectors and apart from them: these answers come from the host at the moment of asking, for watched and
unwatched containers alike, and leave no trace in any history.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Self

import msgspec

from drydock.clock import Clock
from drydock.compat.dockhand.environments import Environment, Environments, StoredNumbers, canonical, is_missing
from drydock.compat.dockhand.rounds import FAILED, HostSnapshot, Limits, Occurrence, Round, Stat, cause
from drydock.config.load import Settings
from drydock.core.errors import BadRequest, DrydockError, EngineError, EngineNotFound, NotFound
from drydock.core.model import HostKey
from drydock.hosts.host import Hosts
from drydock.kernel import Kernel, Room
from drydock.stats.figures import figures
from drydock.waiting import cancel, closing, wait_at_most

NOTHING = Occurrence("done", {})


@dataclass(frozen=True)
class Needs:
    """What this room wants of others."""

    hosts: Hosts


class _Shared:
    """A round that runs, and how many clients read it."""

    def __init__(self, ledger: Round) -> None:
        self.ledger = ledger
        self.clients = 0
        self.task = asyncio.create_task(ledger.run(), name="stats:round")


class Dockhand(Room):
    """Snapshots by id or name, and rounds over all running containers."""

    def __init__(
        self,
        environments: Environments,
        hosts: Hosts,
        clock: Clock,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        self.environments = environments
        self._hosts = hosts
        self._clock = clock
        self._limits = limits
        self._rounds: dict[HostKey, _Shared] = {}

    @classmethod
    def build(cls, kernel: Kernel, _settings: Settings, needs: Needs) -> Self:
        """The room."""
        environments = Environments(needs.hosts, StoredNumbers(kernel.store.documents, kernel.clock))
        return cls(environments, needs.hosts, kernel.clock)

    async def start(self) -> None:
        """Number new environments."""
        await self.environments.all()

    async def snapshot(self, reference: str, env: str | None) -> HostSnapshot:
        """One container's figures now; zeros where it does not run.

        `reference`: full id, unique prefix, or name. Raises `BadRequest` for a reference that is none, `NotFound` for an
        unknown environment or container, `EngineError` (500) when the host does not answer.
        """
        # What is no id and no name is refused before anything is sent to the Engine.
        if not reference or any(bad in reference for bad in ("..", "/", "\\", "\0", "%")):
            raise BadRequest("Invalid container ID")
        environment = await self.environments.get(canonical(env))
        try:
            async with asyncio.timeout(self._limits.stats_s):
                document = await self._hosts.of(environment.key).reader.stats_once(reference)
        except TimeoutError:
            raise EngineError("Timed out getting stats") from None
        except EngineNotFound:
            raise NotFound("Container not found") from None
        except DrydockError as error:
            raise EngineError(cause(error)) from error
        if not isinstance(document, dict):
            raise EngineError(FAILED)
        return HostSnapshot(**msgspec.structs.asdict(figures(document)), timestamp=self._clock.now_ms())

    async def rows(self, env: str | None) -> list[Stat]:
        """The `stat` payloads of one round. Empty without `env` or when the list fails; `NotFound` for an unknown one."""
        if await self._wanted(env) is None:
            return []
        async with closing(self.stream(env)) as events:
            return [each.data async for each in events if each and isinstance(each.data, Stat)]

    async def stream(self, env: str | None) -> AsyncGenerator[Occurrence | None]:
        """The events of one round as they happen, then the end; None is the moment for a keepalive.

        Clients that come while a round of their environment runs join it and get what it collected so far first.
        Closing the iterator is leaving; the last one to leave ends the round and its calls.
        """
        try:
            environment = await self._wanted(env)
            if environment is None:
                yield NOTHING
                return
            key = environment.key
            shared = self._rounds.get(key)
            if shared is None or shared.ledger.finished:
                shared = self._rounds[key] = _Shared(Round(self._hosts.of(key).reader, self._limits))
        except DrydockError as error:
            yield Occurrence("error", {"error": cause(error)})
            yield NOTHING
            return
        shared.clients += 1
        try:
            async with closing(self._read(shared.ledger)) as events:
                async for event in events:
                    yield event
        finally:
            shared.clients -= 1
            if shared.clients == 0:
                if self._rounds.get(key) is shared:
                    del self._rounds[key]
                await cancel(shared.task)

    def open_rounds(self) -> int:
        """How many rounds run now, for tests and the debug dump."""
        return len(self._rounds)

    async def _wanted(self, env: str | None) -> Environment | None:
        if is_missing(env) or not await self.environments.all():
            return None
        return await self.environments.get(canonical(env))

    async def _read(self, ledger: Round) -> AsyncGenerator[Occurrence | None]:
        """The ledger from its beginning to its end, with its own keepalive interval."""
        grown, place = asyncio.Event(), 0
        beat = self._clock.monotonic() + self._limits.keepalive_s
        ledger.watch(grown)
        try:
            while True:
                grown.clear()
                while place < len(ledger.events):
                    place += 1
                    yield ledger.events[place - 1]
                if ledger.finished:
                    return
                await wait_at_most(self._clock, grown, beat - self._clock.monotonic())
                if self._clock.monotonic() >= beat:
                    beat += self._limits.keepalive_s
                    yield None
        finally:
            ledger.unwatch(grown)
