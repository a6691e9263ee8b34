"""The test harness of updates: fake Engine, rows, clock and surroundings, and a process that can die and start again."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from drydock.core.errors import DrydockError
from drydock.core.operation import FileEdit, ImageWanted, Operation
from drydock.core.temporary import temporary_base
from drydock.hosts.host import Hosts
from drydock.updates.execution.executor import OnPhase, Surroundings
from drydock.updates.execution.journal import Journal
from drydock.updates.execution.worker import Worker
from drydock.updates.plan.effects import StepFailed
from drydock.updates.plan.options import PlanOptions
from kit.clock import SkippingClock

from .engine import FakeEngine
from .hosts import local_host
from .rows import MemoryRows

Document = dict[str, Any]

OLD: Document = {"Env": ["PATH=/bin", "VERSION=1"], "Volumes": {"/data": {}}}
NEW: Document = {"Env": ["PATH=/bin", "VERSION=2"], "Volumes": {"/data": {}}}
CHECK: Document = {"Healthcheck": {"Test": ["CMD", "true"]}}


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Files:
    """Files by path; the surroundings write here."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def edit(self, path: str, after: str) -> FileEdit:
        before = self.texts[path]
        return FileEdit(path=path, before=before, after=after, sha_before=sha(before), sha_after=sha(after))


class Around:
    """Surroundings that let everything pass and remember what they were told."""

    def __init__(self, harness: UpdateHarness) -> None:
        self.harness = harness
        self.notices: list[tuple[str, str]] = []
        self.refusal: DrydockError | None = None

    @property
    def surroundings(self) -> Surroundings:
        """These, for an executor."""
        return Surroundings(
            scan=self.scan, save_backup=self.save_backup, write_file=self.write_file, notice=self.notice
        )

    async def scan(self, operation: Operation, reference: str, image_id: str, on_phase: OnPhase) -> None:
        if self.refusal is not None:
            raise self.refusal

    async def save_backup(self, operation: Operation, container: Document, image: Document) -> str | None:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, operation.id))

    async def write_file(self, edit: FileEdit) -> None:
        try:
            self.harness.before_write()
        except OSError as error:
            raise StepFailed(f"{edit.path} could not be written: {error}") from error
        if sha(self.harness.files.texts[edit.path]) == edit.sha_before:
            self.harness.files.texts[edit.path] = edit.after
        self.harness.after_write()

    def notice(self, operation: Operation, action: str, text: str) -> None:
        self.notices.append((action, text))


class UpdateHarness:
    """One host, one store, and a manager process that `restart` replaces."""

    def __init__(self, **engine: Any) -> None:
        self.clock = SkippingClock()
        self.engine = FakeEngine(self.clock, **engine)
        self.rows = MemoryRows()
        self.files = Files()
        self.around = Around(self)
        self.options = PlanOptions()
        self.events: list[tuple[str, str]] = []
        self.broken: list[str] = []
        self.engine.on_change = self._watch
        self.may_vanish: set[str] = set()
        self.names: set[str] = set()
        self.restart()

    async def watch(self) -> None:
        """What a watcher does before any update: get acquainted with the Engine, and look at every container."""
        await self.host.identify()
        for id in list(self.engine.containers):
            self.host.namespaces.learn(await self.engine.inspect_container(id))

    def restart(self) -> None:
        """A new process on the same store and Engine."""
        self.host = local_host(self.engine, self.clock)
        self.journal = Journal(self.rows, self.clock, lambda row: self.events.append((row.id, row.phase)))
        surroundings = self.around.surroundings
        self.worker = Worker(self.journal, self.clock, Hosts([self.host]), surroundings, lambda _: self.options)

    async def run(self, operation: Operation) -> Operation:
        """Carry out a queued operation; the terminal row."""
        return (await self.worker.run(operation)).row

    def before_write(self) -> None:
        """Around a change of a file; tests put faults here."""

    def after_write(self) -> None:
        """See `before_write`."""

    def _watch(self) -> None:
        """Invariants I1 and I3, looked at after every change of the Engine."""
        for name in self.names:
            mine = [c for c in self.engine.containers.values() if self._base(c) == name]
            if sum(c["State"]["Running"] for c in mine) > 1:
                self.broken.append(f"old and new of {name} run together")
            if not mine and name not in self.may_vanish:
                self.broken.append(f"no container of {name} exists")

    @staticmethod
    def _base(container: Document) -> str:
        name = container["Name"][1:]
        return temporary_base(name) or name

    async def container(self, name: str = "web", *, image: str = "app:1", start: bool = True, **document: Any) -> str:
        """A container on the host."""
        self.names.add(name)
        return self.engine.add_container(name, {"Image": image, **document}, start=start)

    async def accept(self, container: str, reference: str = "app:2", **more: Any) -> Operation:
        """A queued operation, as admission would write it."""
        document = self.engine.containers[container]
        now = self.clock.now_ms()
        wanted = more.pop("wanted", ImageWanted(reference=reference))
        operation = Operation(
            id=str(uuid.uuid4()),
            container_id=container,
            container_name=document["Name"][1:],
            status="queued",
            phase="queued",
            created_at=now,
            updated_at=now,
            watcher="local",
            trigger_name="docker.local",
            wanted=wanted,
            **more,
        )
        await self.journal.insert(operation)
        return operation

    async def recover_all(self) -> None:
        """What start does: unfinished rows first, then whatever is queued."""
        rows = await self.journal.load()
        for row in rows:
            if row.status == "in-progress":
                await self.worker.recover(row)
        for row in self.journal.active():
            await self.worker.run(row)
        for row in rows:
            if not row.active:
                await self.worker.recover(row)

    def phases(self, operation: Operation) -> list[str]:
        """Phases of an operation in the order they were told, repeats left out."""
        told = [phase for operation_id, phase in self.events if operation_id == operation.id]
        return [phase for n, phase in enumerate(told) if n == 0 or told[n - 1] != phase]
