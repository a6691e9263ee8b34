"""Two hosts whose watchers have the same name, with the same Compose project on each: nothing of them may mix.

One is this process's own, one is behind an agent; both Engines are in memory (agents.md §1).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from contract.updating import LOCAL, member, update_needs
from drydock.config.components import Component
from drydock.config.load import Settings
from drydock.core import dependencies
from drydock.core.audit import AuditFilter
from drydock.core.errors import Conflict, EngineError, HostUnavailable, NotFound
from drydock.core.model import Container, HostKey, Result, audit_key, identity_key
from drydock.hosts.host import Hosts
from drydock.hosts.settings import WatcherSettings
from drydock.http.client import HttpClient
from drydock.kernel import Kernel
from drydock.logs.room import Logs
from drydock.logs.room import Needs as LogsNeeds
from drydock.logs.selection import Selection
from drydock.registries.room import Registries
from drydock.stats.room import Needs as StatsNeeds
from drydock.stats.room import Stats
from drydock.updates.preview import PreviewFailed
from drydock.updates.room import Updates
from drydock.updates.settings import UpdatesSettings
from drydock.updates.target import new_operation
from drydock.watch.room import Needs as WatchNeeds
from drydock.watch.room import Watching
from fakes.engine import FakeEngine
from fakes.hosts import FakeHost, local_host
from fakes.printing import PrintedLog
from fakes.scripted_engine import ScriptedEngine, stats_document
from kit.clock import SkippingClock
from kit.configured import configured
from kit.containers import container, container_id
from kit.kernel import open_kernel, settings

HERE, EDGE = HostKey(None, "local"), HostKey("edge-a", "local")
NAMES = ("db", "web")
SEEN_AT_ONCE = WatcherSettings(name="local", discovery_settle_ms=0)


def compose(service: str, *needs: str) -> dict[str, str]:
    """Labels of a container that Compose made."""
    made = {"com.docker.compose.project": "shop", "com.docker.compose.service": service}
    return {**made, "dd.depends_on": ",".join(needs)} if needs else made


@dataclass
class Two:
    """Both hosts, and the rooms over them."""

    kernel: Kernel
    settings: Settings
    fake: dict[HostKey, Any]
    hosts: Hosts
    watching: Watching

    def of(self, host: HostKey) -> list[Container]:
        return sorted(self.kernel.fleet.by_host(host), key=lambda one: one.name)

    def engine(self, host: HostKey) -> FakeEngine:
        made: FakeEngine = self.fake[host].engine
        return made

    async def look(self, host: HostKey) -> None:
        """An enumeration that asks no registry."""
        one = self.watching.service.get(host)
        assert one is not None
        await one.watcher.look_again(check=False)


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    clock = SkippingClock(longest_s=50)
    here, edge = local_host(FakeEngine(clock), clock, SEEN_AT_ONCE), FakeHost(EDGE, FakeEngine(clock))
    fake: dict[HostKey, Any] = {HERE: here, EDGE: edge}
    for host in fake.values():
        host.engine.add_image("app:1")
        host.engine.add_container("db", {"Image": "app:1", "Labels": compose("db")})
        host.engine.add_container("web", {"Image": "app:1", "Labels": compose("web", "db")})
    async with open_kernel(tmp_path, clock) as kernel:
        known, hosts = settings(), Hosts([here, edge.host])
        async with Registries.build(known, HttpClient(), clock, None) as registries:
            needs = WatchNeeds(hosts, registries, ZoneInfo("UTC"), lambda _: None)
            watching = await Watching.build(kernel, known, needs)
            made = Two(kernel, known, fake, hosts, watching)
            for host in (HERE, EDGE):
                await made.look(host)
            yield made
            await watching.stop()


def test_each_host_shows_its_own_containers(two: Two) -> None:
    for host in (HERE, EDGE):
        assert [one.id for one in two.of(host)] == [two.engine(host).by_name(name)["Id"] for name in NAMES]  # type: ignore[index]  # they are there
        assert {one.host for one in two.of(host)} == {host}
    assert len(two.kernel.fleet) == 4


@pytest.mark.parametrize("key", [identity_key, audit_key])
def test_every_container_has_a_key_of_its_own(two: Two, key: object) -> None:
    assert len({key(one) for one in two.kernel.fleet.all()}) == 4  # type: ignore[operator]  # one of two functions


async def test_pruning_one_host_leaves_the_other_alone(two: Two) -> None:
    before = two.of(HERE)
    for name in NAMES:
        await two.engine(EDGE).remove_container(name, force=True)
    await two.look(EDGE)
    assert two.of(EDGE) == []
    await two.look(HERE)
    assert two.of(HERE) == before


async def test_a_host_that_is_lost_keeps_its_containers(two: Two) -> None:
    before = two.of(EDGE)
    two.fake[EDGE].lost = "Agent edge-a is not connected"
    await two.look(EDGE)
    await two.look(HERE)
    assert (two.of(EDGE), len(two.of(HERE))) == (before, 2)


async def test_a_recreated_container_inherits_nothing_from_its_namesake(two: Two) -> None:
    here, there = two.of(HERE)[1], two.of(EDGE)[1]
    await two.kernel.fleet.remove(here.id, replacement_expected=True)
    two.kernel.fleet.mark_updated(audit_key(here))
    await two.look(EDGE)
    assert two.kernel.fleet.need(there.id).first_seen_at == there.first_seen_at
    assert two.kernel.fleet.by_audit_key(audit_key(there)) == [two.kernel.fleet.need(there.id)]


def test_schedules_are_those_of_the_host(two: Two) -> None:
    service = two.watching.service
    assert [one.watcher.host.key for one in service.all()] == [HERE, EDGE]
    assert [one.watcher.id for one in service.all()] == ["docker.local", "edge-a.docker.local"]
    assert service.get(HostKey("edge-b", "local")) is None


async def test_a_scan_of_one_host_asks_the_other_nothing(two: Two) -> None:
    two.engine(HERE).calls.clear()
    await two.look(EDGE)
    assert two.engine(HERE).calls == []


def test_dependencies_stay_on_their_host(two: Two) -> None:
    graph = dependencies.graph(two.kernel.fleet.all())
    assert {(graph.nodes[e.from_id].host, graph.nodes[e.to_id].host) for e in graph.edges} == {
        (HERE, HERE),
        (EDGE, EDGE),
    }
    assert len(graph.edges) == 2
    assert graph.cross_host == []
    for host in (HERE, EDGE):
        assert {graph.nodes[id].host for id in dependencies.component(graph, two.of(host)[0].id)} == {host}


async def test_audit_entries_tell_their_host(two: Two) -> None:
    here, there = two.of(HERE)[1], two.of(EDGE)[1]
    await two.kernel.audit.note("restart", "success", container=there)
    entries, _ = await two.kernel.store.audit.query(AuditFilter(), 10, 0)
    assert [entry.container_identity_key for entry in entries] == [audit_key(there)]
    assert audit_key(here) != audit_key(there)


# updates


@pytest.fixture
async def updates(two: Two) -> Updates:
    """The room of updates; an update waits for every container."""
    for host in (HERE, EDGE):
        two.engine(host).add_image("app:2", local=False)
        for one in two.of(host):
            await two.kernel.fleet.change(one.id, lambda one: msgspec.structs.replace(one, result=Result(tag="2")))
    docker = Component(member(LOCAL), LOCAL.name, LOCAL)
    known = configured(UpdatesSettings(liveness_grace_s=0), components=[docker])
    return Updates.build(two.kernel, known, update_needs(two.hosts, two.watching.service))


async def test_an_update_changes_its_own_host_only(two: Two, updates: Updates) -> None:
    (_, here), (_, there) = two.of(HERE), two.of(EDGE)
    two.engine(EDGE).calls.clear()
    row = await updates.admission.accept(here)
    assert (row.host, row.key) == (HERE, audit_key(here))
    assert (updates.queue.active(here), updates.queue.active(there)) == (row, None)
    updates.queue.check_idle(there)
    with pytest.raises(Conflict):
        updates.queue.check_idle(here)
    ended = await updates.queue.execute(row)
    assert (ended.status, ended.last_error) == ("succeeded", None)
    assert two.engine(EDGE).calls == []
    assert two.engine(HERE).by_name("web")["Config"]["Image"] == "app:2"  # type: ignore[index]  # it is there
    assert [one.id for one in two.of(EDGE)][1] == there.id
    assert await updates.history(there.id) == []


async def test_an_operation_behind_an_agent_is_not_carried_out_here(two: Two, updates: Updates) -> None:
    """The actions of this process do not serve its containers, and a row of it changes neither Engine."""
    there = two.of(EDGE)[1]
    before = [two.engine(host).names() for host in (HERE, EDGE)]
    with pytest.raises(NotFound, match="No docker trigger"):
        await updates.admission.accept(there)
    ended = await updates.queue.run(new_operation(there, two.kernel.clock.now_ms()))
    assert (ended.status, ended.host) == ("failed", EDGE)
    assert "edge-a" in (ended.last_error or "")
    assert [two.engine(host).names() for host in (HERE, EDGE)] == before


async def test_locks_are_those_of_the_host(two: Two, updates: Updates) -> None:
    """While the namesake is being updated elsewhere, nothing waits for it."""
    here = await updates.admission.accept(two.of(HERE)[1])
    async with updates.queue.locks.hold([EDGE.container("web"), EDGE.container("db")]), asyncio.timeout(20):
        assert (await updates.queue.execute(here)).status == "succeeded"


async def test_a_preview_asks_its_own_host_only(two: Two, updates: Updates) -> None:
    two.engine(EDGE).calls.clear()
    found = await updates.previews.of(two.of(HERE)[1].id)
    assert (found.container_name, found.new_image, found.dependents) == ("web", "app:2", [])
    with pytest.raises(PreviewFailed, match="No docker trigger"):
        await updates.previews.of(two.of(EDGE)[1].id)
    assert two.engine(EDGE).calls == []


def test_groups_stay_on_their_host(two: Two, updates: Updates) -> None:
    for host in (HERE, EDGE):
        members = updates.groups.members(two.of(host)[0].id)
        assert {member.container.id for member in members} == {one.id for one in two.of(host)}


# logs and stats


@dataclass
class Talking:
    """A container of each host that prints and counts."""

    kernel: Kernel
    engines: dict[HostKey, ScriptedEngine]
    fake: dict[HostKey, FakeHost]
    hosts: Hosts
    ids: dict[HostKey, str]


@pytest.fixture
async def talking(tmp_path: Path) -> AsyncIterator[Talking]:
    engines = {key: ScriptedEngine() for key in (HERE, EDGE)}
    ids = {HERE: container_id(1), EDGE: container_id(2)}
    for key, cpu in ((HERE, 0.5), (EDGE, 1.5)):
        log = engines[key].logs_of[ids[key]] = PrintedLog()
        log.print(f"from {key}")
        log.finish()
        engines[key].stats_of[ids[key]] = stats_document(cpu=cpu)
    fake = {key: FakeHost(key, engine) for key, engine in engines.items()}
    async with open_kernel(tmp_path) as kernel:
        for number, key in enumerate((HERE, EDGE), 1):
            await kernel.fleet.put(container(number, "web", agent=key.agent, labels=compose("web")))
        yield Talking(kernel, engines, fake, Hosts(host.host for host in fake.values()), ids)


async def test_logs_come_from_the_host_of_the_container(talking: Talking) -> None:
    logs = Logs.build(talking.kernel, settings(), LogsNeeds(talking.hosts))
    for key, id in talking.ids.items():
        text = await logs.download(talking.kernel.fleet.need(id), Selection(), timestamps=False)
        assert text.decode() == f"from {key}\n"
    talking.fake[EDGE].lost = "Agent edge-a is not connected"
    with pytest.raises(EngineError, match="Agent edge-a is not connected"):
        await logs.download(talking.kernel.fleet.need(talking.ids[EDGE]), Selection())
    assert await logs.download(talking.kernel.fleet.need(talking.ids[HERE]), Selection())


async def test_stats_come_from_the_host_of_the_container(talking: Talking) -> None:
    stats = Stats.build(talking.kernel, settings(), StatsNeeds(talking.hosts))
    await stats.start()
    await stats.fleet.read()
    assert {row.id: row.cpu_percent for row in stats.fleet.tick.rows} == {
        talking.ids[HERE]: 50.0,
        talking.ids[EDGE]: 150.0,
    }
    assert [engine.calls["stats_once"] for engine in talking.engines.values()] == [1, 1]


def test_an_unknown_host_is_named(talking: Talking) -> None:
    with pytest.raises(HostUnavailable, match="Agent edge-b is not connected"):
        talking.hosts.of(HostKey("edge-b", "local"))
