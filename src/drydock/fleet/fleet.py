"""The fleet: every container that is known, changed only here, in order, and written through before it is seen.

A change is stored first, then shown, then published (`drydock.events`). The last state is loaded at start. Reading never
waits. Which container may be updated, and why not, is decided in `core`; how it looks over HTTP, in `api`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import msgspec
import structlog

from drydock.clock import Clock
from drydock.cooperative import Turns
from drydock.core.errors import NotFound
from drydock.core.explain import Explanation, explain
from drydock.core.model import ActiveOperation, Container, ContainerView, HostKey, UpdatePolicy, audit_key, identity_key
from drydock.core.policy.eligibility import EligibilityContext
from drydock.core.temporary import is_temporary
from drydock.core.trace import Trace
from drydock.core.update import has_raw_update
from drydock.core.view import ViewContext, view
from drydock.events import Bus, ContainerAdded, ContainerRemoved, ContainerUpdated, HealthChanged
from drydock.fleet.counters import Counters, Summary
from drydock.fleet.entry import Entry
from drydock.fleet.incoming import Marks, became_unhealthy, keep_secrets, meaningful, stamp
from drydock.fleet.index import Index, containers
from drydock.fleet.response_cache import PageFacts, ResponseCache, envelope
from drydock.fleet.retention import Records as RetentionRecords
from drydock.fleet.retention import Retention, clocks_of, with_clocks, with_overrides
from drydock.fleet.selection import Wanted, select
from drydock.fleet.settings import FleetSettings
from drydock.fleet.write_queue import Job, Merge, Record, WriteQueue

log = structlog.get_logger("fleet")

UpdateFacts = tuple[EligibilityContext, ActiveOperation | None]
"""What the update room knows of a container: what speaks for and against an update, and the operation under way."""


class Records(Protocol):
    """Where records are kept; `store.containers.ContainerRecords`."""

    async def all(self) -> list[Record]: ...

    async def put(self, records: Sequence[Record]) -> None: ...

    async def remove(self, ids: Iterable[str]) -> None: ...


class Fleet:
    """All containers."""

    def __init__(
        self,
        records: Records,
        retention: RetentionRecords,
        bus: Bus,
        clock: Clock,
        settings: FleetSettings | None = None,
    ) -> None:
        self.settings = settings or FleetSettings()
        self._records = records
        self._retention = Retention(retention, self.settings)
        self._bus = bus
        self._clock = clock
        self._facts: Callable[[Container], UpdateFacts] | None = None
        self._index = Index()
        self._counters = Counters()
        self._bodies = ResponseCache(self.settings)
        self._marks = Marks()
        self._waiting = WriteQueue()
        self._turn = asyncio.Lock()
        self._latest_ms = 0
        self.version = 0

    def derive_with(self, facts: Callable[[Container], UpdateFacts]) -> None:
        """From now on views include what `facts` says of updates; called once, by the room that carries them out.

        Without it, as in a process that carries out none, views have no `updateEligibility`.
        """
        self._facts = facts

    async def load(self) -> None:
        """Read the last picture from the store, before anything else happens."""
        await self._retention.load(self._clock.now_ms())
        for container, trace in await self._records.all():
            self._show(Entry(container, trace))

    # reading records

    def __len__(self) -> int:
        return len(self._index)

    def get(self, id: str) -> Container | None:
        """The record with this id, temporary rollback containers included."""
        entry = self._index.get(id)
        return entry.container if entry else None

    def need(self, id: str) -> Container:
        """The record with this id; `NotFound` when there is none."""
        return self._need(id).container

    def trace(self, id: str) -> Trace | None:
        """What the last check of this container did."""
        entry = self._index.get(id)
        return entry.trace if entry else None

    def all(self) -> list[Container]:
        """Every record by name, temporary rollback containers included."""
        return containers(self._index.in_order())

    def by_identity(self, key: str) -> list[Container]:
        """Records that share `core.model.identity_key`: one, or the replicas of a Compose service."""
        return containers(self._index.by_identity(key))

    def by_audit_key(self, key: str) -> list[Container]:
        """Records of one agent, watcher and name."""
        return containers(self._index.by_audit_key(key))

    def by_host(self, host: HostKey) -> list[Container]:
        """Records of one host."""
        return containers(self._index.by_host(host))

    # reading views

    def view(self, id: str) -> ContainerView:
        """The container as it leaves the server, evaluated now. `NotFound` when there is none."""
        return self._evaluated(self._need(id).container, self._clock.now_ms())

    def view_of(self, container: Container) -> ContainerView:
        """Any record as it leaves the server; for events, also about one that is gone or has changed since.

        Up to date but for `updateEligibility.evaluatedAt`.
        """
        entry, now_ms = self._index.get(container.id), self._clock.now_ms()
        if entry is not None and entry.container is container:
            return self._fresh(entry, now_ms).aged(now_ms)
        return self._evaluated(container, now_ms)

    def _evaluated(self, container: Container, now_ms: int) -> ContainerView:
        return view(container, now_ms, self._context(container))

    def _context(self, container: Container) -> ViewContext:
        eligibility, operation = self._facts(container) if self._facts is not None else (None, None)
        return ViewContext(
            maturity_threshold_days=self.settings.maturity_threshold_days, eligibility=eligibility, operation=operation
        )

    def has_update(self, id: str) -> bool:
        """Whether an update of this container is available now; False for one that is gone."""
        entry, now_ms = self._index.get(id), self._clock.now_ms()
        return entry is not None and self._fresh(entry, now_ms).view.update_available

    def views(self) -> list[ContainerView]:
        """Visible containers by name, up to date but for `updateEligibility.evaluatedAt`."""
        now_ms = self._catch_up()
        return [self._fresh(e, now_ms).aged(now_ms) for e in self._index.in_order() if e.visible]

    def explain(self, id: str, next_check_at: str | None = None) -> Explanation:
        """Why this container is where it is (explain.md). `NotFound` when there is none."""
        entry, now_ms = self._need(id), self._clock.now_ms()
        return explain(entry.container, entry.trace, self.view(id), next_check_at, now_ms)

    def summary(self) -> Summary:
        """The counters of the summary; costs the same however many containers there are."""
        self._catch_up()
        return self._counters.summary()

    def select(self, wanted: Wanted) -> list[ContainerView]:
        """Views of the containers that match, in order."""
        now_ms = self._catch_up()
        return [self._fresh(e, now_ms).aged(now_ms) for e in select(self._index.in_order(), wanted, now_ms)]

    def list_body(
        self,
        key: object,
        wanted: Wanted,
        cut: Callable[[Sequence[Entry]], Sequence[Entry]],
        facts: Callable[[int, int], PageFacts],
        vulnerabilities: bool = False,
    ) -> bytes:
        """The encoded answer of a list; the same bytes for the same `key` while nothing changed, for a second.

        `cut` takes the page out of the matches; `facts(returned, total)` says what stands beside it.
        """
        now_ms = self._catch_up()
        kept = self._bodies.get(key, self.version, now_ms)
        if kept is not None:
            return kept
        found = select(self._index.in_order(), wanted, now_ms)
        page = [self._fresh(entry, now_ms) for entry in cut(found)]
        rows = [entry.full_row(now_ms) if vulnerabilities else entry.row(now_ms) for entry in page]
        return self._bodies.keep(key, self.version, now_ms, envelope(rows, facts(len(rows), len(found))))

    @property
    def bodies_encoded(self) -> int:
        """How many list bodies were put together since the start; the others were served as they were."""
        return self._bodies.encoded

    # changing

    async def put(
        self, container: Container, trace: Trace | None = None, *, check_started_ms: int | None = None
    ) -> Container:
        """Insert or replace one record; gives it as stored. A trace of None keeps the known one.

        `check_started_ms` is when the check behind it began: what was detected before an update of Drydock's own is
        not an update any more (`mark_updated`).
        """
        return (await self.put_many([(container, trace)], check_started_ms=check_started_ms))[0]

    async def put_many(self, records: Sequence[Record], *, check_started_ms: int | None = None) -> list[Container]:
        """Insert or replace several records, all or none. Callers that wait for each other share a transaction."""
        return await self._submit(Job([(container, None, trace) for container, trace in records], check_started_ms))

    async def merge_many(
        self,
        changes: Sequence[tuple[Container, Merge, Trace | None]],
        *,
        check_started_ms: int | None = None,
        insert: bool = True,
    ) -> list[Container]:
        """Write what a caller learned about several containers without undoing what others wrote meanwhile.

        Each change is (incoming, merge, trace): what is stored becomes `merge(stored, incoming)`. An unknown container
        is inserted as it came, or left out without `insert`: the outcome of a check must not bring back one that left
        meanwhile. Gives what was stored.
        """
        return await self._submit(Job(changes, check_started_ms, insert))

    async def change(self, id: str, alter: Callable[[Container], Container]) -> Container:
        """Replace a record by `alter(record)`; nothing comes between reading and writing. `NotFound`."""
        async with self._turn:
            before = self._need(id).container
            after = stamp(before, alter(before), self._clock.now_ms(), whole=True)
            await self._write([(after, None)])
            return after

    async def change_policy(self, id: str, decide: Callable[[Container], UpdatePolicy | None]) -> Container:
        """Set the policy overrides of a container and of everything that shares its identity. `NotFound`."""
        async with self._turn:
            container = self._need(id).container
            overrides, now_ms = decide(container), self._clock.now_ms()
            family = self.by_identity(identity_key(container))
            changed = [msgspec.structs.replace(one, update_policy_overrides=overrides) for one in family]
            await self._write([(stamp(old, new, now_ms), None) for old, new in zip(family, changed, strict=True)])
            return self.need(id)

    async def remove(self, id: str, replacement_expected: bool = False) -> Container | None:
        """Forget a record; gives it, or None when there was none."""
        async with self._turn:
            entry = self._index.get(id)
            if entry is None:
                return None
            if replacement_expected:
                await self._retention.stash(entry.container, self._clock.now_ms())
            else:
                await self._retention.stash_policy(entry.container, self._clock.now_ms())
            await self._records.remove([id])
            self._hide(id)
        if entry.visible:
            self._bus.publish(ContainerRemoved(container=entry.container, replacement_expected=replacement_expected))
        return entry.container

    def touch(self, *ids: str) -> None:
        """Something outside the records changed (an operation, an action): evaluate these again; none means all."""
        now_ms = self._clock.now_ms()
        wanted = [self._index.get(id) for id in ids] if ids else list(self._index)
        for entry in wanted:
            if entry is not None:
                self._compute(entry, now_ms)
        self.version += 1

    def mark_updated(self, key: str) -> None:
        """An update of the container with this `core.model.audit_key` succeeded just now."""
        self._marks.set(key, self._clock.now_ms())

    # inside

    def _need(self, id: str) -> Entry:
        entry = self._index.get(id)
        if entry is None:
            raise NotFound("Container not found")
        return entry

    async def _submit(self, job: Job) -> list[Container]:
        self._waiting.add(job)
        try:
            async with self._turn:
                while job.stored is None:
                    await self._serve(job)
        finally:
            self._waiting.drop(job)
        return job.stored

    async def _serve(self, own: Job) -> None:
        """Write the jobs at the front; the others wait again when it fails, and `own` fails for itself alone."""
        jobs = self._waiting.take()
        try:
            await self._carry_out(jobs)
        except Exception:
            if jobs == [own]:
                raise
            log.warning("fleet.shared_write_failed", jobs=len(jobs))
            await self._carry_out([own])
        finally:
            self._waiting.put_back([job for job in jobs if job.stored is None and job is not own])

    async def _carry_out(self, jobs: Sequence[Job]) -> None:
        now_ms, turns = self._clock.now_ms(), Turns()
        done: list[list[Record]] = []
        for job in jobs:
            done.append(records := [])
            for found, merge, trace in job.changes:
                current = self.get(found.id)
                if current is None and not job.insert:
                    continue
                incoming = found if merge is None or current is None else merge(current, found)
                records.append((await self._prepare(incoming, job.check_started_ms, now_ms), trace))
                await turns.offer()
        await self._write([record for records in done for record in records])
        for job, records in zip(jobs, done, strict=True):
            job.stored = [container for container, _ in records]

    async def _prepare(self, incoming: Container, check_started_ms: int | None, now_ms: int) -> Container:
        """What will be stored for an incoming record."""
        previous = self.get(incoming.id)
        incoming = self._marks.apply(incoming, check_started_ms)
        if previous is None:
            incoming = self._from_relatives(await self._retention.inherit(incoming, now_ms))
        else:
            incoming = keep_secrets(previous, incoming)
        # Only now can the candidate be compared with the predecessor's: what discovery inserts was never checked.
        first_check = previous is not None and check_started_ms is not None and self.trace(previous.id) is None
        if first_check or (previous is None and has_raw_update(incoming)):
            incoming = await self._retention.inherit_clocks(incoming, now_ms)
        if previous is not None and is_temporary(incoming.name) and not is_temporary(previous.name):
            await self._retention.stash(previous, now_ms)
        return stamp(previous, incoming, now_ms)

    def _from_relatives(self, incoming: Container) -> Container:
        """A recreated container may arrive before the old one leaves; a new replica shares its service's policy."""
        if is_temporary(incoming.name):
            return incoming
        for old in self.by_audit_key(audit_key(incoming)):
            clocks = clocks_of(old)
            incoming = with_clocks(incoming, clocks) if clocks else incoming
        for relative in self.by_identity(identity_key(incoming)):
            incoming = with_overrides(incoming, relative.update_policy_overrides)
        return incoming

    async def _write(self, records: Sequence[Record]) -> None:
        """Store, show, publish; in this order."""
        await self._records.put(records)
        turns = Turns()
        for container, trace in records:
            before = self._index.get(container.id)
            known = before.trace if before else None
            after = Entry(container, trace or known)
            self._show(after)
            self._tell(before, after)
            await turns.offer()

    def _show(self, entry: Entry) -> None:
        self._compute(entry, self._clock.now_ms())
        self._index.add(entry)
        self.version += 1

    def _hide(self, id: str) -> None:
        self._index.remove(id)
        self._counters.forget(id)
        self.version += 1

    def _tell(self, before: Entry | None, after: Entry) -> None:
        was, is_now = before is not None and before.visible, after.visible
        if before is not None and was and is_now:
            if meaningful(before.view, after.view):
                self._bus.publish(ContainerUpdated(container=after.container, previous=before.container))
            if became_unhealthy(before.container, after.container):
                self._bus.publish(HealthChanged(container=after.container, previous=before.container.health))
        elif is_now:
            self._bus.publish(ContainerAdded(container=after.container))
        elif before is not None and was:
            self._bus.publish(ContainerRemoved(container=before.container, replacement_expected=True))

    def _compute(self, entry: Entry, now_ms: int) -> None:
        entry.compute(now_ms, self._context(entry.container))
        self._counters.count(entry)

    def _fresh(self, entry: Entry, now_ms: int) -> Entry:
        if entry.worn(now_ms):
            self._compute(entry, now_ms)
        return entry

    def _catch_up(self) -> int:
        """Evaluate every entry whose deadline has passed; gives the present moment."""
        now_ms = self._clock.now_ms()
        if now_ms < self._latest_ms:
            self.touch()
        self._latest_ms = now_ms
        due = self._counters.overdue(now_ms)
        for id in due:
            entry = self._index.get(id)
            if entry is not None:
                self._fresh(entry, now_ms)
        if due:
            self.version += 1
        return now_ms
