"""Who may work on what: one lock per container and Compose project, and the global cap (updates.md §4)."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from drydock.core.model import HostKey


def container_key(host: HostKey, name: str) -> str:
    """The lock of one container; equal names on two hosts do not wait for each other."""
    return f"container:{host.agent or ''}:{host.watcher}:{name}"


def project_key(host: HostKey, project: str) -> str:
    """The lock of one Compose project."""
    return f"compose:{host.agent or ''}:{host.watcher}:{project}"


class Locks:
    """Locks are taken in sorted order, first come first served, then the permit: waiting for a lock costs no permit."""

    def __init__(self, max_concurrent: int = 0) -> None:
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._max = max_concurrent
        self._permits = asyncio.Semaphore(max_concurrent) if max_concurrent else None
        self._using = 0
        self._pending = 0
        self._waiting: defaultdict[str, int] = defaultdict(int)

    @asynccontextmanager
    async def hold(self, keys: Sequence[str], *, permit: bool = True) -> AsyncIterator[None]:
        """Hold all `keys`, and one of the permits if there is a cap."""
        async with AsyncExitStack() as stack:
            for key in sorted(set(keys)):
                await stack.enter_async_context(self._one(key))
            if permit and self._permits is not None:
                await stack.enter_async_context(self._permit(self._permits))
            yield

    @asynccontextmanager
    async def _permit(self, permits: asyncio.Semaphore) -> AsyncIterator[None]:
        self._pending += 1
        try:
            await permits.acquire()
        finally:
            self._pending -= 1
        self._using += 1
        try:
            yield
        finally:
            self._using -= 1
            permits.release()

    @asynccontextmanager
    async def _one(self, key: str) -> AsyncIterator[None]:
        self._waiting[key] += 1
        try:
            async with self._locks[key]:
                yield
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                self._waiting.pop(key)
                self._locks.pop(key, None)

    def dump(self) -> dict[str, Any]:
        """Keys that are held with their waiters, and how many permits are free or waited for, for the debug dump."""
        held = [{"lock": name, "waiting": count - 1} for name, count in sorted(self._waiting.items())]
        free = self._max - self._using if self._max else None
        return {"held": held, "permitsAvailable": free, "permitsPending": self._pending}
