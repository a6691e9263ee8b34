"""The counters of the summary, kept up to date with every change (container-api.md §4.1)."""

from __future__ import annotations

import heapq

import msgspec

from drydock.fleet.entry import NEVER, NOTHING, Entry, Flags


class ContainerCounts(msgspec.Struct, frozen=True, rename="camel"):
    """Counts of visible containers; `unknown` are those whose last check failed."""

    total: int
    running: int
    stopped: int
    updates_available: int
    unknown: int


class SecurityCounts(msgspec.Struct, frozen=True):
    """Containers with critical or high findings."""

    issues: int


class Summary(msgspec.Struct, frozen=True, rename="camel"):
    """Body of `GET /containers/summary`."""

    containers: ContainerCounts
    security: SecurityCounts
    hot_updates: int
    mature_updates: int


class Counters:
    """Sums of the flags of all entries, and a heap of the moments at which an entry's flags change by time alone."""

    def __init__(self) -> None:
        self._sum = NOTHING
        self._counted: dict[str, Flags] = {}
        self._next: dict[str, int] = {}
        self._due: list[tuple[int, str]] = []

    def count(self, entry: Entry) -> None:
        """Count an entry with its present flags, instead of those it had."""
        self._add(entry.container.id, entry.flags)
        self._await(entry.container.id, entry.due)

    def forget(self, id: str) -> None:
        """Take an entry out."""
        self._add(id, NOTHING)
        del self._counted[id]
        self._next.pop(id, None)

    def overdue(self, now_ms: int) -> list[str]:
        """Ids whose deadline has passed; each is named once."""
        found: set[str] = set()
        while self._due and self._due[0][0] <= now_ms:
            at, id = heapq.heappop(self._due)
            if self._next.get(id) == at:
                found.add(id)
        return list(found)

    def summary(self) -> Summary:
        """The sums."""
        sums = self._sum
        return Summary(
            ContainerCounts(sums.total, sums.running, sums.total - sums.running, sums.available, sums.unknown),
            SecurityCounts(sums.issues),
            sums.hot,
            sums.mature,
        )

    def _await(self, id: str, due: int) -> None:
        if due == self._next.get(id):
            return
        self._next[id] = due
        if due < NEVER:
            heapq.heappush(self._due, (due, id))
        if len(self._due) > 2 * len(self._next) + 64:
            self._due = [(at, known) for known, at in self._next.items() if at < NEVER]
            heapq.heapify(self._due)

    def _add(self, id: str, flags: Flags) -> None:
        before = self._counted.get(id, NOTHING)
        self._counted[id] = flags
        if before != flags:
            self._sum = Flags(*(a + b - c for a, b, c in zip(self._sum, flags, before, strict=True)))
