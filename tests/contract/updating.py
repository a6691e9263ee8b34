"""An application that carries out updates on the Engine in memory, behind a real HTTP server, restartable on its store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import msgspec

from contract.http_app import Registries, Watchers
from drydock.api.application import build as build_http
from drydock.api.services import Services
from drydock.api.settings import PublicSettings
from drydock.audit.trail import AuditTrail
from drydock.config.components import Component, Member
from drydock.core.model import Container, HostKey, Result
from drydock.events import Bus, Event, OperationChanged
from drydock.fleet.fleet import Fleet
from drydock.hosts.host import Hosts
from drydock.hosts.local import LocalHost
from drydock.hosts.settings import WatcherSettings
from drydock.kernel import Kernel
from drydock.live.room import Live
from drydock.live.settings import StreamSettings
from drydock.metrics.counters import Counters
from drydock.store.settings import StoreSettings
from drydock.store.store import Store, open_store
from drydock.supervisor import Supervisor
from drydock.updates.actions import ACTIONS, Action
from drydock.updates.room import Needs, Updates
from drydock.updates.self_update.identity import OwnContainer, Signs
from drydock.updates.settings import UpdatesSettings
from drydock.watch.debounce import Debounce
from drydock.watch.discovery import Discovery
from drydock.watch.ledger import FleetLedger
from drydock.watch.record import Context
from drydock.watch.watcher import Watcher
from fakes.engine import FakeEngine
from kit.api_site import services
from kit.clock import SkippingClock
from kit.configured import configured
from kit.http_server import http_server
from kit.wait import until

LOCAL = Action(type="docker", name="local")
OLD: dict[str, Any] = {"Env": ["PATH=/bin", "VERSION=1"], "Volumes": {"/data": {}}}
NEW: dict[str, Any] = {"Env": ["PATH=/bin", "VERSION=2"], "Volumes": {"/data": {}}}
CHECK: dict[str, Any] = {"Healthcheck": {"Test": ["CMD", "true"]}}
WATCHER = WatcherSettings(name="local", watch_all=True, discovery_settle_ms=0)
FINALIZE_URL = "http://127.0.0.1:3000/api/v1/internal/self-update/finalize"


@dataclass
class Gate:
    """The security gate as a test sets it."""

    allowed: bool = True
    reason: str = "not configured"
    verifies: bool = False
    scans: bool = False

    async def verify(self, container: Any, reference: str, digest: str | None) -> Gate:
        return Gate()

    async def check(self, container: Any, reference: str, digest: str | None, **_: Any) -> Gate:
        return self


class OneWatcher:
    """What updates want of the watchers, over the one of a test. It checks nothing."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    async def look_again(self, host: HostKey) -> None:
        await self._watcher.look_again(check=False)

    async def replaced(self, old: Container, new_id: str, *_: Any) -> None:
        await self._watcher.replaced(old, new_id)

    async def watch_some(self, ids: Sequence[str]) -> None:
        """Not checked."""

    def window_open(self, container: Container) -> bool | None:
        return None


