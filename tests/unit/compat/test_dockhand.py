"""Snapshots and rounds by environment (dockhand-stats.md), over a scripted Engine."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import msgspec
import pytest

from drydock.clock import Clock, SystemClock
from drydock.compat.dockhand.environments import Environments, canonical, is_missing
from drydock.compat.dockhand.room import Dockhand
from drydock.compat.dockhand.rounds import Limits, cause, own_name
from drydock.core.errors import BadRequest, EngineError, EngineUnreachable, NotFound, NotSupported
from drydock.core.model import HostKey
from drydock.docker.api import Document
from drydock.hosts.host import Hosts
from fakes.hosts import FakeHost
from fakes.numbers import MemoryNumbers
from fakes.scripted_engine import ScriptedEngine, stats_document
from kit.clock import NEW_YEAR_MS, ManualClock
from kit.wait import settle, until

LOCAL, FAR, EDGE = HostKey(None, "local"), HostKey(None, "far"), HostKey("edge", "local")


def listed(number: int, state: str = "running") -> Document:
    return {"Id": f"{number:064x}", "Names": [f"/web/link{number}", f"/c{number}"], "State": state}


class Stage:
    def __init__(self, *keys: HostKey, limits: Limits = Limits(), clock: Clock | None = None) -> None:  # noqa: B008 - frozen
        self.engines = {key: ScriptedEngine() for key in keys}
        self.hosts = {key: FakeHost(key, engine) for key, engine in self.engines.items()}
        hosts = Hosts(each.host for each in self.hosts.values())
        environments = Environments(hosts, MemoryNumbers("::local", "::far"))
        self.stats = Dockhand(environments, hosts, clock or SystemClock(), limits)

    @property
    def engine(self) -> ScriptedEngine:
        return self.engines[LOCAL]

    def run(self, *numbers: int) -> None:
        self.engine.listed = [listed(number) for number in numbers]
        self.engine.stats_of = {f"{number:064x}": stats_document() for number in numbers}

    async def events(self, env: str | None = "1") -> list[tuple[str, Any]]:
        return [(each.event, each.data) async for each in self.stats.stream(env) if each]


def names(events: list[tuple[str, Any]]) -> list[str]:
    return sorted(data.name for event, data in events if event == "stat")


def kinds(events: list[tuple[str, Any]]) -> list[str]:
    return [event for event, _ in events]


async def test_a_round_has_each_running_container_once_and_ends() -> None:
    stage = Stage(LOCAL)
    stage.run(1, 2, 3)
    assert isinstance(stage.engine.listed, list)
    stage.engine.listed += [listed(4, "paused"), listed(5, "restarting"), listed(6, "exited")]
    events = await stage.events()
    assert kinds(events) == ["stat", "stat", "stat", "done"]
    assert names(events) == ["c1", "c2", "c3"]
    assert msgspec.to_builtins(events[0][1]) == {
        "id": f"{1:064x}",
        "name": "c1",
        "cpuPercent": 50.0,
        "memoryUsage": 2000,
        "memoryRaw": 3000,
        "memoryCache": 1000,
        "memoryLimit": 8000,
        "memoryPercent": 25.0,
        "networkRx": 1024,
        "networkTx": 32,
        "blockRead": 7,
        "blockWrite": 5,
    }
    assert events[-1][1] == {}
    assert stage.stats.open_rounds() == 0


@pytest.mark.parametrize("env", [None, "", "0", "00"])
async def test_without_env_there_is_only_done(env: str | None) -> None:
    stage = Stage(LOCAL)
    stage.run(1)
    assert kinds(await stage.events(env)) == ["done"]
    assert await stage.stats.rows(env) == []


async def test_no_environment_and_unknown_environments() -> None:
    assert kinds(await Stage().events("1")) == ["done"]
    assert await Stage().stats.rows("1") == []
    with pytest.raises(NotFound, match="No environment configured"):
        await Stage().stats.snapshot("web", None)
    stage = Stage(LOCAL)
    for env in ("99999", "-1", "1x", "nowhere"):
        assert await stage.events(env) == [("error", {"error": "Environment not found"}), ("done", {})]
        with pytest.raises(NotFound, match="Environment not found"):
            await stage.stats.rows(env)
        with pytest.raises(NotFound, match="Environment not found"):
            await stage.stats.snapshot("web", env)


async def test_env_is_a_number_or_a_name_and_chooses_the_host() -> None:
    stage = Stage(LOCAL, FAR)
    stage.run(1)
    stage.engines[FAR].listed = [listed(2)]
    stage.engines[FAR].stats_of = {f"{2:064x}": stats_document()}
    assert [names(await stage.events(env)) for env in ("1", "local", "01", "2", "far")] == [
        ["c1"],
        ["c1"],
        ["c1"],
        ["c2"],
        ["c2"],
    ]
    assert [is_missing(each) for each in ("0", "000", "1", "a")] == [True, True, False, False]
    assert [canonical(each) for each in ("007", "x", None)] == ["7", "x", None]


async def test_failing_containers_are_skipped_silently() -> None:
    stage = Stage(LOCAL, limits=Limits(stats_s=0.1))
    stage.run(1, 2, 3, 4)
    stage.engine.stats_of[f"{1:064x}"] = EngineError("no")
    stage.engine.stats_of.pop(f"{2:064x}")
    stage.engine.stats_of[f"{3:064x}"] = asyncio.Event().wait
    events = await stage.events()
    assert (kinds(events), names(events)) == (["stat", "done"], ["c4"])
    assert not +stage.engine.open


async def test_stats_arrive_before_the_slowest_and_every_limit_is_its_own() -> None:
    stage = Stage(LOCAL)
    stage.run(*range(1, 61))
    release = asyncio.Event()

    async def slow() -> Document:
        await release.wait()
        return stats_document()

    stage.engine.stats_of = dict.fromkeys(stage.engine.stats_of, slow)
    stage.engine.stats_of[f"{7:064x}"] = stats_document()
    async with aclosing(stage.stats.stream("1")) as events:
        first = await anext(events)
        assert first is not None
        assert first.event == "stat"
        assert stage.engine.open["stats_once"] == 59
        release.set()
        assert [each.event async for each in events if each] == ["stat"] * 59 + ["done"]


async def test_a_list_that_hangs_or_fails_is_an_error_and_done() -> None:
    stage = Stage(LOCAL, EDGE, limits=Limits(list_s=0.05))
    stage.hosts[EDGE].lost = "Agent is not connected"
    stage.engine.listed = asyncio.Event().wait
    assert await stage.events() == [("error", {"error": "Timed out listing containers"}), ("done", {})]
    assert await stage.stats.rows("1") == []
    stage.engine.listed = EngineUnreachable("cannot connect to unix:///var/run/docker.sock")
    assert await stage.events() == [("error", {"error": "Docker host not reachable"}), ("done", {})]
    assert await stage.events("edge/local") == [("error", {"error": "Agent is not connected"}), ("done", {})]


async def test_a_document_nobody_expected_still_ends_the_round() -> None:
    stage = Stage(LOCAL)
    stage.engine.listed = [{"State": "running"}]
    assert await stage.events() == [("error", {"error": "Failed to get stats"}), ("done", {})]


async def test_keepalives_have_their_own_rhythm() -> None:
    clock = ManualClock(NEW_YEAR_MS)
    stage = Stage(LOCAL, clock=clock)
    stage.run(1, 2)
    release = asyncio.Event()

    async def slow() -> Document:
        await release.wait()
        return stats_document()

    stage.engine.stats_of[f"{1:064x}"] = slow
    seen: list[str] = []

    async def client() -> None:
        async for each in stage.stats.stream("1"):
            seen.append(each.event if each else f"keepalive {clock.monotonic() - NEW_YEAR_MS / 1000:g}")

    running = asyncio.create_task(client())
    for _ in range(4):
        await clock.pass_time(4)
    release.set()
    await running
    assert seen == ["stat", "keepalive 5", "keepalive 10", "keepalive 15", "stat", "done"]


async def test_the_last_client_to_leave_cancels_the_calls() -> None:
    stage = Stage(LOCAL)
    stage.run(1, 2)
    stage.engine.stats_of[f"{1:064x}"] = asyncio.Event().wait
    tasks = len(asyncio.all_tasks())
    one, two = stage.stats.stream("1"), stage.stats.stream("1")
    first, second = await anext(one), await anext(two)
    assert first is second
    assert (stage.engine.calls["list"], stage.engine.open["stats_once"]) == (1, 1)
    await one.aclose()
    assert stage.engine.open["stats_once"] == 1
    await two.aclose()
    await settle()
    assert not +stage.engine.open
    assert stage.stats.open_rounds() == 0
    assert len(asyncio.all_tasks()) == tasks


async def test_a_thousand_clients_come_and_go() -> None:
    stage = Stage(LOCAL)
    stage.run(1, 2)
    stage.engine.stats_of[f"{1:064x}"] = asyncio.Event().wait
    tasks = len(asyncio.all_tasks())
    for _ in range(1000):
        events = stage.stats.stream("1")
        await anext(events)
        await events.aclose()
    await until(lambda: len(asyncio.all_tasks()) == tasks, "every task ended")
    assert not +stage.engine.open


async def test_snapshot() -> None:
    stage = Stage(LOCAL, FAR)
    stage.engine.stats_of["web"] = stats_document()
    found = msgspec.to_builtins(await stage.stats.snapshot("web", "1"))
    assert list(found) == [
        "cpuPercent",
        "memoryUsage",
        "memoryRaw",
        "memoryCache",
        "memoryLimit",
        "memoryPercent",
        "networkRx",
        "networkTx",
        "blockRead",
        "blockWrite",
        "timestamp",
    ]
    assert await stage.stats.snapshot("web", None) is not None
    with pytest.raises(NotFound, match="Container not found"):
        await stage.stats.snapshot("web", "2")


async def test_snapshot_of_a_stopped_container_is_zeros() -> None:
    stage = Stage(LOCAL)
    stage.engine.stats_of["off"] = {"read": "0001-01-01T00:00:00Z", "memory_stats": {}, "networks": None}
    found = msgspec.to_builtins(await stage.stats.snapshot("off", "1"))
    assert found.pop("timestamp") > 0
    assert set(found.values()) == {0}


@pytest.mark.parametrize("reference", ["", "..", "a..b", "a/b", "a\\b", "a\0", "a%2f"])
async def test_dangerous_references_never_reach_the_engine(reference: str) -> None:
    stage = Stage(LOCAL)
    with pytest.raises(BadRequest, match="Invalid container ID"):
        await stage.stats.snapshot(reference, "99")
    assert not stage.engine.calls


async def test_snapshot_failures_tell_no_address() -> None:
    stage = Stage(LOCAL, limits=Limits(stats_s=0.05))
    stage.engine.stats_of = {
        "down": EngineUnreachable("Cannot connect to unix:///var/run/docker.sock"),
        "two": EngineError("multiple IDs found with provided prefix: ab\nmore"),
        "dial": EngineError("dial tcp 10.0.0.7:2376: refused"),
        "slow": asyncio.Event().wait,
    }
    texts = []
    for reference in stage.engine.stats_of:
        with pytest.raises(EngineError) as failure:
            await stage.stats.snapshot(reference, None)
        texts.append(failure.value.message)
    assert texts == [
        "Docker host not reachable",
        "multiple IDs found with provided prefix: ab",
        "Failed to get stats",
        "Timed out getting stats",
    ]
    assert cause(NotSupported()) == "Environment does not support stats"


def test_own_name() -> None:
    assert own_name({"Id": "f" * 64, "Names": ["/a/b", "/own"]}) == "own"
    assert own_name({"Id": "f" * 64, "Names": None}) == "f" * 12


async def test_environments_keep_their_numbers_and_have_distinct_names() -> None:
    numbers, local, far, edge = MemoryNumbers(), *(FakeHost(each, None) for each in (LOCAL, FAR, EDGE))
    edge.lost = "Agent is not connected"
    environments = Environments(Hosts(each.host for each in (local, far, edge)), numbers)
    assert [(each.id, each.name, each.online) for each in await environments.all()] == [
        (1, "far", True),
        (2, "local", True),
        (3, "edge/local", False),
    ]
    confusing = FakeHost(HostKey(None, "edge/local"), None)
    environments = Environments(Hosts(each.host for each in (local, edge, confusing)), numbers)
    assert [(each.id, each.name) for each in await environments.all()] == [
        (2, "local"),
        (3, "edge/local"),
        (4, "edge/local (2)"),
    ]
    assert (await environments.get(None)).id == 2
