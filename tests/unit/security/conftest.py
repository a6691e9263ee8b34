"""Fixtures: fake programs, a clock that a test moves, a security room."""

from __future__ import annotations

import pathlib
from collections.abc import AsyncIterator, Callable

import pytest

from drydock.events import Bus, Event
from drydock.fleet.fleet import Fleet
from drydock.store.settings import StoreSettings
from drydock.store.store import open_store
from drydock.supervisor import Supervisor
from fakes.audit import RecordedAudit
from kit.clock import SkippingClock
from kit.security import FakeProgram, Room, prints, report


@pytest.fixture
def fake(tmp_path: pathlib.Path) -> Callable[..., FakeProgram]:
    """`fake(name, body)` makes an executable of that Python body."""

    def make(name: str, body: str = "") -> FakeProgram:
        return FakeProgram(tmp_path, name, body)

    return make


@pytest.fixture
def clock() -> SkippingClock:
    return SkippingClock()


@pytest.fixture
async def room(tmp_path: pathlib.Path, fake: Callable[..., FakeProgram]) -> AsyncIterator[Room]:
    clock, bus = SkippingClock(), Bus()
    store = await open_store(StoreSettings(path=str(tmp_path / "store")))
    fleet = Fleet(store.containers, store.retention, bus, clock)
    async with Supervisor(clock) as supervisor:
        program = fake("trivy", prints(report("CRITICAL", "LOW")))
        made = Room(program, fleet, store, bus, clock, supervisor, RecordedAudit(clock), tmp_path)
        publish = bus.publish

        def note(event: Event) -> None:
            made.events.append(event)
            publish(event)

        bus.publish = note
        made.build()
        yield made
    await store.close()
