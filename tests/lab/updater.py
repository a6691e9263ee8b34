"""A process that carries out one update and may be told to die by SIGKILL around its nth change of the Engine.

`python -m lab.updater STORE DOCKER_HOST CONTAINER REFERENCE [before:N|after:N]`; without a container it recovers what
the store says is unfinished.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import uuid
from typing import Any

from drydock.clock import SystemClock
from drydock.core.operation import FileEdit, ImageWanted, Operation
from drydock.docker.api import Engine
from drydock.docker.connect import connect, from_docker_host, resolve
from drydock.hosts.host import Hosts
from drydock.hosts.local import LocalHost
from drydock.hosts.settings import WatcherSettings
from drydock.store.settings import StoreSettings
from drydock.store.store import open_store
from drydock.updates.actions import Action
from drydock.updates.execution.executor import Surroundings
from drydock.updates.execution.journal import Journal
from drydock.updates.execution.worker import Worker
from drydock.updates.plan.options import PlanOptions
from drydock.updates.settings import UpdatesSettings

OPTIONS = PlanOptions(
    settings=UpdatesSettings(liveness_grace_s=0.3), action=Action(auto_remove_timeout=5), gate_poll_s=0.2
)
CHANGES = frozenset(
    {
        "create_container",
        "start_container",
        "stop_container",
        "rename_container",
        "remove_container",
        "update_container",
        "connect_network",
        "tag_image",
    }
)


class Around:
    """Surroundings without hooks, gate and backups records."""

    def __init__(self) -> None:
        self.notices: list[tuple[str, str]] = []

    @property
    def surroundings(self) -> Surroundings:
        """These, for an executor."""
        return Surroundings(save_backup=self.save_backup, write_file=self.write_file, notice=self.notice)

    async def save_backup(self, operation: Operation, container: dict[str, Any], image: dict[str, Any]) -> str | None:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, operation.id))

    async def write_file(self, edit: FileEdit) -> None:
        return None

    def notice(self, operation: Operation, action: str, text: str) -> None:
        self.notices.append((action, text))


class Mortal:
    """An Engine whose user dies around one of its changes."""

    def __init__(self, engine: Engine, when: str) -> None:
        self._engine = engine
        self._moment, _, number = when.partition(":")
        self._left = int(number or 0)

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._engine, name)
        if name not in CHANGES:
            return call

        async def mortal(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left == 0 and self._moment == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = await call(*args, **kwargs)
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return mortal


def operation(container: str, name: str, reference: str, **more: Any) -> Operation:
    """A queued operation."""
    now = SystemClock().now_ms()
    wanted = more.pop("wanted", ImageWanted(reference=reference))
    return Operation(
        id=str(uuid.uuid4()),
        container_id=container,
        container_name=name,
        status="queued",
        phase="queued",
        created_at=now,
        updated_at=now,
        watcher="local",
        trigger_name="docker.local",
        wanted=wanted,
        **more,
    )


async def main(store_path: str, host: str, container: str = "", reference: str = "", when: str = "") -> None:
    """Update, or recover."""
    store = await open_store(StoreSettings(path=store_path))
    engine = connect(resolve(from_docker_host({"DOCKER_HOST": host})))
    served: Any = Mortal(engine, when)
    clock = SystemClock()
    journal = Journal(store.operations, clock, lambda _: None)
    hosts = Hosts([LocalHost(WatcherSettings(name="local"), served, clock)])
    worker = Worker(journal, clock, hosts, Around().surroundings, lambda _: OPTIONS)
    if container:
        document = await engine.inspect_container(container)
        row = operation(document["Id"], document["Name"].lstrip("/"), reference)
        await journal.insert(row)
        await worker.run(row)
    else:
        rows = await journal.load()
        for row in rows:
            if row.status == "in-progress":
                await worker.recover(row)
        for row in journal.active():
            await worker.run(row)
        for row in rows:
            if not row.active:
                await worker.recover(row)
    await engine.close()
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
