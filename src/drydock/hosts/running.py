"""What this room asks of the fleet and of the Engines: two narrow views, filled in by `app`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from drydock.core.model import Container
from drydock.docker.api import Engine

RUNNING = "running"


class Containers(Protocol):
    """The watched containers; `fleet.Fleet` is the member."""

    def get(self, id: str, /) -> Container | None:
        """The container with exactly this id."""
        ...

    def all(self) -> Iterable[Container]:
        """Every watched container."""
        ...


class EngineFor(Protocol):
    """Finds the Engine on which a watcher's containers live."""

    def __call__(self, watcher: str, agent: str | None) -> Engine:
        """The Engine of `watcher` (on `agent`). Raises `Unavailable` when watcher or agent is missing or offline."""
        ...
