"""A watcher of the product over a real Engine and a real registry behind a counting proxy.

Only containers that `run` made are watched (`dd.watch=true`, default off), so tests share one Engine. Registry
questions are diverted to the proxy by `dd.registry.lookup.image`; Engine calls and registry requests are counted.
"""

from __future__ import annotations

import asyncio
import pathlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from drydock.app.settings import SCHEMA
from drydock.config.load import load
from drydock.core.model import Container
from drydock.docker.api import Engine
from drydock.docker.connect import connect, resolve
from drydock.docker.events import EventListener
from drydock.docker.settings import EngineSettings
from drydock.events import Bus, Event
from drydock.fleet.fleet import Fleet
from drydock.hosts.local import LocalHost
from drydock.hosts.settings import WatcherSettings
from drydock.http.client import HttpClient
from drydock.registries.room import Registries
from drydock.registries.settings import RegistriesSettings
from drydock.store.settings import StoreSettings
from drydock.store.store import open_store
from drydock.watch.checker import Checker
from drydock.watch.debounce import Debounce
from drydock.watch.discovery import Discovery, context_of
from drydock.watch.ledger import FleetLedger
from drydock.watch.schedule import timetable
from drydock.watch.service import ScheduledWatcher, WatchService
from drydock.watch.watcher import Watcher
from kit.clock import ImpatientClock, ManualClock
from kit.registries import register

from .engine import EngineApi
from .images import SERVE, Pusher
from .proxy import Proxy

T = TypeVar("T")


class CountingEngine:
    """Any Engine, with a count of the calls by name."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._engine, name)

        def counted(*args: Any, **options: Any) -> Any:
            self.calls[name] += 1
            return method(*args, **options)

        return counted


@dataclass
class WatchHarness:
    """A watcher with its surroundings. `variables` of `build` are those of the product (`DD_WATCHER_LOCAL_…`)."""

    kind: str
    api: EngineApi
    images: Pusher
    proxy: Proxy
    clock: ImpatientClock | ManualClock
    engine: CountingEngine
    fleet: Fleet
    one: ScheduledWatcher
    service: WatchService
    events: list[Event]
    made: list[str] = field(default_factory=list)

    @property
    def watcher(self) -> Watcher:
        return self.one.watcher

    async def run(self, name: str, image: str, start: bool = True, **document: Any) -> str:
        """Run a container of `repository:tag`, pushed to the registry before; its id."""
        return await asyncio.to_thread(self._run, name, image, start, document)

    def _run(self, name: str, image: str, start: bool, document: dict[str, Any]) -> str:
        reference = f"{self.images.host}/{image}"
        self.api.pull(reference)
        lookup = f"{self.proxy.host}/{image.rsplit(':', 1)[0]}"
        labels = {"dd.watch": "true", "dd.registry.lookup.image": lookup, **document.pop("Labels", {})}
        body = {"Image": reference, "Cmd": SERVE, "Labels": labels, **document}
        made = str(self.api.call("POST", f"/containers/create?name={name}", body)["Id"])
        self.made.append(made)
        if start:
            self.api.call("POST", f"/containers/{made}/start")
        return made

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """One Engine call of the test's own."""
        return await asyncio.to_thread(self.api.call, method, path, body)

    async def remove(self, id: str) -> None:
        """Remove a container of the test's own."""
        await self.call("DELETE", f"/containers/{id}?force=1&v=1")
        self.made.remove(id)

    def get(self, name: str) -> Container:
        """The record of this name."""
        return next(container for container in self.fleet.all() if container.name == name)

    def names(self) -> list[str]:
        return [container.name for container in self.fleet.all()]

    def forget_counts(self) -> None:
        """Count from here on."""
        self.engine.calls.clear()
        self.proxy.seen.clear()

    def published(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[EventListener]:
        """Follow Docker's events, as the product does."""
        listener = EventListener(
            self.engine,
            self.one.events.handle,
            self.clock,
            on_reconnect=self.one.rescan.signal,
            on_state=self.watcher.host.note,
        )
        tasks = [asyncio.ensure_future(job()) for job in (listener.run, self.one.run_rescans)]
        try:
            await asyncio.wait_for(listener.listening.wait(), 20)
            yield listener
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def watcher_settings(socket: str, **variables: str) -> WatcherSettings:
    """Settings as the product reads them from `DD_WATCHER_LOCAL_<KEY>`."""
    given = {"SOCKET": socket, "WATCHBYDEFAULT": "false", "DISCOVERY_SETTLE_MS": "0", **variables}
    loaded = load({f"DD_WATCHER_LOCAL_{key}": value for key, value in given.items()}, SCHEMA)
    assert loaded.settings is not None, loaded.problems
    (watcher,) = loaded.settings.all(WatcherSettings)
    return watcher


@asynccontextmanager
async def watch_harness(
    engine: Any,
    images: Pusher,
    proxy: Proxy,
    folder: pathlib.Path,
    clock: ImpatientClock | ManualClock | None = None,
    **variables: str,
) -> AsyncIterator[WatchHarness]:
    """A watcher over `engine` (a lab engine) whose store is in `folder`: open it again to restart the product."""
    clock = clock or ImpatientClock()
    settings = watcher_settings(engine.host.removeprefix("unix://"), **variables)
    async with AsyncExitStack() as stack:
        store = await open_store(StoreSettings(path=str(folder)))
        stack.push_async_callback(store.close)
        instances, problems = register({"DD_REGISTRY_CUSTOM_LAB_URL": proxy.url})
        http = await stack.enter_async_context(HttpClient())
        cache = folder / "registry-cache.db"
        service = Registries(instances, RegistriesSettings(), http, clock, problems=problems, cache_path=cache)
        registries = await stack.enter_async_context(service)
        client = connect(resolve(EngineSettings(socket=settings.socket)))
        stack.push_async_callback(client.close)
        counting = CountingEngine(client)
        events: list[Event] = []
        bus = _Noting(events)
        fleet = Fleet(store.containers, store.retention, bus, clock)
        await fleet.load()
        host = LocalHost(settings, counting, clock)
        discovery = Discovery(host, context_of(host, registries), clock)
        ledger = FleetLedger(fleet, bus, clock)
        checker = Checker(registries, ledger, clock)
        watcher = Watcher(host, discovery, checker, ledger, Debounce(clock))
        stack.push_async_callback(watcher.close)
        memory = _Memory(folder / "memory")
        one = ScheduledWatcher(watcher, timetable(settings, ZoneInfo("UTC")), memory, Random(1))
        made = WatchHarness(
            engine.kind,
            engine.api,
            images,
            proxy,
            clock,
            counting,
            fleet,
            one,
            WatchService([one], fleet),
            events,
        )
        try:
            yield made
        finally:
            for id in made.made:
                await asyncio.to_thread(made.api.raw, "DELETE", f"/containers/{id}?force=1&v=1")


class _Noting(Bus):
    """A bus that notes every event."""

    def __init__(self, events: list[Event]) -> None:
        super().__init__()
        self._events = events

    def publish(self, event: Event) -> None:
        self._events.append(event)
        super().publish(event)


class _Memory:
    """Small values in files."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder

    async def get(self, key: str) -> str | None:
        file = self._folder / key
        return file.read_text() if file.exists() else None

    async def set(self, key: str, value: str) -> None:
        self._folder.mkdir(exist_ok=True)
        (self._folder / key).write_text(value)
