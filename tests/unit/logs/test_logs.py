"""Downloads and live viewers (container-api.md §9), over a scripted Engine that counts what is open."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drydock.clock import SystemClock
from drydock.core.errors import EngineError, NotFound, PayloadTooLarge
from drydock.docker.logs import LogLine
from drydock.logs.room import Logs, NotRunning
from drydock.logs.selection import (
    Selection,
    download_tail,
    file_name,
    since_seconds,
    stream_tail,
)
from drydock.logs.stream import BacklogDedup, is_precise
from drydock.logs.viewer import WAITING_LIMIT, Viewer, ViewerTooSlow
from fakes.hosts import one_host
from fakes.printing import PrintedLog
from fakes.scripted_engine import ScriptedEngine, Watched, container
from kit.wait import until


class Stage:
    def __init__(self, stall_s: float = 60) -> None:
        self.engine = ScriptedEngine()
        self.watched = Watched(container("a"), container("off", status="exited"), container("lost", watcher="gone"))
        self.service = Logs(self.watched, one_host(self.engine), SystemClock(), stall_s=stall_s)
        self.log = self.prints("a")

    def prints(self, ref: str, **options: Any) -> PrintedLog:
        log = self.engine.logs_of[ref] = PrintedLog(**options)
        if options.get("tty"):
            self.engine.tty.add(ref)
        return log

    async def download(self, ref: str = "a", **wanted: Any) -> list[str]:
        timestamps = wanted.pop("timestamps", False)
        found = self.watched.need(ref)
        return (await self.service.download(found, Selection(**wanted), timestamps=timestamps)).decode().splitlines()

    @contextlib.asynccontextmanager
    async def looking(self, *, follow: bool = True, ref: str = "a", **wanted: Any) -> AsyncIterator[Client]:
        async with self.service.viewer(ref, Selection(**{"tail": 100, **wanted}), follow=follow) as viewer:
            client = Client(viewer)
            try:
                yield client
            finally:
                await client.stop()


class Client:
    """Takes everything a viewer has."""

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.messages: list[dict[str, str]] = []
        self.ended = False
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while batch := await self.viewer.take():
            self.messages += [json.loads(each) for each in batch]
        self.ended = True

    @property
    def lines(self) -> list[str]:
        return [each["line"] for each in self.messages]

    async def until(self, *lines: str) -> None:
        with contextlib.suppress(AssertionError):
            await until(lambda: self.lines == list(lines), "lines", 5)
        assert self.lines == list(lines)

    async def end(self) -> None:
        await until(lambda: self.ended, "end of the log", 3)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    assert not +stage.engine.open
    assert stage.service.open_streams() == 0


# reading the query


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("0", 0),
        ("1767225600", 1767225600),
        ("2026-01-01T00:00:00Z", 1767225600),
        ("2026-01-01T00:00:00.999Z", 1767225600),
        ("2026-01-01T01:00:00+01:00", 1767225600),
        ("2026-01-01T00:00:00", 1767225600),
        ("-5", 0),
        ("1969-12-31T23:59:59Z", 0),
        ("99999999999999", 0),
        ("9" * 40, 0),
        ("yesterday", 0),
        ("2026-13-01T00:00:00Z", 0),
        ("١٢٣", 0),
    ],
)
def test_since(text: str | None, seconds: int) -> None:
    assert since_seconds(text) == seconds


def test_tails_and_file_names() -> None:
    assert [download_tail(each) for each in (-5, 0, 5, 99_999)] == [0, 0, 5, 10_000]
    assert [stream_tail(each) for each in (-5, 0, 5, 99_999)] == [100, 0, 5, 10_000]
    assert [file_name(each) for each in ("web", 'a"b/c ü', "")] == [
        "web-logs.txt",
        "a_b_c__-logs.txt",
        "container-logs.txt",
    ]


@given(st.text())
def test_no_since_breaks(text: str) -> None:
    assert since_seconds(text) >= 0


# downloads


async def test_download_is_the_last_lines_in_order_without_headers(stage: Stage) -> None:
    for number in range(1500):
        stage.log.print(f"line {number}", "stderr" if number % 3 == 0 else "stdout")
    assert await stage.download() == [f"line {number}" for number in range(500, 1500)]
    assert await stage.download(tail=5) == [f"line {number}" for number in range(1495, 1500)]
    assert (await stage.download(tail=1, timestamps=True))[0].startswith("2001-09-09T01:46:40.00150")


async def test_a_tail_of_one_stream_is_as_long_as_asked(stage: Stage) -> None:
    for number in range(3):
        stage.log.print(f"early {number}", "stderr")
    for number in range(5000):
        stage.log.print(f"noise {number}")
    assert await stage.download(stdout=False, tail=3) == ["early 0", "early 1", "early 2"]
    assert await stage.download(stdout=False, tail=2) == ["early 1", "early 2"]
    assert await stage.download(stderr=False, tail=2) == ["noise 4998", "noise 4999"]
    stage.log.print("late", "stderr")
    assert await stage.download(stdout=False, tail=1) == ["late"]
    assert stage.log.requests[-1]["tail"] == 1


async def test_nothing_wanted_asks_nothing(stage: Stage) -> None:
    assert await stage.download(stdout=False, stderr=False) == []
    assert not stage.engine.calls


async def test_since_is_given_to_the_engine(stage: Stage) -> None:
    stage.log.print("old")
    stage.log.print("new", seconds=60)
    assert await stage.download(since=10**9 + 60) == ["new"]


async def test_tty_and_binary_and_cut_characters(stage: Stage) -> None:
    tty = stage.prints("t", tty=True)
    stage.watched.items["t"] = container("t")
    tty.print("a\r")
    assert await stage.download("t") == ["a", ""] or await stage.download("t") == ["a"]
    assert await stage.download("t", stdout=False) == []
    stage.log.print(b"\xff\x00\x01")
    assert await stage.download() == ["\ufffd\0\x01"]


async def test_a_character_over_two_frames(stage: Stage) -> None:
    async def cut(options: dict[str, Any]) -> AsyncIterator[bytes]:
        half = "ü".encode()
        data = b"".join(b"\1\0\0\0\0\0\0" + bytes([len(part)]) + part for part in (half[:1], half[1:] + b"\n"))
        for place in range(len(data)):
            yield data[place : place + 1]
        yield b"\1\0\0\0\0\0\0\x09cut"

    stage.engine.logs_of["a"] = cut
    assert await stage.download() == ["ü", "cut"]


@given(st.text(max_size=50), st.integers(1, 5), st.integers(1, 20))
def test_download_keeps_characters_that_span_frames_and_chunks(text: str, frame: int, chunk: int) -> None:
    raw = text.encode("utf-8", "replace")
    parts = [raw[at : at + frame] for at in range(0, len(raw), frame)]
    data = b"".join(b"\1\0\0\0" + len(part).to_bytes(4) + part for part in parts)

    async def cut(options: dict[str, Any]) -> AsyncIterator[bytes]:
        for at in range(0, len(data), chunk):
            yield data[at : at + chunk]

    async def downloaded() -> bytes:
        stage = Stage()
        stage.engine.logs_of["a"] = cut
        return await stage.service.download(stage.watched.need("a"), Selection(), timestamps=False)

    assert asyncio.run(downloaded()) == raw


async def test_over_sixteen_mebibytes_stops_reading(stage: Stage) -> None:
    sent = 0

    async def huge(options: dict[str, Any]) -> AsyncIterator[bytes]:
        nonlocal sent
        payload = b"x" * (1024 * 1024 - 1) + b"\n"
        for _ in range(64):
            sent += 1
            yield b"\1\0\0\0" + len(payload).to_bytes(4) + payload

    stage.engine.logs_of["a"] = huge
    with pytest.raises(PayloadTooLarge):
        await stage.download()
    assert sent == 17
    with pytest.raises(PayloadTooLarge):
        await stage.download(stderr=False, tail=1000)


async def test_downloads_fail_with_their_reason() -> None:
    stage = Stage(stall_s=0.2)

    async def hangs(options: dict[str, Any]) -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    stage.engine.logs_of["a"] = hangs
    with pytest.raises(EngineError, match=r"no log data for 0\.2 s"):
        await stage.download()
    with pytest.raises(EngineError, match="Watcher gone is not running"):
        await stage.download("lost")
    with pytest.raises(NotFound):
        await stage.download("nobody")
    stage.engine.logs_of.pop("a")
    with pytest.raises(EngineError, match="No such container"):
        await stage.download()


# live viewers


async def test_backlog_then_new_lines(stage: Stage) -> None:
    stage.log.print("one")
    stage.log.print("two", "stderr")
    async with stage.looking() as client:
        await client.until("one", "two")
        stage.log.print("")
        stage.log.print("\x1b[31mred\x1b[0m\r")
        await client.until("one", "two", "", "\x1b[31mred\x1b[0m")
        assert client.messages[1] == {"type": "stderr", "ts": "2001-09-09T01:46:40.000002000Z", "line": "two"}
        stage.log.finish()
        await client.end()
    assert client.viewer.error is None


async def test_viewers_share_one_stream_and_each_has_its_own_view(stage: Stage) -> None:
    for number in range(5):
        stage.log.print(f"old {number}", "stderr" if number == 1 else "stdout")
    async with stage.looking() as all_, stage.looking(tail=1) as short, stage.looking(stdout=False) as errors:
        await all_.until(*(f"old {number}" for number in range(5)))
        await short.until("old 4")
        await errors.until("old 1")
        stage.log.print("new")
        stage.log.print("bad", "stderr")
        await all_.until(*(f"old {number}" for number in range(5)), "new", "bad")
        await short.until("old 4", "new", "bad")
        await errors.until("old 1", "bad")
        assert (stage.engine.open["logs:follow"], stage.service.open_streams()) == (1, 1)
    assert stage.engine.calls["logs:follow"] == 1


async def test_follow_false_ends_after_the_backlog(stage: Stage) -> None:
    for number in range(300):
        stage.log.print(str(number))
    async with stage.looking(follow=False) as client:
        await client.end()
    assert client.lines == [str(number) for number in range(200, 300)]
    assert stage.engine.calls["logs:follow"] == 0


async def test_lines_in_backlog_and_live_stream_appear_once(stage: Stage) -> None:
    """Lines keep coming while viewers come: none is lost, none is doubled."""
    writing = True

    async def write() -> None:
        number = 0
        while writing:
            for _ in range(7):
                stage.log.print(f"{number}", "stderr" if number % 2 else "stdout")
                number += 1
            await asyncio.sleep(0)
        stage.log.finish()

    writer = asyncio.create_task(write())
    async with contextlib.AsyncExitStack() as stack:
        clients = []
        for _ in range(20):
            clients.append(await stack.enter_async_context(stage.looking(tail=50)))
            come = len(stage.log.entries)
            await until(lambda: len(stage.log.entries) > come + 20, "more lines")  # noqa: B023  # awaited at once
        writing = False
        await writer
        for client in clients:
            await client.end()
    last = int(stage.log.entries[-1].text)
    for client in clients:
        numbers = [int(line) for line in client.lines]
        assert numbers == list(range(numbers[0], last + 1))
    assert stage.engine.calls["logs:follow"] == 1


async def test_coarse_timestamps_get_a_stream_of_their_own(stage: Stage) -> None:
    log = stage.prints("a", precise=False)
    for number in range(5):
        log.print(f"same {number}")
    async with stage.looking(tail=3) as one, stage.looking(tail=1) as two:
        await one.until("same 2", "same 3", "same 4")
        await two.until("same 4")
        log.print("same 4")
        await one.until("same 2", "same 3", "same 4", "same 4")
        await two.until("same 4", "same 4")
        assert stage.service.open_streams() == 0
        log.finish()
        await one.end()


async def test_a_viewer_whose_start_lies_in_the_future_does_not_share(stage: Stage) -> None:
    async with stage.looking(since=4_000_000_000) as client:
        await until(lambda: stage.engine.open["logs:follow"], "own stream")
        assert stage.service.open_streams() == 0
        stage.log.print("now")
        stage.log.finish()
        await client.end()
    assert client.lines == []


async def test_an_engine_that_does_not_announce_itself_only_delays(stage: Stage) -> None:
    log = stage.prints("a", announce=False)
    log.print("old")
    async with stage.looking() as client:
        await client.until("old")
        log.print("new")
        await client.until("old", "new")


async def test_who_may_not_look(stage: Stage) -> None:
    for ref, kind in (("nobody", NotFound), ("off", NotRunning), ("lost", EngineError)):
        with pytest.raises(kind):
            async with stage.looking(ref=ref):
                pass
    assert not stage.engine.calls


async def test_a_stream_that_breaks_ends_every_viewer_with_the_reason(stage: Stage) -> None:
    stage.log.print("one")
    async with stage.looking() as first, stage.looking() as second:
        await first.until("one")
        await second.until("one")
        stage.log.fail(EngineError("Engine went away"))
        await first.end()
        await second.end()
    assert str(first.viewer.error) == str(second.viewer.error) == "Engine went away"


async def test_a_container_the_engine_does_not_know(stage: Stage) -> None:
    stage.engine.logs_of.pop("a")
    async with stage.looking() as client:
        await client.end()
    assert isinstance(client.viewer.error, EngineError)


async def test_a_stalled_viewer_is_cut_off_and_delays_nobody(stage: Stage) -> None:
    async with stage.service.viewer("a", Selection(tail=0), follow=True) as stalled, stage.looking(tail=0) as client:
        await until(lambda: stage.engine.open["logs:follow"], "stream")
        await until(lambda: stage.engine.calls["inspect"] == 2, "both sit")
        for number in range(3 * WAITING_LIMIT // 1000):
            stage.log.print(f"{number} " + "x" * 1000)
            await asyncio.sleep(0)
        total = len(stage.log.entries)
        await until(lambda: len(client.lines) == total, "all lines")
        assert stalled.cut_off.is_set()
        assert isinstance(stalled.error, ViewerTooSlow)
        assert stalled.waiting_bytes == 0
        assert client.viewer.error is None


async def test_a_long_backlog_waits_for_its_viewer(stage: Stage) -> None:
    for number in range(5000):
        stage.log.print(f"{number} " + "x" * 1000)
    async with stage.service.viewer("a", Selection(tail=5000), follow=False) as viewer:
        await until(lambda: viewer.waiting_bytes, "first portion")
        for _ in range(200):
            await asyncio.sleep(0)
        assert viewer.waiting_bytes < WAITING_LIMIT
        client = Client(viewer)
        await client.end()
    assert len(client.lines) == 5000


async def test_a_thousand_viewers_leave_nothing_behind(stage: Stage) -> None:
    stage.log.print("one")
    tasks = len(asyncio.all_tasks())
    for number in range(1000):
        async with stage.service.viewer("a", Selection(tail=1), follow=True) as viewer:
            if number % 2:
                await viewer.take()
    await until(lambda: len(asyncio.all_tasks()) == tasks, "tasks gone")
    assert not +stage.engine.open
    assert stage.service.open_streams() == 0


def test_precise_timestamps() -> None:
    stamps = ("2026-01-01T00:00:00.123456789Z", "2026-01-01T00:00:00.000000000Z", "2026-01-01T00:00:00Z", "")
    assert [is_precise(LogLine("stdout", each, "")) for each in stamps] == [True, False, False, False]


@given(st.lists(st.sampled_from(["stdout", "stderr"]), max_size=40), st.data())
def test_any_overlap_of_backlog_and_live_is_joined_exactly(kinds: list[Any], data: Any) -> None:
    lines = [LogLine(kind, f"2026-01-01T00:00:00.{n:09d}Z", f"{n}") for n, kind in enumerate(kinds, 1)]
    live_from = data.draw(st.integers(0, len(lines)))
    backlog_to = data.draw(st.integers(live_from, len(lines)))
    backlog_from = data.draw(st.integers(0, backlog_to))
    dedup = BacklogDedup()
    for line in lines[backlog_from:backlog_to]:
        dedup.remember(line)
    dedup.complete()
    live = [line for line in lines[live_from:] if not dedup.repeats(line)]
    expected = lines[backlog_from:] if backlog_from < backlog_to else lines[live_from:]
    assert lines[backlog_from:backlog_to] + live == expected


def test_a_new_line_of_the_other_stream_may_be_older_by_a_breath() -> None:
    stamps = [f"2026-01-01T00:00:00.00000000{number}Z" for number in range(10)]
    dedup = BacklogDedup()
    for kind, number in (("stderr", 2), ("stdout", 5)):
        dedup.remember(LogLine(kind, stamps[number], ""))
    dedup.complete()
    assert not dedup.repeats(LogLine("stderr", stamps[4], "new"))
    assert dedup.repeats(LogLine("stdout", stamps[4], "before the tail"))
    assert dedup.repeats(LogLine("stdout", stamps[5], ""))
    assert not dedup.repeats(LogLine("stdout", stamps[6], "newer"))
