"""Environment numbers kept in memory."""

from __future__ import annotations

from drydock.compat.dockhand.environments import Numbered

SOME_TIME = "2026-01-01T00:00:00.000Z"


class MemoryNumbers:
    """Implements `observe.stats.environments.Numbers`."""

    def __init__(self) -> None:
        self.given: dict[str, Numbered] = {}

    async def number(self, key: str) -> Numbered:
        return self.given.setdefault(key, Numbered(len(self.given) + 1, SOME_TIME, SOME_TIME))
