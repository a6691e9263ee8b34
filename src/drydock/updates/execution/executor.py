"""Performs the effects of a plan: intent into the journal, the call, the outcome (updates.md §3.4).

It decides nothing. Errors of `core.errors` go back into the plan; anything else is a fault of the program and leaves
through `run`, where `worker` turns it into a recovery.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, Literal, TypeVar

import structlog

from drydock.clock import Clock
from drydock.core.errors import DrydockError, EngineError, EngineNotFound, EngineUnreachable
from drydock.core.operation import PHASES, FileEdit, Operation
from drydock.docker.api import Document, PullAuth
from drydock.hosts.host import Host
from drydock.hosts.local import full_engine
from drydock.updates.compose.files import write_edit
from drydock.updates.compose.project import NOTHING, FilesPlan
from drydock.updates.execution.journal import Journal
from drydock.updates.plan import effects as fx
from drydock.updates.self_update.helper import NO_IMAGE, Helper

log = structlog.get_logger("updates")

T = TypeVar("T")

GRACEFUL_STOP_S = 10.0
"""How long a call to the Engine may still take when the process is asked to stop (updates.md §9.5, row 19)."""

FINAL_WRITE_RETRIES_S = (0.2, 1.0, 5.0)
PULL_REPORT_S = 2.0
"""A pull is logged no more often than this."""

GOOD_NOTICES = frozenset({"compose-updated"})

OnPhase = Callable[[Literal["scanning", "sbom-generating"]], Awaitable[None]]
"""Told what the security gate is doing."""


async def _pass(*_: object) -> None:
    """What is not there has nothing to do, and nothing against it."""


async def _no_files(operation: Operation, container: Document) -> FilesPlan:
    del operation, container
    return NOTHING


async def _no_helper(operation: Operation, host: Host, old: Document) -> Helper:
    del operation, host, old
    raise fx.StepFailed(NO_IMAGE)


def log_notice(operation: Operation, action: str, text: str) -> None:
    """What an operator should know, into the log."""
    say = log.info if action in GOOD_NOTICES else log.warning
    say("update.notice", operation=operation.id, action=action, text=text)


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a plan needs besides Engine and journal; each may raise an error of `core.errors`.

    The defaults are those of a process that has none of it: no credentials, hooks, gate, files or backups, and not
    in a container.
    """

    pull_auth: Callable[[str], Awaitable[PullAuth | None]] = _pass
    pre_hook: Callable[[Operation, Document], Awaitable[None]] = _pass
    verify: Callable[[Operation, str], Awaitable[None]] = _pass
    scan: Callable[[Operation, str, str, OnPhase], Awaitable[None]] = _pass
    plan_files: Callable[[Operation, Document], Awaitable[FilesPlan]] = _no_files
    write_file: Callable[[FileEdit], Awaitable[None]] = write_edit
    save_backup: Callable[[Operation, Document, Document], Awaitable[str | None]] = _pass
    own_container: Callable[[Host], Awaitable[str | None]] = _pass
    helper: Callable[[Operation, Host, Document], Awaitable[Helper]] = _no_helper
    announce: Callable[[Operation], Awaitable[object]] = _pass
    notice: Callable[[Operation, str, str], None] = log_notice


Perform = Callable[[Any], Any]
"""Carries out one effect and gives its result, or something to await for it."""


