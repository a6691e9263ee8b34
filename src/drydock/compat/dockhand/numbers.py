"""Numbers of environments, kept in the store for its life: never given twice (dockhand-stats.md §3)."""

from __future__ import annotations

import asyncio

from drydock.clock import Clock
from drydock.compat.dockhand.environments import Numbered
from drydock.core import times
from drydock.store.documents import Documents

COLLECTION = "environments"


class StoredNumbers:
    """Implements `environments.Numbers` over the store's documents; read once, then from memory."""

    def __init__(self, documents: Documents, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock
        self._known: dict[str, Numbered] | None = None
        self._turn = asyncio.Lock()

    async def number(self, key: str) -> Numbered:
        """The number of `key`; an unknown key gets the one after the highest ever given."""
        async with self._turn:
            if self._known is None:
                self._known = await self._documents.all(COLLECTION, Numbered)
            if key not in self._known:
                now = times.to_iso(self._clock.now_ms())
                highest = max((each.id for each in self._known.values()), default=0)
                fresh = Numbered(highest + 1, now, now)
                await self._documents.put(COLLECTION, key, fresh)
                self._known[key] = fresh
            return self._known[key]
