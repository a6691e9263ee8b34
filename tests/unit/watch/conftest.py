"""A watcher over a host in memory: its Engine counts calls, its images are local ones, so that no registry is asked."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from drydock.core.errors import EngineNotFound, EngineUnreachable
from drydock.core.model import Container
from drydock.events import Bus, Event
from drydock.fleet.fleet import Fleet
from drydock.hosts.local import LocalHost
from drydock.hosts.settings import WatcherSettings
from drydock.http.client import HttpClient
from drydock.registries.room import Registries
from drydock.registries.settings import RegistriesSettings
from drydock.watch.checker import Checker
from drydock.watch.debounce import Debounce
from drydock.watch.discovery import Discovery
from drydock.watch.ledger import FleetLedger
from drydock.watch.record import Context
from drydock.watch.schedule import timetable
from drydock.watch.service import ScheduledWatcher, WatchService
from drydock.watch.watcher import Watcher
from kit.clock import ManualClock
from kit.registries import register
from kit.wait import settle

Document = dict[str, Any]


class Host:
    """The part of an Engine that watching uses. `down` makes every call fail as a dead daemon does."""

    def __init__(self) -> None:
        self.containers: dict[str, Document] = {}
        self.images: dict[str, Document] = {}
        self.services: dict[str, Document] = {}
        self.calls: Counter[str] = Counter()
        self.down = False
        self.broken: set[str] = set()

    def add(self, id: str, name: str, image: str = "app:1.0.0", **more: Any) -> Document:
        """A running container of a local image (`digests=[…]` makes it a pulled one)."""
        image_id = "sha256:" + image.encode().hex().ljust(64, "0")[:64]
        made = {"Os": "linux", "Architecture": "amd64", "Created": "2026-01-01T00:00:00Z"}
        self.images.setdefault(
            image_id, {"Id": image_id, "RepoTags": [image], "RepoDigests": more.pop("digests", []), **made}
        )
        entry = {
            "Id": id,
            "Names": [f"/{name}"],
            "Image": image,
            "ImageID": image_id,
            "State": "running",
            "Labels": {},
            "Created": 0,
            **more,
        }
        self.containers[id] = entry
        return entry

    async def version(self) -> Document:
        self._call("version")
        return {"ApiVersion": "1.45"}

    async def info(self) -> Document:
        return {"Name": "host-of-tests"}

    async def list_containers(self, *, all: bool = False, filters: Any = None) -> list[Document]:
        self._call("list")
        return [dict(e) for e in self.containers.values() if all or e["State"] in ("running", "paused", "restarting")]

    async def inspect_container(self, ref: str) -> Document:
        self._call("inspect", ref)
        if ref not in self.containers:
            raise EngineNotFound(f"No such container: {ref}", engine_status=404)
        e = self.containers[ref]
        config = {"Image": e["Image"], "Labels": e["Labels"], "Env": e.get("Env", [])}
        state = {"Status": e["State"], "StartedAt": "2026-01-01T00:00:00Z", **e.get("StateMore", {})}
        return {"Id": ref, "Name": e["Names"][0], "Image": e["ImageID"], "Config": config, "State": state}

    async def inspect_image(self, ref: str) -> Document:
        self._call("image", ref)
        if ref not in self.images:
            raise EngineNotFound(f"No such image: {ref}", engine_status=404)
        return self.images[ref]

    async def inspect_service(self, ref: str) -> Document:
        self._call("service", ref)
        if ref not in self.services:
            raise EngineNotFound(f"No such service: {ref}", engine_status=404)
        return self.services[ref]

    def _call(self, what: str, ref: str = "") -> None:
        self.calls[what] += 1
        if self.down or ref in self.broken:
            raise EngineUnreachable("the daemon is down")


class MemoryRecords:
    """Containers as a store keeps them."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}

    async def all(self) -> list[Any]:
        return list(self.rows.values())

    async def put(self, records: Sequence[Any]) -> None:
        for container, trace in records:
            kept = self.rows.get(container.id, (None, None))[1]
            self.rows[container.id] = (container, trace or kept)

    async def remove(self, ids: Iterable[str]) -> None:
        for id in ids:
            self.rows.pop(id, None)