class Executor:
    """Runs plans of one operation on one host. `HostUnavailable` where this process cannot change its Engine."""

    def __init__(
        self, operation: Operation, host: Host, journal: Journal, clock: Clock, surroundings: Surroundings
    ) -> None:
        self._id = operation.id
        self._last = operation
        self._host = host
        self._engine = full_engine(host)
        self._journal = journal
        self._clock = clock
        self._around = surroundings
        self.seen: dict[str, Document] = {}
        """The last document of every container and image that was inspected, by id."""
        self._perform: dict[type[fx.Effect], Perform] = self._performers()

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
                if effect.mutates:
                    result = await self._mutate(effect)
                else:
                    found = self._perform[type(effect)](effect)
                    result = await found if isawaitable(found) else found
            except DrydockError as failure:
                error = failure

    async def _mutate(self, effect: fx.Effect) -> Any:
        """Write the intent, perform, settle it. After an unknown outcome the intent stays: recovery looks it up."""
        name = type(effect).__name__
        await self._journal.intent(self._id, name, effect.target, required=not self._going_back())
        call = asyncio.ensure_future(self._perform[type(effect)](effect))
        try:
            result = await asyncio.shield(call)
        except asyncio.CancelledError:
            # The process is stopped: the call in flight may finish, for half a call is worse than a late exit.
            await asyncio.wait({call}, timeout=GRACEFUL_STOP_S)
            call.cancel()
            raise
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

    def _row(self) -> Operation:
        return self._journal.live(self._id) or self._last

    def _going_back(self) -> bool:
        row = self._row()
        return row.phase.startswith("rollback") or not row.active

    # ── the Engine ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _performers(self) -> dict[type[fx.Effect], Perform]:
        engine, journal, around = self._engine, self._journal, self._around
        return {
            # the Engine, looking
            fx.Identify: lambda _: self._host.identify(),
            fx.PodmanSays: self._podman_says,
            fx.Probe: self._probe,
            fx.Inspect: lambda e: self._noted(engine.inspect_container(e.ref)),
            fx.InspectImage: lambda e: self._noted(engine.inspect_image(e.ref)),
            fx.InspectNetwork: lambda e: engine.inspect_network(e.ref),
            fx.ListContainers: lambda e: engine.list_containers(
                all=True, filters={"label": [e.label]} if e.label else None
            ),
            fx.Dependents: lambda e: self._host.namespaces.dependents(engine, e.owner, e.entries),
            fx.WaitRemoved: self._wait_removed,
            # the Engine, changing
            fx.Pull: self._pull,
            fx.Tag: lambda e: engine.tag_image(e.image, e.repository, e.tag),
            fx.Create: self._create,
            fx.Rename: lambda e: engine.rename_container(e.container, e.name),
            fx.Connect: lambda e: engine.connect_network(e.network, e.container, e.endpoint),
            fx.SetRestartPolicy: lambda e: engine.update_container(e.container, {"RestartPolicy": e.policy}),
            fx.Stop: self._stop,
            fx.Start: lambda e: engine.start_container(e.container),
            fx.Remove: lambda e: engine.remove_container(e.container, force=e.force),
            fx.Run: lambda e: engine.exec(
                e.container, e.command, env=e.env, user=e.user, working_dir=e.working_dir, privileged=e.privileged
            ),
            # journal and surroundings
            fx.Record: self._record,
            fx.CurrentRow: lambda _: self._row(),
            fx.Reread: self._reread,
            fx.Duplicate: lambda _: journal.is_duplicate(self._row()),
            fx.Stranger: self._stranger,
            fx.Successor: lambda e: journal.successor(e.container),
            fx.Requeue: lambda _: journal.requeue(self._id),
            fx.Touch: lambda _: journal.repeat(self._id),
            fx.Checkpoint: lambda _: self._row().cancel_requested,
            fx.Now: lambda _: fx.Instant(self._clock.now_ms(), self._clock.monotonic()),
            fx.Sleep: lambda e: self._clock.sleep(e.seconds),
            fx.PreHook: lambda e: around.pre_hook(self._row(), e.container),
            fx.Verify: lambda e: around.verify(self._row(), e.reference),
            fx.Scan: lambda e: around.scan(self._row(), e.reference, e.image_id, self._gate_phase),
            fx.PlanFiles: lambda e: around.plan_files(self._row(), e.container),
            fx.WriteFile: lambda e: around.write_file(e.edit),
            fx.SaveBackup: lambda e: around.save_backup(self._row(), e.container, e.image),
            fx.WhoAmI: lambda _: around.own_container(self._host),
            fx.HelperFor: lambda e: around.helper(self._row(), self._host, e.old),
            fx.Announce: lambda _: around.announce(self._row()),
            fx.Notice: lambda e: around.notice(self._row(), e.action, e.text),
        }

    async def _noted(self, asking: Coroutine[Any, Any, Document]) -> Document:
        document = await asking
        self.seen[document["Id"]] = document
        return document

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

    async def _podman_says(self, effect: fx.PodmanSays) -> tuple[Document | None, list[str]]:
        container = await self._engine.inspect_of_podman("containers", effect.container)
        try:
            image = await self._engine.inspect_of_podman("images", effect.image)
        except EngineNotFound:
            image = {}
        return image.get("Healthcheck"), container["Config"].get("CreateCommand") or []

    async def _wait_removed(self, effect: fx.WaitRemoved) -> bool:
        """Polls at short intervals: the wait endpoint needs its own connection and cannot be resumed."""
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
            if self._clock.monotonic() - told >= PULL_REPORT_S:
                told = self._clock.monotonic()
                log.info("update.pull", operation=self._id, reference=effect.reference, status=line.get("status"))

    async def _create(self, effect: fx.Create) -> str:
        created = await self._engine.create_container(effect.name, effect.document, platform=effect.platform)
        for warning in created.warnings:
            log.warning("update.engine_warning", operation=self._id, warning=warning)
        return created.id

    async def _stop(self, effect: fx.Stop) -> None:
        try:
            async with asyncio.timeout(effect.patience_s):
                await self._engine.stop_container(effect.container)
        except TimeoutError as error:
            text = f"The Docker Engine gave no answer within {effect.patience_s:.0f} s"
            raise EngineUnreachable(text) from error

    # ── journal and surroundings ────────────────────────────────────────────────────────────────────────────────────

    async def _record(self, effect: fx.Record) -> Operation:
        changes = dict(effect.changes)
        row = self._row()
        if row.active and "status" not in changes and ("phase" in changes or row.phase != "queued"):
            changes["status"] = "in-progress"
        final = changes.get("status") not in (None, "in-progress")
        going_back = self._going_back() or str(changes.get("phase")).startswith("rollback")
        # The last word of an operation is tried again for a while: without it a restart has to find out.
        for pause in FINAL_WRITE_RETRIES_S if final else ():
            try:
                self._last = await self._journal.change(self._id, **changes)
                return self._last
            except fx.JournalError:
                await self._clock.sleep(pause)
        self._last = await self._journal.change(self._id, required=not (final or going_back), **changes)
        return self._last

    async def _reread(self, _: fx.Reread) -> Operation:
        self._last = await self._journal.get(self._id) or self._last
        return self._last

    async def _stranger(self, effect: fx.Stranger) -> bool:
        return await self._journal.get(effect.operation_id) is None

    async def _gate_phase(self, phase: str) -> None:
        if PHASES.index(phase) > PHASES.index(self._row().phase):
            self._last = await self._journal.change(self._id, phase=phase)
