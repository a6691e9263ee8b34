"""A process that runs in no container: it can never be what it updates, and cannot make a helper."""

from __future__ import annotations

from drydock.core.model import Container
from drydock.core.operation import Operation
from drydock.docker.api import Document, Engine
from drydock.updates.effects import StepFailed
from drydock.updates.self_update.helper import Helper

NO_IMAGE = "Drydock does not run in a container here, so it has no image for the helper that this update needs"


class Outside:
    """Implements `identity.OwnProcess` where there is nothing to know."""

    def is_self(self, container: Container) -> bool:
        """Never."""
        del container
        return False

    def possible(self, container: Container) -> bool:
        """Nothing stands in the way of a container that is not ours."""
        del container
        return True

    def by_helper(self, container: Container) -> bool:
        """Never."""
        del container
        return False

    async def learn(self, watcher: str) -> None:
        """Nothing to learn."""
        del watcher

    async def container_id(self, engine: Engine) -> str | None:
        """None."""
        del engine
        return None

    async def helper(self, operation: Operation, engine: Engine, old: Document) -> Helper:
        """Raises `StepFailed`."""
        del operation, engine, old
        raise StepFailed(NO_IMAGE)

    async def announce(self, operation: Operation) -> None:
        """Nobody is told."""
        del operation


OUTSIDE = Outside()
