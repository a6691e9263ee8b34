"""Stats of any container of a host, addressed by environment (dockhand-stats.md §4, §5, §7).

Beside the collectors and apart from them: these answers come from the host at the moment of asking, for watched and
unwatched containers alike, and leave no trace in any history.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import structlog

from drydock.clock import Clock
from drydock.compat.dockhand.environments import Environment, Environments, canonical, is_missing
from drydock.compat.dockhand.rounds import FAILED, HostSnapshot, Limits, Occurrence, Round, Stat, cause, host_snapshot
from drydock.core.errors import BadRequest, DrydockError, EngineError, EngineNotFound, NotFound
from drydock.docker.api import Document, Engine
from drydock.hosts.running import EngineFor
from drydock.stats.figures import figures
from drydock.waiting import cancel, closing, wait_at_most

log = structlog.get_logger("stats")

NOTHING = Occurrence("done", {})


class _Shared:
    """A round that runs, and how many clients read it."""

    def __init__(self, ledger: Round) -> None:
        self.ledger = ledger
        self.clients = 0
        self.task = asyncio.create_task(ledger.run(), name="stats:round")


class HostStats:
    """Snapshots by id or name, and rounds over all running containers."""

    def __init__(
        self,
        environments: Environments,
        engine_for: EngineFor,
        clock: Clock,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        self.environments = environments
        self.limits = limits
        self._engine_for = engine_for
        self._clock = clock
        self._rounds: dict[int, _Shared] = {}

    async def snapshot(self, reference: str, env: str | None) -> HostSnapshot:
        """One container's figures now; zeros where it does not run.

        `reference`: full id, unique prefix, or name. Raises `BadRequest` for a reference that is none, `NotFound` for an
        unknown environment or container, `EngineError` (500) when the host does not tell.
        """
        check_reference(reference)
        environment = await self.environments.get(canonical(env))
        try:
            document = await self._document(self._engine(environment), reference)
        except EngineNotFound:
            raise NotFound("Container not found") from None
        except DrydockError as error:
            raise EngineError(cause(error)) from error
        return host_snapshot(figures(document), self._clock.now_ms())

    async def rows(self, env: str | None) -> list[Stat]:
        """The `stat` payloads of one round. Empty without `env` or when the list fails; `NotFound` for an unknown one."""
        if is_missing(env) or not await self.environments.all():
            return []
        await self.environments.get(canonical(env))
        async with closing(self.stream(env)) as events:
            return [each.data async for each in events if each and isinstance(each.data, Stat)]

    async def stream(self, env: str | None) -> AsyncGenerator[Occurrence | None]:
        """The events of one round as they happen, then the end; None is the moment for a keepalive.

        Clients that come while a round of their environment runs join it and get what it collected so far first.
        Closing the iterator is leaving; the last one to leave ends the round and its calls.
        """
        try:
            environment = await self._wanted(env)
        except NotFound as error:
            yield Occurrence("error", {"error": error.message})
            environment = None
        if environment is None:
            yield NOTHING
            return
        try:
            shared = self._join(environment)
        except DrydockError as error:
            yield Occurrence("error", {"error": cause(error)})
            yield NOTHING
            return
        try:
            async with closing(self._read(shared.ledger)) as events:
                async for event in events:
                    yield event
        finally:
            await self._leave(environment.id, shared)

    def open_rounds(self) -> int:
        """How many rounds run now, for tests and the debug dump."""
        return len(self._rounds)

    async def _wanted(self, env: str | None) -> Environment | None:
        if is_missing(env) or not await self.environments.all():
            return None
        return await self.environments.get(canonical(env))

    async def _read(self, ledger: Round) -> AsyncGenerator[Occurrence | None]:
        """The ledger from its beginning to its end, with a keepalive of its own rhythm."""
        grown, place = asyncio.Event(), 0
        beat = self._clock.monotonic() + self.limits.keepalive_s
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
                    beat += self.limits.keepalive_s
                    yield None
        finally:
            ledger.unwatch(grown)

    def _join(self, environment: Environment) -> _Shared:
        shared = self._rounds.get(environment.id)
        if shared is None or shared.ledger.finished:
            shared = self._rounds[environment.id] = _Shared(Round(self._engine(environment), self.limits))
        shared.clients += 1
        return shared

    async def _leave(self, number: int, shared: _Shared) -> None:
        shared.clients -= 1
        if shared.clients == 0:
            if self._rounds.get(number) is shared:
                del self._rounds[number]
            await cancel(shared.task)

    def _engine(self, environment: Environment) -> Engine:
        return self._engine_for(environment.watcher, environment.agent)

    async def _document(self, engine: Engine, reference: str) -> Document:
        try:
            async with asyncio.timeout(self.limits.stats_s):
                document = await engine.stats_once(reference)
        except TimeoutError:
            raise EngineError("Timed out getting stats") from None
        if not isinstance(document, dict):
            raise EngineError(FAILED)
        return document


def check_reference(reference: str) -> None:
    """Refuse what is no id and no name, before anything is sent to the Engine: `BadRequest`."""
    if not reference or any(bad in reference for bad in ("..", "/", "\\", "\0", "%")):
        raise BadRequest("Invalid container ID")
