"""The room put together: which parts work, and the sections of the debug dump (platform-api.md §4.6, §16.1)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import msgspec
import sqlalchemy as sa
import structlog

from drydock.config.load import Settings
from drydock.core.component import Component
from drydock.core.scrub import scrub
from drydock.diagnostics.dump import DebugDump
from drydock.kernel import Kernel, Room
from drydock.store.figures import figures

log = structlog.get_logger("diagnostics")

Section = Callable[[int], Awaitable[Any]]
"""Gives one part of the dump; its argument is how far back events go, epoch ms."""
Components = Callable[[], Sequence[Component]]


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What the other rooms report about themselves."""

    version: str
    components: Mapping[str, Components]
    """Everything configured, by kind, without secrets."""
    watching: Mapping[str, Section]
    """Sections of the watchers."""
    watchers_work: Callable[[], bool]
    update_locks: Callable[[], Any]
    log: Section
    """The server's own log."""


class Diagnostics(Room):
    """Answers `/health?verbose=1` and `/api/v1/debug/dump`."""

    def __init__(self, kernel: Kernel, settings: Settings, needs: Needs) -> None:
        self._kernel = kernel
        self._settings = settings
        self._needs = needs
        self._dump = DebugDump(
            kernel.clock,
            needs.version,
            {
                "state": self._state,
                "mqttHomeAssistant": self._sensors,
                **needs.watching,
                "store": self._store,
                "environment": self._environment,
                "process": self._process,
                "log": needs.log,
            },
        )

    @classmethod
    def build(cls, kernel: Kernel, settings: Settings, needs: Needs) -> Self:
        """The room; it does nothing until it is asked."""
        return cls(kernel, settings, needs)

    async def dump(self, minutes: int) -> bytes:
        """The debug dump as JSON without secrets; events go `minutes` back."""
        return await self._dump.build(minutes)

    async def health(self) -> dict[str, bool]:
        """Which parts work: false for what does not, or was never asked. No agent is configured, so none is missing."""
        return {"store": await self._store_works(), "watchers": self._needs.watchers_work(), "agents": True}

    async def _store_works(self) -> bool:
        try:
            async with self._kernel.store.database.read() as connection:
                await connection.execute(sa.text("SELECT 1"))
        except (sa.exc.SQLAlchemyError, OSError) as error:
            log.warning("health.store", reason=scrub(str(error)))
            return False
        return True

    async def _state(self, _since: int) -> dict[str, Any]:
        """The containers as they are stored, each with the trace of its decision, and every component."""
        fleet = self._kernel.fleet
        containers = [{**msgspec.to_builtins(one), "explain": fleet.trace(one.id)} for one in fleet.all()]
        components = {kind: list(listed()) for kind, listed in self._needs.components.items()}
        return {"containers": containers, **components, "agents": []}

    async def _sensors(self, _since: int) -> dict[str, Any]:
        return {"sensors": []}

    async def _store(self, _since: int) -> dict[str, Any]:
        return {"stats": await figures(self._kernel.store.database)}

    async def _environment(self, _since: int) -> dict[str, Any]:
        return {"ddEnvVars": self._settings.source.values("DD_")}

    async def _process(self, _since: int) -> dict[str, Any]:
        return {"tasks": self._kernel.supervisor.names(), "updates": self._needs.update_locks()}
