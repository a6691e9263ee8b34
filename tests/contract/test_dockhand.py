"""The endpoints of Dockhand clients over HTTP: checklist D (dockhand-stats.md)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest

from drydock.api.application import Extension
from drydock.auth.caller import ALL_SCOPES
from drydock.clock import SystemClock
from drydock.compat.application import extension
from drydock.compat.dockhand.environments import Environments
from drydock.compat.dockhand.room import Dockhand
from drydock.compat.dockhand.rounds import Limits
from drydock.compat.settings import CompatSettings
from drydock.core.errors import EngineError, EngineNotFound, EngineUnreachable
from drydock.core.model import HostKey
from drydock.docker.api import Document
from drydock.hosts.host import Endpoint, Hosts
from drydock.stats.room import Stats
from drydock.stats.settings import StatsSettings
from drydock.supervisor import Supervisor
from fakes.hosts import FakeHost
from fakes.numbers import SOME_TIME, MemoryNumbers
from fakes.scripted_engine import ScriptedEngine, Watched, container, stats_document
from kit.api_site import HeaderAccess, Site, frames, serve_site, services
from kit.wait import until

A = "/api/containers"
STREAM = f"{A}/stats/stream"
ENDPOINTS = {
    HostKey(None, "local"): Endpoint(kind="socket", socket="/var/run/docker.sock"),
    HostKey(None, "Far"): Endpoint(kind="direct", host="10.0.0.7", port=2376, protocol="https"),
    HostKey("edge", "local"): Endpoint(kind="agent"),
}
LOCAL, FAR, EDGE = ENDPOINTS
FIGURES = [
    *("cpuPercent", "memoryUsage", "memoryRaw", "memoryCache", "memoryLimit", "memoryPercent"),
    *("networkRx", "networkTx", "blockRead", "blockWrite"),
]
QUICK = Limits(list_s=0.4, stats_s=0.3, keepalive_s=0.1)
"""The product's 10, 8 and 5 seconds, in small."""


def full_id(number: int) -> str:
    return f"{number:064x}"


class Scene:
    """A server over scripted Engines, one per environment."""

    def __init__(self, *keys: HostKey, limits: Limits = Limits()) -> None:  # noqa: B008 - frozen
        self.engines = {key: ScriptedEngine() for key in keys}
        self.hosts = {key: FakeHost(key, engine, ENDPOINTS[key]) for key, engine in self.engines.items()}
        hosts = Hosts(each.host for each in self.hosts.values())
        numbers = MemoryNumbers(*(f"{key.agent or ''}::{key.watcher}" for key in keys))
        self.room = Dockhand(Environments(hosts, numbers), hosts, SystemClock(), limits)
        self.all_hosts = hosts
        self.site: Site

    @property
    def engine(self) -> ScriptedEngine:
        return self.engines[LOCAL]

    def run(self, *numbers: int, where: HostKey = LOCAL, document: Document | None = None) -> None:
        engine = self.engines[where]
        engine.listed = [{"Id": full_id(n), "Names": [f"/c{n}"], "State": "running"} for n in numbers]
        engine.stats_of |= {full_id(n): document or stats_document() for n in numbers}

    async def round(self, query: str = "?env=1") -> list[tuple[str, dict[str, object]]]:
        """Every event until the server closes the response."""
        async with self.site.get(STREAM + query) as answer:
            assert answer.status == 200
            return [(name, json.loads(data)) async for name, data in frames(answer) if name != ":"]


def answers_after(seconds: float) -> Callable[[], Awaitable[Document]]:
    async def answer() -> Document:
        await asyncio.sleep(seconds)
        return stats_document()

    return answer


async def hangs() -> Document:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async for each in _scene(LOCAL, FAR, EDGE):
        yield each


@pytest.fixture
async def quick() -> AsyncIterator[Scene]:
    async for each in _scene(LOCAL, FAR, EDGE, limits=QUICK):
        yield each


def dockhand(scene: Scene) -> Extension:
    return extension(CompatSettings(), scene.room)


async def _scene(*keys: HostKey, limits: Limits = Limits()) -> AsyncIterator[Scene]:  # noqa: B008 - frozen
    scene = Scene(*keys, limits=limits)
    async with serve_site(services(), dockhand(scene)) as scene.site:
        yield scene
    await until(lambda: not any(+each.open for each in scene.engines.values()), "every Engine call closed")


def kinds(events: list[tuple[str, dict[str, object]]]) -> list[str]:
    return [name for name, _ in events]


# snapshot


