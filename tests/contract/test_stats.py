"""Stats of containers and of the fleet over HTTP: checklist O (container-api.md §10)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from drydock.auth.caller import ALL_SCOPES
from drydock.docker.api import Document
from drydock.stats.room import Stats
from drydock.stats.settings import StatsSettings
from drydock.supervisor import Supervisor
from fakes.hosts import one_host
from fakes.scripted_engine import ScriptedEngine, Watched, container, stats_document
from kit.api_site import HeaderAccess, Site, frames, serve_site, services
from kit.clock import NEW_YEAR_MS, ManualClock
from kit.wait import settle, until

ID, OFF, NOBODY = "a" * 64, "e" * 64, "0" * 64
BASE, SUMMARY = "/api/v1/containers", "/api/v1/stats/summary"
SNAPSHOT_KEYS = {
    *("containerId", "timestamp", "cpuPercent", "memoryPercent"),
    *(f"memory{part}Bytes" for part in ("Usage", "Limit", "Cache", "Raw")),
    *("networkRxBytes", "networkTxBytes", "blockReadBytes", "blockWriteBytes"),
}


class Scene:
    """A server over a scripted Engine, with a clock moved by hand."""

    def __init__(self, settings: StatsSettings = StatsSettings()) -> None:  # noqa: B008 - frozen
        self.clock = ManualClock(NEW_YEAR_MS)
        self.engine = ScriptedEngine()
        self.frames: asyncio.Queue[Document] = asyncio.Queue()
        self.watched = Watched(container(ID, name="web"), container(OFF, status="exited"))
        self.engine.stats_of[ID] = stats_document(cpu=1.5)
        self.engine.frames_of[ID] = self._frames
        self.supervisor = Supervisor(self.clock)
        self.stats = Stats(self.watched, one_host(self.engine), self.clock, self.supervisor, settings)
        self.site: Site

    async def _frames(self) -> AsyncIterator[Document]:
        while True:
            yield await self.frames.get()

    def add(self, name: str, document: Document) -> None:
        self.watched.items[name] = container(name)
        self.engine.stats_of[name] = document

    async def pass_time(self, seconds: float, *, sample: bool = False) -> None:
        await self.clock.pass_time(seconds)
        if sample:
            self.frames.put_nowait(stats_document())
        await settle()


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    await scene.stats.start()
    async with serve_site(services(clock=scene.clock, fleet=scene.watched, stats=scene.stats)) as scene.site:
        yield scene
        await until(lambda: not len(scene.site.services.live.streams.current()), "every stream closed")
    await scene.supervisor.stop()
    assert not +scene.engine.open


@pytest.mark.rows("C-269", "C-270", "C-331")
async def test_first_call_has_a_snapshot(scene: Scene) -> None:
    status, body = await scene.site.json(f"{BASE}/{ID}/stats")
    assert (status, set(body)) == (200, {"data", "history"})
    assert set(body["data"]) == SNAPSHOT_KEYS
    assert body["data"] == {
        "containerId": ID,
        "cpuPercent": 150.0,
        "memoryUsageBytes": 2000,
        "memoryLimitBytes": 8000,
        "memoryPercent": 25.0,
        "networkRxBytes": 1024,
        "networkTxBytes": 32,
        "blockReadBytes": 7,
        "blockWriteBytes": 5,
        "memoryCacheBytes": 1000,
        "memoryRawBytes": 3000,
        "timestamp": "2026-01-01T00:00:00.000Z",
    }
    assert body["history"] == [body["data"]]


@pytest.mark.rows("C-271")
async def test_history_grows_on_repeated_reads(scene: Scene) -> None:
    for size in (1, 2, 3):
        _, body = await scene.site.json(f"{BASE}/{ID}/stats")
        assert len(body["history"]) == size
        assert body["history"][-1] == body["data"]
        await scene.pass_time(10.5, sample=True)


async def test_stopped_and_unknown_containers(scene: Scene) -> None:
    assert await scene.site.json(f"{BASE}/{OFF}/stats") == (200, {"data": None, "history": []})
    for bad in (NOBODY, "..%2f", "a%00", "%25"):
        assert (await scene.site.json(f"{BASE}/{bad}/stats"))[0] == 404, bad
        assert (await scene.site.json(f"{BASE}/{bad}/stats/stream"))[0] == 404, bad
    assert not scene.engine.calls


@pytest.mark.rows("C-272", "C-273", "C-274", "C-333")
async def test_stream_of_one_container(scene: Scene) -> None:
    async with scene.site.get(f"{BASE}/{ID}/stats/stream") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert answer.headers["Cache-Control"] == "no-cache, no-transform"
        assert answer.headers["X-Accel-Buffering"] == "no"
        assert "Content-Encoding" not in answer.headers
        events = frames(answer)
        name, data = await anext(events)
        assert (name, set(json.loads(data))) == ("dd:container-stats", SNAPSHOT_KEYS)
        await scene.pass_time(10, sample=True)
        name, second = await anext(events)
        assert name == "dd:container-stats"
        assert json.loads(second)["timestamp"] > json.loads(data)["timestamp"]
        for _ in range(3):
            await scene.pass_time(15)
            assert await anext(events) == ("dd:heartbeat", "{}")
        assert scene.engine.open["stats"] == 1
    await until(lambda: not scene.engine.open["stats"], "Engine stream closed", 2)
    assert scene.stats.collecting() == []


async def test_a_second_viewer_sees_the_newest_sample_at_once_over_the_same_stream(scene: Scene) -> None:
    async with scene.site.get(f"{BASE}/{ID}/stats/stream") as one:
        first = await anext(frames(one))
        async with scene.site.get(f"{BASE}/{ID}/stats/stream") as two:
            assert await anext(frames(two)) == first
        assert scene.engine.calls["stats"] == 1


@pytest.mark.rows("C-275", "C-277", "C-278", "C-279", "C-280", "C-281", "C-282", "C-283")
async def test_summary(scene: Scene) -> None:
    for number in range(1, 6):
        scene.add(f"c{number}", stats_document(cpu=number / 10, usage=1000 * number, cache=0, limit=10_000 * number**2))
    status, body = await scene.site.json(SUMMARY)
    data = body["data"]
    assert (status, list(data)) == (
        200,
        [
            *("timestamp", "watchedCount", "avgCpuPercent", "totalMemoryUsageBytes"),
            *("totalMemoryLimitBytes", "totalMemoryPercent", "topCpu", "topMemory"),
        ],
    )
    assert (data["watchedCount"], data["avgCpuPercent"]) == (6, 50.0)
    assert data["totalMemoryUsageBytes"] == 2000 + 15_000
    assert data["totalMemoryLimitBytes"] == 8000 + 550_000
    assert data["totalMemoryPercent"] == 3.05
    assert [each["name"] for each in data["topCpu"]] == ["web", "c5", "c4", "c3", "c2"]
    assert [each["name"] for each in data["topMemory"]] == ["web", "c1", "c2", "c3", "c4"]
    assert data["topCpu"][0] == {
        "id": ID,
        "name": "web",
        "cpuPercent": 150.0,
        "memoryUsageBytes": 2000,
        "memoryLimitBytes": 8000,
        "memoryPercent": 25.0,
    }


@pytest.mark.rows("C-276", "C-284", "C-332")
async def test_summary_steps_with_the_interval(scene: Scene) -> None:
    stamps, asked = [], []
    for _ in range(9):
        _, body = await scene.site.json(SUMMARY)
        stamps.append(body["data"]["timestamp"][17:19])
        asked.append(scene.engine.calls["stats_once"])
        await scene.pass_time(5)
    assert stamps == ["00", "00", "10", "10", "20", "20", "30", "30", "40"]
    assert asked == [1, 1, 2, 2, 3, 3, 4, 4, 5]


async def test_the_interval_is_configurable() -> None:
    scene = Scene(StatsSettings(interval_s=2))
    await scene.stats.start()
    async with serve_site(services(clock=scene.clock, fleet=scene.watched, stats=scene.stats)) as scene.site:
        for second in (0, 2, 4):
            _, body = await scene.site.json(SUMMARY)
            assert body["data"]["timestamp"] == f"2026-01-01T00:00:0{second}.000Z"
            await scene.pass_time(2)
    await scene.supervisor.stop()


@pytest.mark.rows("C-286", "C-287", "C-288", "C-289", "C-290")
async def test_stream_of_the_summary(scene: Scene) -> None:
    await scene.site.json(SUMMARY)
    await scene.pass_time(3)
    async with scene.site.get(f"{SUMMARY}/stream") as one, scene.site.get(f"{SUMMARY}/stream") as two:
        assert one.headers["Content-Type"].startswith("text/event-stream")
        readers = (frames(one), frames(two))
        for reader in readers:
            name, data = await anext(reader)
            assert (name, json.loads(data)["timestamp"]) == ("dd:stats-summary", "2026-01-01T00:00:00.000Z")
        await scene.pass_time(7)
        for reader in readers:
            name, data = await anext(reader)
            assert (name, json.loads(data)["timestamp"]) == ("dd:stats-summary", "2026-01-01T00:00:10.000Z")
        assert json.loads(data) == (await scene.site.json(SUMMARY))[1]["data"]
        await scene.pass_time(8)
        assert await anext(readers[0]) == ("dd:heartbeat", "{}")


async def test_heartbeats_do_not_wait_for_slow_ticks() -> None:
    scene = Scene(StatsSettings(interval_s=60))
    await scene.stats.start()
    async with (
        serve_site(services(clock=scene.clock, fleet=scene.watched, stats=scene.stats)) as scene.site,
        scene.site.get(f"{SUMMARY}/stream") as answer,
    ):
        events = frames(answer)
        assert [(await anext(events))[0] for _ in range(2)] == ["dd:stats-summary"] * 2
        for _ in range(3):
            await scene.pass_time(15)
            assert await anext(events) == ("dd:heartbeat", "{}")
    await scene.supervisor.stop()


async def test_nobody_looks_the_engine_is_not_asked(scene: Scene) -> None:
    async with scene.site.get(f"{SUMMARY}/stream") as answer:
        await anext(frames(answer))
    await scene.site.json(f"{BASE}/{ID}/stats")
    await until(lambda: not len(scene.site.services.live.streams.current()), "stream closed")
    await scene.pass_time(60)
    before = scene.engine.calls.total()
    for _ in range(30):
        await scene.pass_time(60)
    assert scene.engine.calls.total() == before
    assert not +scene.engine.open


async def test_moved_and_hidden(scene: Scene) -> None:
    status, body = await scene.site.json(f"{BASE}/stats")
    assert status == 410
    assert body["migration"] == {"aggregate": "/api/v1/stats/summary", "container": "/api/v1/containers/:id/stats"}
    async with serve_site(services(clock=scene.clock, stats=scene.stats, access=HeaderAccess(ann=ALL_SCOPES))) as site:
        for path in (f"{BASE}/{ID}/stats", f"{BASE}/{ID}/stats/stream", SUMMARY, f"{SUMMARY}/stream", f"{BASE}/stats"):
            assert (await site.json(path))[0] == 401, path
    assert not scene.engine.calls


async def test_a_thousand_connections_leave_nothing_behind(scene: Scene) -> None:
    tasks = len(asyncio.all_tasks())
    for number in range(1000):
        path = f"{SUMMARY}/stream" if number % 2 else f"{BASE}/{ID}/stats/stream"
        async with scene.site.get(path) as answer:
            if number % 3 == 0:
                await anext(frames(answer))
    await until(lambda: not len(scene.site.services.live.streams.current()), "every stream closed")
    await until(lambda: not scene.stats.collecting(), "every collector ended")
    await until(lambda: len(asyncio.all_tasks()) <= tasks + 2, "no task left")
    assert not scene.engine.open["stats"]
