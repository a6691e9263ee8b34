"""What every room is built on, over a store of its own and an empty fleet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from drydock.app.settings import SCHEMA
from drydock.audit.trail import AuditTrail
from drydock.clock import Clock
from drydock.config.load import Settings, load
from drydock.events import Bus
from drydock.fleet.fleet import Fleet
from drydock.kernel import Kernel
from drydock.store.settings import StoreSettings
from drydock.store.store import open_store
from drydock.supervisor import Supervisor

from .clock import ManualClock


@asynccontextmanager
async def open_kernel(folder: Path, clock: Clock | None = None) -> AsyncIterator[Kernel]:
    """A kernel whose background tasks and store end with the block."""
    clock = clock or ManualClock()
    store = await open_store(StoreSettings(path=str(folder / "store")))
    async with Supervisor(clock) as supervisor:
        bus = Bus()
        fleet = Fleet(store.containers, store.retention, bus, clock)
        await fleet.load()
        yield Kernel(clock, bus, supervisor, store, fleet, AuditTrail.build(store.audit, bus, clock, supervisor))
    await store.close()


def settings(**variables: str) -> Settings:
    """The settings that these variables give."""
    loaded = load(variables, SCHEMA)
    assert loaded.settings is not None, [str(problem) for problem in loaded.problems]
    return loaded.settings
