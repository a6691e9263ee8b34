"""What the update room tells whoever counts (updates.md §14.5). Nothing here may raise or wait."""

from __future__ import annotations

from typing import Protocol

from drydock.core.operation import Operation


class Meter(Protocol):
    """Counts updates."""

    def acted(self, action: str) -> None:
        """A person acted on a container: `container-start`, `-stop`, `-restart` or `-update`."""
        ...

    def ended(self, operation: Operation) -> None:
        """An operation is terminal; told once."""
        ...

    def running(self, operations: int) -> None:
        """So many operations are carried out now."""
        ...


class NoMeter:
    """Nobody counts."""

    def acted(self, action: str) -> None:
        """Not counted."""
        del action

    def ended(self, operation: Operation) -> None:
        """Not counted."""
        del operation

    def running(self, operations: int) -> None:
        """Not counted."""
        del operations
