"""A process that updates, within this process: worker and journal over a real Engine; and pairs of images."""

from __future__ import annotations

from typing import Any

from drydock.clock import SystemClock
from drydock.core.operation import Operation
from drydock.hosts.host import Hosts
from drydock.hosts.local import LocalHost
from drydock.hosts.settings import WatcherSettings
from drydock.updates.execution.journal import Journal, Rows
from drydock.updates.execution.worker import Worker

from . import updater
from .engine_under_test import EngineUnderTest
from .images import SERVE


class InProcessUpdater:
    """Updates containers of one Engine; `rows` keep its journal."""

    def __init__(self, engine: Any, rows: Rows) -> None:
        self.rows, self.around = rows, updater.Around()
        self.journal = Journal(rows, SystemClock(), lambda _: None)
        hosts = Hosts([LocalHost(WatcherSettings(name="local"), engine, SystemClock())])
        surroundings = self.around.surroundings
        self.worker = Worker(self.journal, SystemClock(), hosts, surroundings, lambda _: updater.OPTIONS)

    async def update(self, container: str, name: str, reference: str, **more: Any) -> Operation:
        """Update one container to `reference`; the terminal row."""
        row = updater.operation(container, name, reference, **more)
        await self.journal.insert(row)
        return (await self.worker.run(row)).row


def pair(under_test: EngineUnderTest, name: str, old: Any = None, new: Any = None) -> tuple[str, str]:
    """Two tags of one repository: the first on the host, the second in the registry."""
    base = {"Cmd": SERVE, "Env": ["PATH=/bin", "VERSION=1"]}
    first = under_test.provide(name, "1.0.0", config={**base, **(old or {})})
    second = under_test.publish(
        name, "2.0.0", config={**base, "Env": ["PATH=/bin", "VERSION=2"], **(new or {})}, created="2026-02-02T00:00:00Z"
    )
    return first, second
