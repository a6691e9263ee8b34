"""One application with everything that a contract test moves: clock, store, fleet, watchers, callers."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from drydock.api.application import build
from drydock.api.services import Services
from drydock.api.settings import PublicSettings, ServerSettings
from drydock.audit.trail import AuditTrail
from drydock.auth.caller import ANONYMOUS, Caller, Connection
from drydock.core.component import Component
from drydock.core.errors import DrydockError, NotFound
from drydock.core.model import Container
from drydock.core.policy.eligibility import EligibilityContext
from drydock.events import Bus, Event
from drydock.fleet.fleet import Fleet
from drydock.store.settings import StoreSettings
from drydock.store.store import Store, open_store
from drydock.supervisor import Supervisor
from kit.api_site import services
from kit.clock import ManualClock
from kit.configured import configured
from kit.http_server import http_server


@dataclass
class Watchers:
    """Stands for the watch room: notes what it was asked, and applies the results that a test prepared."""

    fleet: Fleet
    asked: list[object] = field(default_factory=list)
    results: dict[str, Container] = field(default_factory=dict)
    broken: bool = False

    async def watch_all(self) -> None:
        self.asked.append("all")
        if self.broken:
            raise DrydockError("No watcher could run")
        await self._apply(list(self.results))

    async def watch_watcher(self, name: str) -> None:
        self.asked.append(("watcher", name))

    async def watch_some(self, ids: Sequence[str]) -> None:
        self.asked.append(tuple(ids))
        await self._apply(ids)

    async def watch_one(self, id: str) -> Container:
        self.asked.append(id)
        if self.fleet.get(id) is None:
            raise NotFound("Container not found")
        await self._apply([id])
        return self.fleet.need(id)

    async def _apply(self, ids: Sequence[str]) -> None:
        await self.fleet.put_many([(self.results.pop(id), None) for id in ids if id in self.results])

    def components(self) -> Sequence[Component]:
        return [
            Component(
                id="docker.local",
                type="docker",
                name="local",
                configuration={"cron": "0 */6 * * *"},
                metadata={"lastRunAt": None, "nextRunAt": None},
            ),
            Component(id="edge.docker.prod", type="docker", name="prod", agent="edge", configuration={}),
        ]

    def next_check_at(self, container: Container) -> str | None:
        return "2030-01-01T00:00:00.000Z"


class Registries:
    """Two registries."""

    def instances(self) -> list[dict[str, Any]]:
        return [
            {"id": f"{type}.public", "type": type, "name": "public", "configuration": {"token": "[REDACTED]"}}
            for type in ("hub", "ghcr")
        ]


@dataclass
class Door:
    """Access that a test opens and closes: `caller_now` is whoever comes, None is nobody."""

    caller_now: Caller | None = ANONYMOUS
    ready: bool = True

    async def caller(self, connection: Connection) -> Caller | None:
        return self.caller_now


@dataclass
class HttpApp:
    """What a test has in hand."""

    clock: ManualClock
    store: Store
    fleet: Fleet
    bus: Bus
    watchers: Watchers
    services: Services
    door: Door
    events: list[Event]
    context: dict[str, Any]
    url: str = ""
    api: httpx.AsyncClient = field(default_factory=httpx.AsyncClient)

    async def seed(self, *containers: Container) -> None:
        """Put containers into the fleet."""
        await self.fleet.put_many([(container, None) for container in containers])

    def mature_after(self, days: int) -> None:
        """Set `DD_UI_MATURITY_THRESHOLD_DAYS`."""
        self.fleet.settings = dataclasses.replace(self.fleet.settings, maturity_threshold_days=days)

    async def ids(self, path: str = "/containers") -> list[str]:
        """The ids of a list answer."""
        answer = await self.api.get(path)
        assert answer.status_code == 200, answer.text
        return [row["id"] for row in answer.json()["data"]]

    async def names(self, path: str = "/containers") -> list[str]:
        """The names of a list answer."""
        answer = await self.api.get(path)
        assert answer.status_code == 200, answer.text
        return [row["name"] for row in answer.json()["data"]]


async def build_app(folder: Path, **settings: Any) -> HttpApp:
    """Everything but the server."""
    clock, bus = ManualClock(), Bus()
    store = await open_store(StoreSettings(path=str(folder / "store")))
    fleet = Fleet(store.containers, store.retention, bus, clock)
    context: dict[str, Any] = {"eligibility": EligibilityContext()}
    fleet.derive_with(lambda _: (context["eligibility"], None))
    await fleet.load()
    watchers = Watchers(fleet)
    door = Door()
    made = services(
        clock=clock,
        settings=configured(PublicSettings(version_shown="9.9.9"), ServerSettings(**settings)),
        access=door,
        fleet=fleet,
        watching=watchers,
        registries=Registries(),
        audit=AuditTrail(store.audit, bus, clock, Supervisor(clock)),
    )
    events: list[Event] = []
    publish = bus.publish

    def note(event: Event) -> None:
        events.append(event)
        publish(event)

    bus.publish = note  # type: ignore[method-assign]  # notes every event in order
    return HttpApp(clock, store, fleet, bus, watchers, made, door, events, context)


@asynccontextmanager
async def serve_app(folder: Path, **settings: Any) -> AsyncIterator[HttpApp]:
    """An application behind a real HTTP server on a free port of loopback."""
    made = await build_app(folder, **settings)
    async with http_server(build(made.services), made.services.live.streams) as made.url:
        made.api = httpx.AsyncClient(base_url=f"{made.url}/api/v1")
        try:
            yield made
        finally:
            await made.api.aclose()
    await made.store.close()
