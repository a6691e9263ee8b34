"""Performs the effects of a plan: intent into the journal, the call, the outcome (updates.md §3.4).

It decides nothing. Errors of `core.errors` go back into the plan; anything else is a fault of the program and leaves
through `run`, where `worker` turns it into a recovery.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal, Protocol, TypeVar

import structlog

from drydock.clock import Clock
from drydock.core.errors import DrydockError, EngineError, EngineNotFound, EngineUnreachable
from drydock.core.operation import PHASES, FileEdit, Operation
from drydock.docker.api import Engine, PullAuth
from drydock.docker.host import EngineFacts as HostFacts
from drydock.docker.host import facts_from
from drydock.docker.namespaces import Namespaces
from drydock.updates import effects as fx
from drydock.updates.compose.project import FilesPlan
from drydock.updates.journal import Journal
from drydock.updates.self_update.helper import Helper

log = structlog.get_logger("updates")

T = TypeVar("T")
Document = dict[str, Any]

GRACEFUL_STOP_S = 10.0
"""How long a call to the Engine may still take when the process is asked to stop (updates.md §9.5, row 19)."""

FINAL_WRITE_RETRIES_S = (0.2, 1.0, 5.0)

OnPhase = Callable[[Literal["scanning", "sbom-generating"]], Awaitable[None]]
"""Told what the security gate is doing."""


class Surroundings(Protocol):
    """What a plan needs besides Engine and journal. Every method may raise an error of `core.errors`."""

    async def pull_auth(self, reference: str) -> PullAuth | None: ...
    async def pre_hook(self, operation: Operation, container: Document) -> None: ...
    async def verify(self, operation: Operation, reference: str) -> None: ...
    async def scan(self, operation: Operation, reference: str, image_id: str, on_phase: OnPhase) -> None: ...
    async def plan_files(self, operation: Operation, container: Document) -> FilesPlan: ...
    async def save_backup(self, operation: Operation, container: Document, image: Document) -> str | None: ...
    async def write_file(self, edit: FileEdit) -> None: ...
    def notice(self, operation: Operation, action: str, text: str) -> None: ...


class OwnSide(Protocol):
    """What a plan may ask about this very process (`updates.own`). May raise errors of `core.errors`."""

    async def container_id(self, engine: Engine) -> str | None: ...
    async def helper(self, operation: Operation, engine: Engine, old: Document) -> Helper: ...
    async def announce(self, operation: Operation) -> None: ...


KnownFacts = Callable[[Engine], HostFacts | None]
"""What the watcher of an Engine has learned about it, as long as it is connected."""


def nothing_known(_: Engine) -> HostFacts | None:
    """Nobody watches."""
    return None


class EngineFacts:
    """`/info` of one Engine: from its watcher, else asked at most once in ten minutes.

    Name, architecture and default runtime change only while the Engine restarts, which the watcher notices.
    """

    LIFETIME_S = 600.0

    def __init__(self, clock: Clock, known: KnownFacts = nothing_known) -> None:
        self._clock = clock
        self._of_watcher = known
        self._known: dict[int, tuple[float, Document]] = {}
        self._hosts: dict[int, HostFacts] = {}

    async def of(self, engine: Engine) -> Document:
        """The `/info` document of `engine`."""
        if (told := self._of_watcher(engine)) is not None and told.name is not None:
            return {"Name": told.name, "Architecture": told.architecture, "DefaultRuntime": told.default_runtime}
        asked, facts = self._known.get(id(engine), (0.0, {}))
        if not facts or self._clock.monotonic() - asked > self.LIFETIME_S:
            facts = await self._ask(engine)
            self._known[id(engine)] = (self._clock.monotonic(), facts)
        return facts

    async def runs_health_checks(self, engine: Engine) -> bool:
        """Whether the Engine runs health checks by itself: Podman needs systemd for that. Raises `EngineError`."""
        return (await self._host(engine)).runs_health_checks

    async def is_podman(self, engine: Engine) -> bool:
        """Whether the Engine is Podman. Raises `EngineError`."""
        return (await self._host(engine)).kind == "podman"

    async def _host(self, engine: Engine) -> HostFacts:
        if (told := self._of_watcher(engine)) is not None:
            return told
        if id(engine) not in self._hosts:
            self._hosts[id(engine)] = facts_from(await engine.version())
        return self._hosts[id(engine)]

    async def _ask(self, engine: Engine) -> Document:
        """A socket proxy may refuse `/info`: updates work without, they only know less about the platform."""
        try:
            return await engine.info()
        except EngineUnreachable:
            raise
        except EngineError as error:
            log.warning("update.engine_info_refused", error=error.message)
            return {}


Perform = Callable[[Any], Awaitable[Any]]
"""Carries out one effect and gives its result."""


class Executor:
    """Runs plans of one operation on one Engine."""

    def __init__(
        self,
        operation: Operation,
        engine: Engine,
        journal: Journal,
        clock: Clock,
        surroundings: Surroundings,
        facts: EngineFacts,
        namespaces: Namespaces,
        own: OwnSide,
    ) -> None:
        self._id = operation.id
        self._last = operation
        self._engine = engine
        self._journal = journal
        self._clock = clock
        self._around = surroundings
        self._facts = facts
        self.seen: dict[str, Document] = {}
        """The last document of every container and image that was inspected, by id."""
        self._perform = {**self._on_engine(engine, namespaces), **self._around_engine(engine, own)}

    def _on_engine(self, engine: Engine, namespaces: Namespaces) -> dict[type[fx.Effect], Perform]:
        """What asks or changes the Engine."""
        return {
            fx.EngineInfo: lambda _: self._facts.of(engine),
            fx.RunsHealthChecks: lambda _: self._facts.runs_health_checks(engine),
            fx.PodmanSays: self._podman_says,
            fx.Probe: self._probe,
            fx.Inspect: lambda e: self._noted(engine.inspect_container(e.ref)),
            fx.InspectImage: lambda e: self._noted(engine.inspect_image(e.ref)),
            fx.InspectNetwork: lambda e: engine.inspect_network(e.ref),
            fx.ListContainers: self._list,
            fx.Dependents: lambda e: namespaces.dependents(engine, e.owner, e.entries),
            fx.Successor: lambda e: self._journal.successor(e.container),
            fx.Now: self._now,
            fx.Pull: self._pull,
            fx.Tag: lambda e: engine.tag_image(e.image, e.repository, e.tag),
            fx.Create: self._create,
            fx.Rename: lambda e: engine.rename_container(e.container, e.name),
            fx.Connect: lambda e: engine.connect_network(e.network, e.container, e.endpoint),
            fx.SetRestartPolicy: lambda e: engine.update_container(e.container, {"RestartPolicy": e.policy}),
            fx.Stop: lambda e: self._within(e.patience_s, engine.stop_container(e.container)),
            fx.Start: lambda e: engine.start_container(e.container),
            fx.Remove: lambda e: engine.remove_container(e.container, force=e.force),
            fx.WaitRemoved: self._wait_removed,
            fx.Run: lambda e: engine.exec(
                e.container,
                e.command,
                env=e.env,
                user=e.user,
                working_dir=e.working_dir,
                privileged=e.privileged,
            ),
        }

    def _around_engine(self, engine: Engine, own: OwnSide) -> dict[type[fx.Effect], Perform]:
        """The journal, the clock, files, and what stands around an update."""
        journal, around = self._journal, self._around
        return {
            fx.WriteFile: lambda e: around.write_file(e.edit),
            fx.Record: self._record,
            fx.CurrentRow: self._current,
            fx.Reread: self._reread,
            fx.WhoAmI: lambda _: own.container_id(engine),
            fx.HelperFor: lambda e: own.helper(self._row(), engine, e.old),
            fx.Announce: lambda _: own.announce(self._row()),
            fx.Duplicate: lambda _: journal.is_duplicate(self._row()),
            fx.Stranger: self._stranger,
            fx.Requeue: lambda _: journal.requeue(self._id),
            fx.Touch: self._touch,
            fx.Checkpoint: self._checkpoint,
            fx.PreHook: lambda e: around.pre_hook(self._row(), e.container),
            fx.Verify: lambda e: around.verify(self._row(), e.reference),
            fx.Scan: lambda e: around.scan(self._row(), e.reference, e.image_id, self._gate_phase),
            fx.PlanFiles: lambda e: around.plan_files(self._row(), e.container),
            fx.SaveBackup: lambda e: around.save_backup(self._row(), e.container, e.image),
            fx.Sleep: lambda e: self._clock.sleep(e.seconds),
            fx.Notice: self._notice,
        }

    async def run(self, plan: fx.Plan[T]) -> T:
        """Drive `plan` to its end and return what it returns."""
        result: Any = None
        error: DrydockError | None = None
        while True:
            try:
                effect = plan.throw(error) if error is not None else plan.send(result)
            except StopIteration as end:
                value: T = end.value
                return value
            result, error = None, None
            try:
                result = await self._one(effect)
            except DrydockError as failure:
                error = failure

    async def _one(self, effect: fx.Effect) -> Any:
        perform = self._perform[type(effect)]
        if not effect.mutates:
            return await perform(effect)
        name = type(effect).__name__
        await self._journal.intent(self._id, name, effect.target, required=not self._going_back())
        try:
            result = await self._to_its_end(perform(effect))
        except EngineUnreachable as error:
            log.warning("update.outcome_unknown", operation=self._id, step=name, error=error.message)
            raise
        except DrydockError as error:
            log.info("update.step_failed", operation=self._id, step=name, error=error.message)
            self._journal.settled(self._id)
            raise
        log.info("update.step", operation=self._id, step=name, target=effect.target)
        self._journal.settled(self._id)
        return result

    async def _to_its_end(self, call: Awaitable[T]) -> T:
        """When the process is stopped, the call in flight may finish: half a call is worse than a late exit."""
        task = asyncio.ensure_future(call)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task}, timeout=GRACEFUL_STOP_S)
            task.cancel()
            raise

    def _row(self) -> Operation:
        return self._journal.live(self._id) or self._last

    def _going_back(self) -> bool:
        row = self._row()
        return row.phase.startswith("rollback") or not row.active

    async def _record(self, effect: fx.Record) -> Operation:
        changes = dict(effect.changes)
        row = self._row()
        if row.active and "status" not in changes and ("phase" in changes or row.phase != "queued"):
            changes["status"] = "in-progress"
        going_back = self._going_back() or str(changes.get("phase")).startswith("rollback")
        if changes.get("status") not in (None, "in-progress"):
            self._last = await self._finish(changes)
        else:
            self._last = await self._journal.change(self._id, required=not going_back, **changes)
        return self._last

    async def _finish(self, changes: dict[str, Any]) -> Operation:
        """The last word of an operation is tried again for a while: without it a restart has to find out."""
        for pause in FINAL_WRITE_RETRIES_S:
            try:
                return await self._journal.change(self._id, **changes)
            except fx.JournalError:
                await self._clock.sleep(pause)
        return await self._journal.change(self._id, required=False, **changes)

    async def _current(self, _: fx.CurrentRow) -> Operation:
        return self._row()

    async def _reread(self, _: fx.Reread) -> Operation:
        self._last = await self._journal.get(self._id) or self._last
        return self._last

    async def _stranger(self, effect: fx.Stranger) -> bool:
        return await self._journal.get(effect.operation_id) is None

    async def _gate_phase(self, phase: str) -> None:
        if PHASES.index(phase) > PHASES.index(self._row().phase):
            self._last = await self._journal.change(self._id, phase=phase)

    async def _noted(self, asking: Awaitable[Document]) -> Document:
        document = await asking
        self.seen[document["Id"]] = document
        return document

    async def _list(self, effect: fx.ListContainers) -> list[Document]:
        filters = {"label": [effect.label]} if effect.label else None
        return await self._engine.list_containers(all=True, filters=filters)

    async def _create(self, effect: fx.Create) -> str:
        created = await self._engine.create_container(effect.name, effect.document, platform=effect.platform)
        for warning in created.warnings:
            log.warning("update.engine_warning", operation=self._id, warning=warning)
        return created.id

    async def _now(self, _: fx.Now) -> fx.Instant:
        return fx.Instant(self._clock.now_ms(), self._clock.monotonic())

    async def _touch(self, _: fx.Touch) -> None:
        self._journal.repeat(self._id)

    async def _checkpoint(self, _: fx.Checkpoint) -> bool:
        return self._row().cancel_requested

    async def _notice(self, effect: fx.Notice) -> None:
        self._around.notice(self._row(), effect.action, effect.text)

    async def _probe(self, effect: fx.Probe) -> bool:
        """A check that takes too long, or cannot be run at all, did not pass."""
        try:
            async with asyncio.timeout(effect.timeout_s):
                result = await self._engine.exec(effect.container, effect.command)
        except TimeoutError:
            return False
        except EngineUnreachable:
            raise
        except EngineError as error:
            log.info("update.probe_failed", operation=self._id, error=error.message)
            return False
        return result.exit_code == 0

    async def _podman_says(self, effect: fx.PodmanSays) -> tuple[Document | None, list[str]] | None:
        if not await self._facts.is_podman(self._engine):
            return None
        container = await self._engine.inspect_of_podman("containers", effect.container)
        try:
            image = await self._engine.inspect_of_podman("images", effect.image)
        except EngineNotFound:
            image = {}
        return image.get("Healthcheck"), container["Config"].get("CreateCommand") or []

    async def _within(self, seconds: float, call: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(seconds):
                return await call
        except TimeoutError as error:
            raise EngineUnreachable(f"The Docker Engine gave no answer within {seconds:.0f} s") from error

    async def _wait_removed(self, effect: fx.WaitRemoved) -> bool:
        """Looks at short intervals: the wait endpoint needs a connection of its own and cannot be resumed."""
        deadline = self._clock.monotonic() + effect.timeout_s
        while True:
            try:
                await self._engine.inspect_container(effect.container)
            except EngineNotFound:
                return True
            if self._clock.monotonic() >= deadline:
                return False
            await self._clock.sleep(0.1)

    async def _pull(self, effect: fx.Pull) -> None:
        """Pull to the end of the stream; a cancel by the operator closes the stream."""
        pulling = asyncio.ensure_future(self._drain(effect))
        asked = asyncio.ensure_future(self._journal.ask_to_cancel(self._id).wait())
        watched = {pulling} if self._going_back() else {pulling, asked}
        try:
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            if not pulling.done():
                raise fx.Cancelled
            await pulling
        finally:
            asked.cancel()
            if not pulling.done():
                pulling.cancel()
                await asyncio.wait({pulling})

    async def _drain(self, effect: fx.Pull) -> None:
        auth = await self._around.pull_auth(effect.reference)
        told = self._clock.monotonic()
        async for line in self._engine.pull_image(effect.reference, platform=effect.platform, auth=auth):
            if failure := line.get("error") or (line.get("errorDetail") or {}).get("message"):
                raise EngineError(str(failure))
            if self._clock.monotonic() - told >= 2:
                told = self._clock.monotonic()
                log.info("update.pull", operation=self._id, reference=effect.reference, status=line.get("status"))
