"""New containers wait until they have been visible for a while, so that passing ones are not reported (watching.md §5.5)."""

from __future__ import annotations

from collections.abc import Collection, Mapping


class Settling:
    """Remembers when each unknown container was first seen. Times are epoch ms; `settle_ms` 0 holds nothing back."""

    def __init__(self, settle_ms: int) -> None:
        self._settle_ms = settle_ms
        self._first_seen: dict[str, int] = {}

    def pending(self, unknown: Mapping[str, str], now_ms: int) -> set[str]:
        """Ids among `unknown` (id → name) that must still wait; forgets those that vanished."""
        if self._settle_ms == 0:
            return set()
        self._forget(unknown.keys())
        for container_id in unknown:
            self._first_seen.setdefault(container_id, now_ms)
        held = {i for i in unknown if now_ms - self._first_seen[i] < self._settle_ms}
        for container_id in set(unknown) - held:
            del self._first_seen[container_id]
        return held

    def next_due(self) -> int | None:
        """When the first held container will have settled; None when nothing waits."""
        return min(self._first_seen.values()) + self._settle_ms if self._first_seen else None

    def _forget(self, present: Collection[str]) -> None:
        for container_id in set(self._first_seen) - set(present):
            del self._first_seen[container_id]
