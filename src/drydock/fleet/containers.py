"""The containers of the fleet, for rooms that only look them up; `fleet.Fleet` is the member."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from drydock.core.model import Container

RUNNING = "running"


class Containers(Protocol):
    """Every watched container, by id."""

    def get(self, id: str, /) -> Container | None:
        """The container with exactly this id."""
        ...

    def need(self, id: str, /) -> Container:
        """The container with exactly this id. Raises `NotFound`."""
        ...

    def all(self) -> Iterable[Container]:
        """Every watched container."""
        ...
