"""Environment numbers kept in memory."""

from __future__ import annotations

from drydock.compat.dockhand.environments import Numbered

SOME_TIME = "2026-01-01T00:00:00.000Z"


class MemoryNumbers:
    """Implements `compat.dockhand.environments.Numbers`; `keys` have got theirs already, in this order."""

    def __init__(self, *keys: str) -> None:
        self.given = {key: Numbered(number, SOME_TIME, SOME_TIME) for number, key in enumerate(keys, 1)}

    async def number(self, key: str) -> Numbered:
        return self.given.setdefault(key, Numbered(len(self.given) + 1, SOME_TIME, SOME_TIME))
