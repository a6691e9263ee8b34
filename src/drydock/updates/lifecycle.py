"""Start, stop and restart of a container (updates.md §14.2; container-api.md §7.1)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

import structlog

from drydock.core.errors import Conflict, DrydockError, EngineError
from drydock.core.model import Container
from drydock.docker.api import Engine
from drydock.events import Bus, ContainerAction
from drydock.fleet.fleet import Fleet
from drydock.updates import admission
from drydock.updates.completion import LookAgain
from drydock.updates.locks import container_key
from drydock.updates.service import UpdateService

log = structlog.get_logger("updates")

Verb = Literal["start", "stop", "restart"]
DONE = {"start": "started", "stop": "stopped", "restart": "restarted"}


class Lifecycle:
    """Acts on one container at a time, under the same lock as its updates."""

    def __init__(
        self,
        service: UpdateService,
        fleet: Fleet,
        bus: Bus,
        engine_for: Callable[[str, str | None], Engine],
        look_again: LookAgain,
    ) -> None:
        self._service = service
        self._fleet = fleet
        self._bus = bus
        self._engine_for = engine_for
        self._look_again = look_again

    async def act(self, container_id: str, verb: Verb) -> Container:
        """Do it, wait for the Engine, give the refreshed record.

        Raises `Forbidden`, `NotFound`, `Conflict` while an operation is active, and `ActionFailed`.
        """
        admission.check_enabled(self._service.settings.actions_enabled)
        container = self._fleet.need(container_id)
        if self._service.active(container) is not None:
            raise Conflict("Container update already in progress")
        key = container_key(container.agent, container.watcher, container.name)
        async with self._service.locks.hold([key], permit=False):
            self._fleet.need(container_id)  # an update that was just ending may have replaced it meanwhile
            engine = self._engine_for(container.watcher, container.agent)
            try:
                await self._call(engine, verb)(container.id)
            except EngineError as error:
                raise ActionFailed(error.message) from error
            self._bus.publish(ContainerAction(action=f"container-{verb}"))
            await self._look_again(container.watcher, container.agent)
        return self._fleet.need(container_id)

    def _call(self, engine: Engine, verb: Verb) -> Callable[[str], Awaitable[None]]:
        return {"start": engine.start_container, "stop": engine.stop_container, "restart": engine.restart_container}[
            verb
        ]


class ActionFailed(DrydockError):
    """The Engine refused; `cause` is for the audit, the answer stays general."""

    code = "container-action-failed"
    default = "Unable to complete container action"

    def __init__(self, cause: str) -> None:
        super().__init__()
        self.cause = cause
