"""Start, stop and restart of a container (updates.md §14.2; container-api.md §7.1)."""

from __future__ import annotations

from typing import Literal

from drydock.core.errors import Conflict, DrydockError, EngineError
from drydock.core.model import Container
from drydock.events import ContainerAction
from drydock.hosts.local import full_engine
from drydock.kernel import Kernel
from drydock.updates.admission import Admission
from drydock.updates.execution.locks import container_key
from drydock.updates.needs import Needs
from drydock.updates.queue import Queue

Verb = Literal["start", "stop", "restart"]
DONE = {"start": "started", "stop": "stopped", "restart": "restarted"}


class Lifecycle:
    """Acts on one container at a time, under the same lock as its updates."""

    def __init__(self, kernel: Kernel, needs: Needs, admission: Admission, queue: Queue) -> None:
        self._fleet = kernel.fleet
        self._bus = kernel.bus
        self._needs = needs
        self._admission = admission
        self._queue = queue

    async def act(self, container_id: str, verb: Verb) -> Container:
        """Do it, wait for the Engine, give the refreshed record.

        Raises `Forbidden`, `NotFound`, `Conflict` while an operation is active, and `ActionFailed`.
        """
        self._admission.check_enabled()
        container = self._fleet.need(container_id)
        if self._queue.active(container) is not None:
            raise Conflict("Container update already in progress")
        async with self._queue.locks.hold([container_key(container.host, container.name)], permit=False):
            self._fleet.need(container_id)  # an update that was just ending may have replaced it meanwhile
            engine = full_engine(self._needs.hosts.of(container))
            calls = {
                "start": engine.start_container,
                "stop": engine.stop_container,
                "restart": engine.restart_container,
            }
            try:
                await calls[verb](container.id)
            except EngineError as error:
                raise ActionFailed(error.message) from error
            self._bus.publish(ContainerAction(action=f"container-{verb}"))
            await self._needs.watching.look_again(container.host)
        return self._fleet.need(container_id)


class ActionFailed(DrydockError):
    """The Engine refused; `cause` is for the audit, the answer stays general."""

    code = "container-action-failed"
    default = "Unable to complete container action"

    def __init__(self, cause: str) -> None:
        super().__init__()
        self.cause = cause