class MemoryRetention:
    """What is carried over a recreation."""

    def __init__(self) -> None:
        self.rows: dict[tuple[Any, str], tuple[str, str, str, int]] = {}

    async def put(self, kind: Any, key: str, document: str, expires_at: int) -> None:
        self.rows[kind, key] = (kind, key, document, expires_at)

    async def remove(self, kind: Any, key: str) -> None:
        self.rows.pop((kind, key), None)

    async def load(self, now_ms: int) -> list[tuple[str, str, str, int]]:
        return [row for row in self.rows.values() if row[3] > now_ms]


class MemoryDocuments(dict[str, str]):
    """Small values."""

    async def get(self, key: str) -> str | None:  # type: ignore[override]  # the room's protocol, not the dictionary's
        return super().get(key)

    async def set(self, key: str, value: str) -> None:
        self[key] = value


@dataclasses.dataclass
class Place:
    """A watcher with everything around it."""

    host: Host
    clock: ManualClock
    fleet: Fleet
    bus: Bus
    events: list[Event]
    one: ScheduledWatcher
    service: WatchService
    memory: MemoryDocuments
    stored: tuple[MemoryRecords, MemoryRetention]
    tasks: list[asyncio.Task[None]] = dataclasses.field(default_factory=list)

    @property
    def watcher(self) -> Watcher:
        return self.one.watcher

    def names(self) -> list[str]:
        return [container.name for container in self.fleet.all()]

    def get(self, name: str) -> Container:
        return next(container for container in self.fleet.all() if container.name == name)

    async def schedule(self) -> None:
        """Start the schedule and the rescans, as `ScheduledWatcher.start` does."""
        for job in (self.one.run_schedule, self.one.run_rescans):
            self.tasks.append(asyncio.ensure_future(job()))
        await settle()

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.watcher.close()

    def published(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
async def make_place() -> AsyncIterator[Any]:
    """`make_place(**settings of the watcher)`; `at` is the time (epoch ms), `like` another place whose store is kept."""
    places: list[Place] = []
    services: list[Registries] = []

    async def make(*, at: int | None = None, like: Place | None = None, **settings: Any) -> Place:
        clock = ManualClock(at) if at is not None else like.clock if like else ManualClock()
        instances, problems = register({})
        registries = Registries(instances, RegistriesSettings(), HttpClient(), clock, problems=problems)
        services.append(await registries.__aenter__())
        place = await build(clock, registries, like, WatcherSettings(name="local", **settings))
        places.append(place)
        return place

    yield make
    for place in places:
        await place.stop()
    for service in services:
        await service.__aexit__()


async def build(clock: ManualClock, registries: Registries, like: Place | None, settings: WatcherSettings) -> Place:
    bus = Bus()
    events: list[Event] = []
    publish = bus.publish
    bus.publish = lambda event: (events.append(event), publish(event))[1]  # type: ignore[method-assign]  # notes every event
    records, retention = like.stored if like else (MemoryRecords(), MemoryRetention())
    fleet = Fleet(records, retention, bus, clock)
    await fleet.load()
    host = like.host if like else Host()
    watched = LocalHost(settings, host, clock)  # type: ignore[arg-type]  # the part of an Engine that is used
    context = Context(watched.key, (), settings, lambda host, repository, lookup: "custom.lab")
    discovery = Discovery(watched, context, clock)
    ledger = FleetLedger(fleet, bus, clock)
    watcher = Watcher(watched, discovery, Checker(registries, ledger, clock), ledger, Debounce(clock))
    memory = like.memory if like else MemoryDocuments()
    one = ScheduledWatcher(watcher, timetable(settings, ZoneInfo("UTC")), memory, Random(7))
    return Place(host, clock, fleet, bus, events, one, WatchService([one], fleet), memory, (records, retention))
