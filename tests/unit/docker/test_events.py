"""Framing of the event stream, and the listener's patience (watching.md §6, §17.4 7 and 8)."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drydock.core.errors import EngineError, EngineUnreachable
from drydock.docker.events import LONGEST_TAIL, EventListener, EventParser


def parse(chunks: Sequence[bytes]) -> list[dict[str, object]]:
    parser = EventParser()
    return [document for chunk in chunks for document in parser.feed(chunk)]


documents = st.lists(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9), max_size=4), max_size=8)


@given(documents, st.lists(st.integers(min_value=0), max_size=20))
def test_events_are_the_same_however_the_stream_is_cut(wanted: list[dict[str, object]], cuts: list[int]) -> None:
    data = b"".join(json.dumps(document).encode() + b"\n" for document in wanted)
    marks = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    assert parse([data[a:b] for a, b in itertools.pairwise(marks)]) == wanted


@given(st.binary(max_size=200))
def test_garbage_never_raises(data: bytes) -> None:
    parse([data, b"\n"])


@pytest.mark.parametrize(
    ("chunks", "wanted"),
    [
        ([b'{"a":1}\n{"a":2}\n'], [{"a": 1}, {"a": 2}]),
        ([b'{"a":', b"1}\n"], [{"a": 1}]),
        ([b'{"a":1}'], [{"a": 1}]),
        ([b'{"a":{"b":1}', b"}"], [{"a": {"b": 1}}]),
        ([b'\n\r\n  \n{"a":1}\r\n'], [{"a": 1}]),
        ([b'{oops}\n{"a":1}\n'], [{"a": 1}]),
        ([b"[1]\n7\nnull\n"], []),
        ([b"{oops}", b'{"a":1}\n'], [{"a": 1}]),
    ],
)
def test_framing(chunks: list[bytes], wanted: list[dict[str, object]]) -> None:
    assert parse(chunks) == wanted


def test_a_mebibyte_without_end_of_line_ends_the_stream() -> None:
    parser = EventParser()
    parser.feed(b"x" * LONGEST_TAIL)
    with pytest.raises(EngineError, match="1 MiB"):
        parser.feed(b"x")


class Waits:
    """A clock whose waiting is recorded and takes no time."""

    def __init__(self) -> None:
        self.waited: list[float] = []

    def now_ms(self) -> int:
        return 0

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        await asyncio.sleep(0)


class Script:
    """An Engine whose every connection is scripted: an error before it opens, or events and how it ends."""

    def __init__(self, *connections: Exception | list[object]) -> None:
        self._connections = list(connections)
        self.since: list[int | None] = []
        self.done = asyncio.Event()

    async def version(self) -> dict[str, object]:
        if not self._connections:
            self.done.set()
            await asyncio.Event().wait()
        return {}

    async def events(self, *, filters: object, since: int | None, on_open: Callable[[], None]) -> AsyncIterator[object]:
        self.since.append(since)
        step = self._connections.pop(0)
        if isinstance(step, Exception):
            raise step
        on_open()
        for event in step:
            if isinstance(event, Exception):
                raise event
            yield event


async def listen(script: Script, handler: Callable[[object], None] = lambda _: None) -> tuple[list[float], int]:
    clock, again = Waits(), []
    listener = EventListener(script, handler, clock, on_reconnect=lambda: again.append(1))  # type: ignore[arg-type]
    task = asyncio.create_task(listener.run())
    await asyncio.wait_for(script.done.wait(), 10)
    task.cancel()
    return clock.waited, len(again)


async def test_delays_double_to_thirty_seconds_and_start_anew_after_success() -> None:
    down = EngineUnreachable("gone")
    script = Script([down], down, down, down, down, down, down, [], down)
    waited, reconnects = await listen(script)
    assert waited == [1, 2, 4, 8, 16, 30, 30, 1, 2]
    assert reconnects == 1


async def test_a_first_stream_that_took_several_attempts_has_missed_something() -> None:
    _, reconnects = await listen(Script(EngineUnreachable("not yet"), []))
    assert reconnects == 1


async def test_the_state_of_the_engine_is_told_but_a_refusal_is_no_loss() -> None:
    script = Script([], EngineUnreachable("gone"), EngineError("403: events are forbidden"), [])
    told: list[str | None] = []
    listener = EventListener(
        script,  # type: ignore[arg-type]  # scripted
        lambda _: None,
        Waits(),
        on_reconnect=lambda: None,
        on_state=told.append,
    )
    task = asyncio.create_task(listener.run())
    await asyncio.wait_for(script.done.wait(), 10)
    task.cancel()
    assert told == [None, "gone", None]


async def test_a_closed_stream_is_opened_again_after_its_last_event() -> None:
    seen: list[object] = []
    script = Script([{"timeNano": 5}, {"timeNano": 9}], [{"id": "x"}], [{"timeNano": 12}])
    waited, reconnects = await listen(script, seen.append)
    assert script.since == [None, 10, 10]
    assert waited == [1, 1, 1]
    assert reconnects == 2
    assert seen == [{"timeNano": 5}, {"timeNano": 9}, {"id": "x"}, {"timeNano": 12}]


async def test_what_the_handler_raises_ends_the_listener() -> None:
    def refuse(_: object) -> None:
        raise ValueError("handler")

    listener = EventListener(Script([{"id": "x"}]), refuse, Waits(), on_reconnect=lambda: None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="handler"):
        await asyncio.wait_for(listener.run(), 10)