@dataclass
class Host:
    """One process: Engine and folder survive it."""

    engine: FakeEngine
    clock: SkippingClock
    store: Store
    fleet: Fleet
    updates: Updates
    watcher: Watcher
    events: list[Event]
    api: httpx.AsyncClient
    gate: Gate
    metrics: Counters
    services: Services
    supervisor: Supervisor
    facts: dict[str, Any] = field(default_factory=dict)

    async def container(
        self, name: str = "web", *, image: str = "app:1", to: str | None = "2", start: bool = True, **more: Any
    ) -> str:
        """A container on the host that the fleet knows, with an update waiting unless `to` is None."""
        id = self.engine.add_container(name, {"Image": image, **more}, start=start)
        await self.watcher.look_again(check=False)
        await self.offer(id, to)
        return id

    async def offer(self, container_id: str, tag: str | None) -> None:
        """What the last check found."""
        result = Result(tag=tag) if tag else Result(tag=self.fleet.need(container_id).image.tag.value)
        await self.fleet.change(container_id, lambda one: msgspec.structs.replace(one, result=result))

    def images(self, behaviour: str = "runs", *, check: bool = True) -> None:
        """`app:1` on the host, `app:2` in the registry."""
        more = CHECK if check else {}
        self.engine.add_image("app:1", {**OLD, **more})
        self.engine.add_image("app:2", {**NEW, **more}, behaviour=behaviour, local=False)

    async def update(self, container_id: str) -> dict[str, Any]:
        """Ask for the update and wait for its end."""
        answer = await self.api.post(f"/containers/{container_id}/update")
        assert answer.status_code == 202, answer.text
        return await self.ended(answer.json()["operationId"])

    async def ended(self, operation_id: str) -> dict[str, Any]:
        """The operation once it is terminal and everything that follows is done."""
        await until(lambda: not self.updates.queue.owns(operation_id))
        answer = await self.api.get(f"/update-operations/{operation_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        assert found["status"] not in ("queued", "in-progress"), found
        return found

    async def monitored(self, operation_id: str, interval_s: float) -> None:
        """Let time pass, an interval at a time, until the monitor of an update has its verdict."""

        def looks() -> bool:
            return f"monitor:{operation_id}" in self.supervisor.names()

        slept = 0
        while looks():
            await until(lambda seen=slept: self.clock.slept.count(interval_s) > seen or not looks(), "the monitor")
            slept = self.clock.slept.count(interval_s)
            self.clock.advance(interval_s)

    def phases(self, operation_id: str) -> list[str]:
        """Phases of an operation as they were told, repeats left out."""
        told = [
            event.operation["phase"]
            for event in self.events
            if isinstance(event, OperationChanged) and event.operation["id"] == operation_id
        ]
        return [phase for n, phase in enumerate(told) if n == 0 or told[n - 1] != phase]

    def now(self, name: str = "web") -> dict[str, Any]:
        """The container of that name on the host."""
        found = self.engine.by_name(name)
        assert found is not None, self.engine.names()
        return found

    def id_of(self, name: str = "web") -> str:
        """Its id."""
        return str(self.now(name)["Id"])


@asynccontextmanager
async def serve(
    folder: Path,
    engine: FakeEngine | None = None,
    *,
    actions: tuple[Action, ...] = (LOCAL,),
    mode: str = "manual",
    own: Signs = Signs(),  # noqa: B008  # frozen
    actions_enabled: bool = True,
    watched: WatcherSettings = WATCHER,
    **settings: Any,
) -> AsyncIterator[Host]:
    """A process on `folder`; leaving the context ends it, the Engine can be given to the next.

    `own` is what it sees of the container it runs in, `settings` are those of `DD_UPDATE_*`.
    """
    clock = engine.clock if engine is not None else SkippingClock(longest_s=50)
    assert isinstance(clock, SkippingClock)
    engine = engine or FakeEngine(clock)
    async with AsyncExitStack() as stack:
        store = await open_store(StoreSettings(path=str(folder / "store")))
        stack.push_async_callback(store.close)
        supervisor = await stack.enter_async_context(Supervisor(clock))
        bus, events, gate, metrics = Bus(), list[Event](), Gate(), Counters()
        _note(bus, events, metrics)
        fleet = Fleet(store.containers, store.retention, bus, clock)
        host = LocalHost(watched, engine, clock)
        hosts = Hosts([host])
        context = Context(host.key, (), host.settings, lambda *_: "hub.public")
        ledger = FleetLedger(fleet, bus, clock)
        watcher = Watcher(host, Discovery(host, context, clock), None, ledger, Debounce(clock))  # type: ignore[arg-type]  # checks nothing
        kernel = Kernel(clock, bus, supervisor, store, fleet, AuditTrail(store.audit, bus, clock, supervisor))
        live = Live(kernel, StreamSettings())
        needs = update_needs(
            hosts,
            OneWatcher(watcher),
            mode=mode,
            gate=gate,
            announce=partial(live.acknowledgements.announce, requires_ack=True),
            actions_enabled=actions_enabled,
        )
        behaviour = UpdatesSettings(**settings)
        components = [Component(member(action), action.name, action) for action in actions]
        updates = Updates(
            kernel,
            configured(behaviour, components=components),
            needs,
            OwnContainer(own, hosts, finalize_url=FINALIZE_URL, grace_s=2.0),
        )
        fleet.derive_with(updates.admission.facts)
        await fleet.load()
        await updates.start()
        made = services(
            clock=clock,
            settings=configured(PublicSettings(version_shown="9.9.9")),
            fleet=fleet,
            watching=Watchers(fleet),
            registries=Registries(),
            audit=kernel.audit,
            updates=updates,
            live=live,
        )
        url = await stack.enter_async_context(http_server(build_http(made), live.streams))
        async with httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=30) as api:
            yield Host(engine, clock, store, fleet, updates, watcher, events, api, gate, metrics, made, supervisor)


def update_needs(hosts: Hosts, watching: Any, *, mode: str = "manual", **changes: Any) -> Needs:
    """What the room of updates wants of others, where no registry, no gate and no helper takes part."""
    plain: dict[str, Any] = {
        "logins": _nothing,
        "digest_of": _nothing,
        "announce": _nothing,
        "gate": Gate(),
        "gate_enabled": False,
        "block_severities": None,
        "actions_enabled": True,
        "environ": {},
        "finalize_url": FINALIZE_URL,
    }
    return Needs(hosts=hosts, watching=watching, mode=partial(_nothing, answer=mode), **{**plain, **changes})


def member(action: Action) -> Member:
    """The type of an action."""
    return next(one for one in ACTIONS if one.type == action.type)


def _note(bus: Bus, events: list[Event], metrics: Counters) -> None:
    publish = bus.publish

    def note(event: Event) -> None:
        events.append(event)
        metrics.count(event)
        publish(event)

    bus.publish = note  # type: ignore[method-assign]  # notes every event in order


async def _nothing(*_: Any, answer: Any = None) -> Any:
    return answer