@pytest.mark.rows("D-001", "D-002", "D-003", "D-004", "D-007", "D-008", "D-026", "D-027")
async def test_snapshot(scene: Scene) -> None:
    for reference in ("c1", full_id(1), full_id(1)[:12]):
        scene.engine.stats_of[reference] = stats_document()
        async with scene.site.get(f"{A}/{reference}/stats?env=1") as answer:
            body = await answer.json()
            assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
            assert answer.headers["Content-Type"].startswith("application/json")
        assert list(body) == [*FIGURES, "timestamp"]
        assert all(isinstance(body[key], int) for key in body if "Percent" not in key)
        assert abs(body["timestamp"] - time.time() * 1000) < 3000
        assert (body["cpuPercent"], body["memoryUsage"], body["networkRx"]) == (50.0, 2000, 1024)


@pytest.mark.rows("D-009", "D-010", "D-011", "D-012", "D-013", "D-014", "D-016", "D-017", "D-019", "D-020")
@pytest.mark.rows("D-021", "D-022", "D-023", "D-024", "D-025", "D-028")
async def test_figures_of_odd_documents(scene: Scene) -> None:
    def cpu(now: int, host: int, **more: object) -> Document:
        return {"cpu_usage": {"total_usage": now, **more}, "system_cpu_usage": host}

    async def figures(document: Document) -> dict[str, float]:
        scene.engine.stats_of["x"] = document
        status, body = await scene.site.json(f"{A}/x/stats?env=1")
        assert status == 200
        assert body["memoryRaw"] - body["memoryCache"] == body["memoryUsage"]
        found: dict[str, float] = body
        return found

    def memory(usage: int, limit: int | None = None, **stats: int) -> Document:
        return {"memory_stats": {"usage": usage, "stats": stats, **({"limit": limit} if limit is not None else {})}}

    eight = {"cpu_stats": cpu(8_000, 16_000, percpu_usage=[1] * 8), "precpu_stats": cpu(0, 8_000)}
    assert (await figures(eight))["cpuPercent"] == 800
    four = {"cpu_stats": {**cpu(550, 3600), "online_cpus": 4}, "precpu_stats": cpu(0, 2000)}
    assert (await figures(four))["cpuPercent"] == 137.5
    for before in ({}, cpu(550, 3600), cpu(600, 2000)):
        assert (await figures({**four, "precpu_stats": before}))["cpuPercent"] == 0
    v2 = await figures(memory(469762048, 4294967296, inactive_file=67108864))
    assert (v2["memoryUsage"], v2["memoryCache"], v2["memoryPercent"]) == (402653184, 67108864, 9.38)
    v1 = await figures(memory(1000, 100, total_inactive_file=400, inactive_file=100, cache=900))
    assert (v1["memoryUsage"], v1["memoryPercent"]) == (600, 100)
    full = await figures(memory(1000, inactive_file=1000))
    assert (full["memoryCache"], full["memoryLimit"], full["memoryPercent"]) == (0, 0, 0)
    net = await figures({"networks": {"a": {"rx_bytes": 1000, "tx_bytes": 5}, "b": {"rx_bytes": 24, "tx_bytes": 2}}})
    assert (net["networkRx"], net["networkTx"]) == (1024, 7)
    entries = [{"op": op, "value": value} for op, value in (("read", 1), ("Read", 2), ("Total", 9), ("WRITE", 4))]
    block = await figures({"blkio_stats": {"io_service_bytes_recursive": entries}})
    assert (block["blockRead"], block["blockWrite"]) == (3, 4)
    stopped = await figures({"read": "0001-01-01T00:00:00Z", "blkio_stats": {"io_service_bytes_recursive": None}})
    assert [stopped[key] for key in FIGURES] == [0] * 10


@pytest.mark.rows("D-005", "D-029", "D-031", "D-032", "D-035", "D-071")
async def test_environments_choose_the_host(scene: Scene) -> None:
    scene.engines[FAR].stats_of["far"] = stats_document()
    scene.engines[EDGE].stats_of["edgy"] = stats_document()
    scene.engine.stats_of["here"] = stats_document()
    for reference, query, status, error in (
        ("here", "?env=1", 200, None),
        ("here", "", 200, None),
        ("here", "?env=", 200, None),
        ("here", "?env=0", 200, None),
        ("far", "?env=2", 200, None),
        ("far", "?env=Far", 200, None),
        ("edgy", "?env=3", 200, None),
        ("edgy", "?env=edge/local", 200, None),
        ("far", "?env=1", 404, "Container not found"),
        ("here", "?env=99999", 404, "Environment not found"),
        ("here", "?env=-1", 404, "Environment not found"),
        ("here", "?env=1.0", 404, "Environment not found"),
    ):
        found, body = await scene.site.json(f"{A}/{reference}/stats{query}")
        assert (found, body.get("error")) == (status, error), (reference, query)


