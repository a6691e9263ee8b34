"""Records that wait to be written: those that come while a transaction runs share the next one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from drydock.core.model import Container
from drydock.core.trace import Trace

LARGEST_BATCH = 500
Record = tuple[Container, Trace | None]
Merge = Callable[[Container, Container], Container]
Change = tuple[Container, Merge | None, Trace | None]
"""An incoming record, how it joins the stored one (None: it replaces it), and its trace (None: keep the known one)."""


class Job:
    """Changes of one caller, and what became of them."""

    __slots__ = ("changes", "check_started_ms", "insert", "stored")

    def __init__(self, changes: Sequence[Change], check_started_ms: int | None, insert: bool = True) -> None:
        self.changes = changes
        self.check_started_ms = check_started_ms
        self.insert = insert
        self.stored: list[Container] | None = None


class WriteQueue:
    """Jobs in the order of arrival."""

    def __init__(self) -> None:
        self._jobs: list[Job] = []

    def add(self, job: Job) -> None:
        self._jobs.append(job)

    def drop(self, job: Job) -> None:
        """Forget a job whose caller is gone."""
        if job in self._jobs:
            self._jobs.remove(job)

    def take(self) -> list[Job]:
        """The jobs that may share a transaction: from the front, as long as no container is named twice."""
        taken: list[Job] = []
        seen: set[str] = set()
        size = 0
        for job in self._jobs:
            ids = {incoming.id for incoming, _, _ in job.changes}
            size += len(job.changes)
            if taken and (ids & seen or size > LARGEST_BATCH):
                break
            taken.append(job)
            seen |= ids
        del self._jobs[: len(taken)]
        return taken

    def put_back(self, jobs: Sequence[Job]) -> None:
        """Jobs that were taken and not written wait again, in front."""
        self._jobs[:0] = jobs
