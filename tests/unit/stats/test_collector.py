"""Collection with an audience only (container-api.md §10.2, §10.3), with a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from drydock.core.errors import EngineError, NotFound
from drydock.docker.api import Document
from drydock.latest import Reader
from drydock.stats.room import Stats
from drydock.stats.settings import StatsSettings
from drydock.stats.snapshot import Snapshot
from drydock.supervisor import Supervisor
from fakes.hosts import one_host
from fakes.scripted_engine import ScriptedEngine, Watched, container, stats_document
from kit.clock import NEW_YEAR_MS, ManualClock
from kit.wait import settle


@contextmanager
def looking(stage: Stage, container_id: str = "a") -> Iterator[Reader[Snapshot]]:
    reader: Reader[Snapshot] = Reader()
    with stage.service.joined(stage.watched.need(container_id), reader):
        yield reader


class Stage:
    """A service over a scripted Engine; every frame put into `frames` arrives at the stream."""

    def __init__(self, settings: StatsSettings = StatsSettings()) -> None:  # noqa: B008 - frozen
        self.clock = ManualClock(NEW_YEAR_MS)
        self.engine = ScriptedEngine()
        self.frames: asyncio.Queue[Document | Exception | None] = asyncio.Queue()
        self.engine.stats_of["a"] = stats_document()
        self.engine.frames_of["a"] = self._stream
        self.watched = Watched(container("a"), container("off", status="exited"))
        self.supervisor = Supervisor(self.clock)
        self.service = Stats(self.watched, one_host(self.engine), self.clock, self.supervisor, settings)

    async def _stream(self) -> AsyncIterator[Document]:
        while (frame := await self.frames.get()) is not None:
            if isinstance(frame, Exception):
                raise frame
            yield frame

    async def frame(self, frame: Document | Exception | None = None, *, end: bool = False) -> None:
        await self.frames.put(None if end else frame or stats_document())
        await settle()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    await stage.supervisor.stop()
    assert not +stage.engine.open


async def test_first_read_brings_a_snapshot_by_a_single_call(stage: Stage) -> None:
    answer = await stage.service.read("a")
    assert answer.data is not None
    assert answer.data.cpu_percent == 50.0
    assert answer.history == [answer.data]
    assert stage.engine.calls["stats_once"] == 1


async def test_samples_closer_than_the_interval_are_dropped_and_exactly_the_interval_is_accepted(stage: Stage) -> None:
    first = (await stage.service.read("a")).data
    for step in (9.999, 0.001, 9.0, 0.999):
        await stage.clock.pass_time(step)
        await stage.frame()
    stamps = [each.timestamp for each in (await stage.service.read("a")).history]
    assert first is not None
    assert stamps == [first.timestamp, "2026-01-01T00:00:10.000Z"]


async def test_history_is_a_ring(stage: Stage) -> None:
    await stage.service.read("a")
    with looking(stage):
        for _ in range(70):
            await stage.clock.pass_time(10)
            await stage.frame()
        history = (await stage.service.read("a")).history
    assert len(history) == 60
    assert history[-1].timestamp == "2026-01-01T00:11:40.000Z"
    assert history == sorted(history, key=lambda each: each.timestamp)


async def test_viewers_share_one_stream_which_ends_with_the_last(stage: Stage) -> None:
    with looking(stage) as first:
        await settle()
        with looking(stage) as second:
            assert (await first.next()) == (await second.next())
        await settle()
        assert (stage.engine.calls["stats"], stage.engine.open["stats"]) == (1, 1)
    await settle()
    assert stage.engine.open["stats"] == 0
    assert stage.service.collecting() == []
    assert stage.supervisor.names() == []


async def test_a_read_keeps_collection_alive_for_three_intervals_and_no_longer(stage: Stage) -> None:
    await stage.service.read("a")
    await stage.clock.pass_time(29.9)
    assert stage.engine.open["stats"] == 1
    await stage.service.read("a")
    await stage.clock.pass_time(29.9)
    assert stage.engine.open["stats"] == 1
    await stage.clock.pass_time(0.2)
    assert stage.engine.open["stats"] == 0
    assert stage.service.collecting() == []


async def test_short_intervals_keep_for_fifteen_seconds() -> None:
    assert (StatsSettings(interval_s=2).keep_s, StatsSettings(interval_s=60).keep_s) == (15.0, 180.0)


async def test_who_comes_while_the_last_leaves_gets_a_working_collector(stage: Stage) -> None:
    with looking(stage):
        await settle()
    with looking(stage) as reader:
        await settle()
        assert (await reader.next()).container_id == "a"
        assert stage.service.collecting() == ["a"]
        await stage.clock.pass_time(10)
        await stage.frame()
        assert (await reader.next()).timestamp == "2026-01-01T00:00:10.000Z"


async def test_a_lost_stream_is_opened_again_after_a_growing_pause(stage: Stage) -> None:
    with looking(stage):
        await settle()
        for pause, opened in ((1, 2), (2, 3), (4, 4)):
            await stage.frame(EngineError("gone"))
            await stage.clock.pass_time(pause - 0.01)
            assert stage.engine.calls["stats"] == opened - 1
            await stage.clock.pass_time(0.01)
            assert stage.engine.calls["stats"] == opened
        await stage.frame()
        await stage.frame(end=True)
        await stage.clock.pass_time(1)
        assert stage.engine.calls["stats"] == 5


async def test_an_engine_that_fails_leaves_nothing_instead_of_zeros(stage: Stage) -> None:
    stage.engine.stats_of["a"] = EngineError("no stats")
    answer = await stage.service.read("a")
    assert (answer.data, answer.history) == (None, [])


async def test_an_engine_that_hangs_holds_a_read_for_three_seconds(stage: Stage) -> None:
    stage.engine.stats_of["a"] = asyncio.Event().wait
    reading = asyncio.create_task(stage.service.read("a"))
    await stage.clock.pass_time(2.9)
    assert not reading.done()
    await stage.clock.pass_time(0.2)
    assert (await reading).data is None


async def test_frames_of_a_stopped_container_are_no_samples(stage: Stage) -> None:
    await stage.service.read("a")
    await stage.clock.pass_time(10)
    await stage.frame({"read": "0001-01-01T00:00:00Z"})
    assert len((await stage.service.read("a")).history) == 1


async def test_a_container_that_does_not_run_is_not_asked_about(stage: Stage) -> None:
    answer = await stage.service.read("off")
    assert (answer.data, answer.history) == (None, [])
    assert not stage.engine.calls


async def test_unknown_containers(stage: Stage) -> None:
    with pytest.raises(NotFound, match="Container not found"):
        await stage.service.read("nobody")
    with pytest.raises(NotFound), looking(stage, "nobody"):
        pass


async def test_a_thousand_viewers_leave_nothing_behind(stage: Stage) -> None:
    before = len(asyncio.all_tasks())
    for _ in range(1000):
        with looking(stage):
            await asyncio.sleep(0)
    await settle()
    assert len(asyncio.all_tasks()) == before
    assert stage.service.collecting() == []
    assert not +stage.engine.open