async def test_no_environment_at_all() -> None:
    async for scene in _scene():
        assert await scene.site.json(f"{A}/x/stats?env=1") == (404, {"error": "No environment configured"})
        assert await scene.round() == [("done", {})]
        assert await scene.site.json(f"{A}/stats?env=1") == (200, [])
        assert await scene.site.json("/api/environments") == (200, [])


@pytest.mark.rows("D-033", "D-034", "D-035")
async def test_hosts_that_do_not_tell(quick: Scene) -> None:
    for answer, text in (
        (EngineUnreachable("Cannot connect to unix:///var/run/docker.sock"), "Docker host not reachable"),
        (EngineError("server error", engine_status=500), "server error"),
        (EngineError("GET /x: the answer of unix:///run/docker.sock is not JSON"), "Failed to get stats"),
        (hangs, "Timed out getting stats"),
    ):
        quick.engine.stats_of["x"] = answer
        assert await quick.site.json(f"{A}/x/stats?env=1") == (500, {"error": text})
    quick.hosts[EDGE].lost = "Agent is not connected"
    assert await quick.site.json(f"{A}/x/stats?env=3") == (500, {"error": "Agent is not connected"})


@pytest.mark.rows("D-037")
async def test_dangerous_ids(scene: Scene) -> None:
    for bad in ("%2e%2e", "a..b", "%5C", "%25", "%00", "a%2Fb", "%2F"):
        async with scene.site.client.get(_raw(f"{scene.site.url}{A}/{bad}/stats?env=1")) as answer:
            assert (answer.status, (await answer.json())["error"]) == (400, "Invalid container ID"), bad
    assert not scene.engine.calls


def _raw(url: str) -> aiohttp.client.URL:
    return aiohttp.client.URL(url, encoded=True)


@pytest.mark.rows("D-030", "D-036", "D-064", "D-065")
async def test_who_may_ask() -> None:
    scene = Scene(LOCAL)
    scene.run(1)
    access = HeaderAccess(ann=ALL_SCOPES, lim=frozenset({"watch"}))
    async with serve_site(services(access=access), dockhand(scene)) as scene.site:
        for path in (f"{A}/c1/stats?env=1", f"{A}/a..b/stats", f"{STREAM}?env=1", f"{A}/stats", "/api/environments"):
            status, body = await scene.site.json(path)
            assert (status, body) == (401, {"error": "Unauthorized", "message": "Authentication required"}), path
        for path in (f"{A}/c1/stats?env=1", f"{A}/c1/stats?env=99", f"{STREAM}?env=99", f"{A}/stats?env=1"):
            status, body = await scene.site.json(path, headers={"Authorization": "Bearer lim"})
            assert (status, body["error"]) == (403, "Permission denied"), path
        assert not scene.engine.calls
        async with scene.site.get(f"{STREAM}?env=1", headers={"Authorization": "Bearer ann"}) as answer:
            assert answer.status == 200


# stream


