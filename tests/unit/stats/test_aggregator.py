"""The fleet summary (container-api.md §10.5): rounds with an audience, figures, order, failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import msgspec
import pytest

from drydock.core.errors import EngineError
from drydock.latest import Reader
from drydock.stats.aggregator import Aggregator, Tick
from drydock.stats.figures import Figures
from drydock.stats.settings import StatsSettings
from drydock.stats.snapshot import FleetRow, row, summarise
from fakes.hosts import one_host
from fakes.scripted_engine import ScriptedEngine, Watched, container, stats_document
from kit.clock import NEW_YEAR_MS, ManualClock


def fleet_row(name: str, cpu: float = 0.0, usage: int = 0, limit: int = 0, percent: float = 0.0) -> FleetRow:
    return row(name, name, Figures(cpu_percent=cpu, memory_usage=usage, memory_limit=limit, memory_percent=percent))


def test_summary_of_an_empty_fleet() -> None:
    empty = summarise([], 0)
    assert msgspec.to_builtins(empty) == {
        "timestamp": "1970-01-01T00:00:00.000Z",
        "watchedCount": 0,
        "avgCpuPercent": 0.0,
        "totalMemoryUsageBytes": 0,
        "totalMemoryLimitBytes": 0,
        "totalMemoryPercent": 0.0,
        "topCpu": [],
        "topMemory": [],
    }


def test_summary_adds_all_rows_and_shows_five() -> None:
    rows = [fleet_row(f"c{n}", cpu=n, usage=10 * n, limit=100, percent=100 - n) for n in range(1, 7)]
    found = summarise(rows, 0)
    assert (found.watched_count, found.avg_cpu_percent) == (6, 3.5)
    assert (found.total_memory_usage_bytes, found.total_memory_limit_bytes) == (210, 600)
    assert found.total_memory_percent == 35.0
    assert [each.name for each in found.top_cpu] == ["c6", "c5", "c4", "c3", "c2"]
    assert [each.name for each in found.top_memory] == ["c1", "c2", "c3", "c4", "c5"]


def test_summary_clamps_the_mean_and_breaks_ties_by_name() -> None:
    found = summarise([fleet_row("b", cpu=180), fleet_row("a", cpu=180)], 0)
    assert found.avg_cpu_percent == 100.0
    assert [each.name for each in found.top_cpu] == ["a", "b"]
    assert [each.name for each in found.top_memory] == ["a", "b"]


@contextmanager
def looking(stage: Stage) -> Iterator[Reader[Tick]]:
    reader: Reader[Tick] = Reader()
    with stage.fleet.joined(reader):
        yield reader


class Stage:
    def __init__(self) -> None:
        self.clock = ManualClock(NEW_YEAR_MS)
        self.engine = ScriptedEngine()
        self.watched = Watched(container("a"), container("b"), container("off", status="exited"))
        self.engine.stats_of = {"a": stats_document(cpu=1.0), "b": stats_document(cpu=0.2)}
        self.fleet = Aggregator(self.watched, one_host(self.engine), self.clock, StatsSettings())


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    running = asyncio.create_task(stage.fleet.run())
    yield stage
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert not +stage.engine.open


async def test_nobody_looks_nothing_is_asked(stage: Stage) -> None:
    for _ in range(20):
        await stage.clock.pass_time(10)
    assert not stage.engine.calls


async def test_the_first_read_starts_a_round_and_the_next_ones_ask_nothing(stage: Stage) -> None:
    await stage.clock.pass_time(100)
    first = await stage.fleet.read()
    assert (first.watched_count, first.timestamp) == (2, "2026-01-01T00:01:40.000Z")
    await stage.clock.pass_time(9.9)
    assert await stage.fleet.read() == first
    assert stage.engine.calls["stats_once"] == 2


async def test_rounds_follow_the_interval_and_stop_when_nobody_reads(stage: Stage) -> None:
    await stage.fleet.read()
    await stage.clock.pass_time(10)
    assert (await stage.fleet.read()).timestamp == "2026-01-01T00:00:10.000Z"
    await stage.clock.pass_time(300)
    asked = stage.engine.calls["stats_once"]
    await stage.clock.pass_time(300)
    assert stage.engine.calls["stats_once"] == asked
    assert (await stage.fleet.read()).timestamp == "2026-01-01T00:10:10.000Z"


async def test_every_viewer_gets_every_round(stage: Stage) -> None:
    with looking(stage) as one, looking(stage) as two:
        for _ in range(3):
            await stage.clock.pass_time(10)
            tick = await one.next()
            assert tick is await two.next()
            assert msgspec.json.decode(tick.encoded) == msgspec.to_builtins(tick.summary)


async def test_failing_and_unreachable_containers_are_left_out(stage: Stage) -> None:
    stage.engine.stats_of["b"] = EngineError("no")
    stage.watched.items["c"] = container("c", watcher="gone")
    stage.watched.items["d"] = container("d")
    stage.engine.stats_of["d"] = {"read": "0001-01-01T00:00:00Z"}
    summary = await stage.fleet.read()
    assert [each.name for each in summary.top_cpu] == ["a"]
    assert summary.watched_count == 1


async def test_the_second_round_measures_from_the_first(stage: Stage) -> None:
    await stage.fleet.read()
    stage.engine.stats_of["a"] = {
        **stats_document(),
        "cpu_stats": {"cpu_usage": {"total_usage": 11_000 + 1_500}, "system_cpu_usage": 24_000, "online_cpus": 2},
    }
    await stage.clock.pass_time(10)
    assert (await stage.fleet.read()).top_cpu[0].cpu_percent == 150.0


async def test_at_most_ten_calls_at_once_and_no_overlapping_rounds(stage: Stage) -> None:
    release, most = asyncio.Event(), 0

    async def slow() -> dict[str, object]:
        nonlocal most
        most = max(most, stage.engine.open["stats_once"])
        await release.wait()
        return stats_document()

    for number in range(30):
        stage.watched.items[f"n{number}"] = container(f"n{number}")
        stage.engine.stats_of[f"n{number}"] = slow
    with looking(stage) as reader:
        await stage.clock.pass_time(25)
        await reader.next()
        assert (most, stage.engine.calls["stats_once"]) == (10, 12)
        release.set()
        assert (await reader.next()).summary.watched_count == 32


async def test_five_hundred_readers_need_no_task_of_their_own(stage: Stage) -> None:
    tasks = len(asyncio.all_tasks())
    readers = [looking(stage) for _ in range(500)]
    places = [each.__enter__() for each in readers]
    await stage.clock.pass_time(0)
    assert len({id(await place.next()) for place in places}) == 1
    for each in readers:
        each.__exit__(None, None, None)
    assert len(asyncio.all_tasks()) == tasks