@pytest.mark.rows("D-038", "D-040", "D-041", "D-042", "D-043", "D-045", "D-046", "D-047", "D-048", "D-049", "D-051")
@pytest.mark.rows("D-052", "D-068")
async def test_one_round(scene: Scene) -> None:
    scene.run(1, 2, 3)
    assert isinstance(scene.engine.listed, list)
    for number, state in enumerate(("paused", "exited", "created", "restarting"), 10):
        scene.engine.listed.append({"Id": full_id(number), "Names": ["/x"], "State": state})
    scene.engine.listed[0]["Names"] = ["/web/db", "/c1"]
    async with scene.site.get(f"{STREAM}?env=1", headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert (answer.headers["Cache-Control"], answer.headers["X-Accel-Buffering"]) == ("no-cache", "no")
        assert "Content-Encoding" not in answer.headers
        events = [(name, json.loads(data)) async for name, data in frames(answer)]
    assert kinds(events) == ["stat", "stat", "stat", "done"]
    assert events[-1][1] == {}
    stats = {data["id"]: data for name, data in events if name == "stat"}
    assert {key: data["name"] for key, data in stats.items()} == {full_id(n): f"c{n}" for n in (1, 2, 3)}
    scene.engine.stats_of["c1"] = stats_document()
    _, snapshot = await scene.site.json(f"{A}/c1/stats?env=1")
    assert list(stats[full_id(1)]) == ["id", "name", *FIGURES]
    assert [stats[full_id(1)][key] for key in FIGURES] == [snapshot[key] for key in FIGURES]


@pytest.mark.rows("D-044", "D-053", "D-056", "D-057", "D-071")
async def test_each_environment_has_its_own_round(scene: Scene) -> None:
    scene.run(1)
    scene.run(2, 3, where=EDGE)
    assert [data.get("name") for _, data in await scene.round("?env=1")] == ["c1", None]
    assert kinds(await scene.round("?env=2")) == ["done"]
    assert kinds(await scene.round("?env=3")) == ["stat", "stat", "done"]
    unknown = [("error", {"error": "Environment not found"}), ("done", {})]
    assert await scene.round("?env=99999") == await scene.round("?env=nowhere") == unknown
    for query in ("", "?env=", "?env=0"):
        assert await scene.round(query) == [("done", {})]


@pytest.mark.rows("D-039", "D-062")
async def test_a_list_that_hangs(quick: Scene) -> None:
    quick.engine.listed = hangs  # type: ignore[assignment]  # never answers
    async with quick.site.get(f"{STREAM}?env=1") as answer:
        assert answer.status == 200
        events = [each async for each in frames(answer)]
    assert [each for each in events if each[0] != ":"] == [
        ("error", '{"error":"Timed out listing containers"}'),
        ("done", "{}"),
    ]
    assert events.count((":", "keepalive")) >= 3


@pytest.mark.rows("D-050", "D-058", "D-059", "D-060", "D-063")
async def test_slow_and_failing_containers(quick: Scene) -> None:
    quick.run(*range(1, 8))
    quick.engine.stats_of |= {
        full_id(1): hangs,
        full_id(2): answers_after(0.2),
        full_id(3): EngineError("500", engine_status=500),
        full_id(4): EngineNotFound("gone", engine_status=404),
        full_id(5): EngineUnreachable("connection dropped"),
    }
    async with quick.site.get(f"{STREAM}?env=1") as answer:
        events = [each async for each in frames(answer)]
    names = [json.loads(data)["name"] for name, data in events if name == "stat"]
    assert (sorted(names[:2]), names[2:]) == (["c6", "c7"], ["c2"])
    assert events[-1] == ("done", "{}")
    assert [name for name, _ in events].index(":") == 2
    assert "error" not in [name for name, _ in events]


@pytest.mark.rows("D-061")
async def test_forty_slow_containers_are_asked_at_once(quick: Scene) -> None:
    quick.run(*range(1, 41))
    quick.engine.stats_of = dict.fromkeys(quick.engine.stats_of, answers_after(0.15))
    assert kinds(await quick.round()) == ["stat"] * 40 + ["done"]


@pytest.mark.rows("D-054", "D-055")
async def test_a_host_that_is_down(scene: Scene) -> None:
    scene.engine.listed = EngineUnreachable("Cannot connect to unix:///var/run/docker.sock")
    down = [("error", {"error": "Docker host not reachable"}), ("done", {})]
    assert await scene.round() == down
    scene.hosts[EDGE].lost = "Agent is not connected"
    assert await scene.round("?env=3") == [("error", {"error": "Agent is not connected"}), ("done", {})]
    assert await scene.site.json(f"{A}/stats?env=1") == (200, [])


@pytest.mark.rows("D-066")
async def test_a_client_that_leaves_cancels_the_calls(scene: Scene) -> None:
    scene.run(1, 2)
    scene.engine.stats_of[full_id(1)] = hangs
    async with scene.site.get(f"{STREAM}?env=1") as answer:
        assert (await anext(frames(answer)))[0] == "stat"
        assert scene.engine.open["stats_once"] == 1
    await until(lambda: not +scene.engine.open, "calls closed", 1)
    assert scene.room.open_rounds() == 0


@pytest.mark.rows("D-067")
async def test_every_client_gets_a_whole_round(quick: Scene) -> None:
    quick.run(1, 2)
    quick.engine.stats_of[full_id(1)] = answers_after(0.2)
    first = asyncio.create_task(quick.round())
    await until(lambda: quick.engine.calls["stats_once"] == 2, "first round runs")
    second = await quick.round()
    for events in (await first, second):
        assert sorted(str(data.get("name")) for _, data in events) == ["None", "c1", "c2"]
    assert quick.engine.calls["list"] == 1


async def test_ten_open_streams_per_client(scene: Scene) -> None:
    scene.run(1)
    scene.engine.stats_of[full_id(1)] = hangs
    open_ones = [await scene.site.get(f"{STREAM}?env=1") for _ in range(10)]
    await until(lambda: len(scene.site.services.live.streams.current()) == 10, "ten streams")
    assert (await scene.site.json(f"{STREAM}?env=1"))[0] == 429
    open_ones.pop().close()
    await until(lambda: len(scene.site.services.live.streams.current()) == 9, "nine streams")
    async with scene.site.get(f"{STREAM}?env=1") as answer:
        assert answer.status == 200
    for each in open_ones:
        each.close()


async def test_the_array(scene: Scene) -> None:
    scene.run(1, 2)
    status, body = await scene.site.json(f"{A}/stats?env=1")
    assert (status, sorted(each["name"] for each in body)) == (200, ["c1", "c2"])
    assert list(body[0]) == ["id", "name", *FIGURES]
    assert await scene.site.json(f"{A}/stats") == (200, [])
    assert await scene.site.json(f"{A}/stats?env=9") == (404, {"error": "Environment not found"})


# environments and neighbours


@pytest.mark.rows("D-006")
async def test_environments(scene: Scene) -> None:
    status, body = await scene.site.json("/api/environments")
    assert (status, [each["name"] for each in body]) == (200, ["edge/local", "Far", "local"])
    assert body[1] == {
        "id": 2,
        "name": "Far",
        "connectionType": "direct",
        "socketPath": None,
        "host": "10.0.0.7",
        "port": 2376,
        "protocol": "https",
        "labels": [],
        "publicIp": None,
        "timezone": None,
        "createdAt": SOME_TIME,
        "updatedAt": SOME_TIME,
        "watcher": "Far",
        "agent": None,
        "online": True,
    }
    assert await scene.site.json("/api/environments/2") == (200, body[1])
    for bad in ("9", "x", "0", "02"):
        assert await scene.site.json(f"/api/environments/{bad}") == (404, {"error": "Environment not found"})
    for each in body:
        assert (await scene.round(f"?env={each['id']}"))[-1] == ("done", {})


@pytest.mark.rows("D-069", "D-070")
async def test_neighbours() -> None:
    scene = Scene(LOCAL)
    scene.run(1)
    scene.engine.stats_of["stats"] = stats_document()
    supervisor = Supervisor(SystemClock())
    watched = Watched(container(full_id(1)))
    stats = Stats(watched, scene.all_hosts, SystemClock(), supervisor, StatsSettings())
    async with serve_site(services(fleet=watched, stats=stats), dockhand(scene)) as scene.site:
        assert kinds(await scene.round()) == ["stat", "done"]
        assert list((await scene.site.json(f"{A}/stats/stats?env=1"))[1]) == [*FIGURES, "timestamp"]
        status, body = await scene.site.json(f"/api/v1/containers/{full_id(1)}/stats?env=1")
        assert (status, set(body)) == (200, {"data", "history"})
        async with scene.site.get(f"/api/v1/containers/{full_id(1)}/stats/stream?env=1") as answer:
            assert (await anext(frames(answer)))[0] == "dd:container-stats"
        assert (await scene.site.json("/api/v1/containers/stats?env=1"))[0] == 410
        async with scene.site.get("/api/v1/containers/stats/stream?env=1") as answer:
            assert [name async for name, _ in frames(answer)] == ["stat", "done"]
        for path in (A, f"{A}/x", f"{A}/x/logs", "/api/other"):
            assert (await scene.site.json(path))[0] == 410, path
    await supervisor.stop()


async def test_other_methods(scene: Scene) -> None:
    for path in (f"{A}/c1/stats", STREAM, f"{A}/stats", "/api/environments", "/api/environments/1"):
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            async with scene.site.client.request(method, scene.site.url + path) as answer:
                assert (answer.status, await answer.json()) == (405, {"error": "Method not allowed"}), (method, path)
                assert {word.strip() for word in answer.headers["Allow"].split(",")} >= {"GET"}
    async with scene.site.client.head(f"{scene.site.url}/api/environments") as answer:
        assert answer.status == 200


async def test_a_thousand_connections_leave_nothing_behind(scene: Scene) -> None:
    scene.run(1, 2)
    scene.engine.stats_of[full_id(1)] = hangs
    tasks = len(asyncio.all_tasks())
    for _ in range(1000):
        async with scene.site.get(f"{STREAM}?env=1") as answer:
            await anext(frames(answer))
        await until(lambda: not len(scene.site.services.live.streams.current()), "stream closed")
    await until(lambda: len(asyncio.all_tasks()) <= tasks + 2, "no task left")
    assert scene.room.open_rounds() == 0
    assert not +scene.engine.open
