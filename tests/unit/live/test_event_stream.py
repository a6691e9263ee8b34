"""Ring, replay and limits of the event stream (platform-api.md §12.3)."""

from __future__ import annotations

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from drydock.live.event_stream import PER_SESSION, RING, EventStream, TooManyStreams
from kit.clock import ManualClock


class Sink:
    """A client that takes `room` frames."""

    def __init__(self, room: int = 10_000) -> None:
        self.frames: list[bytes] = []
        self.room = room
        self.closed = False
        self.congested = False

    def offer(self, item: bytes) -> bool:
        if self.closed or len(self.frames) >= self.room:
            return False
        self.frames.append(item)
        return True

    def close(self) -> None:
        self.closed = True


def make(**options: int) -> tuple[ManualClock, EventStream]:
    clock = ManualClock()
    return clock, EventStream(clock, boot_id="boot", **options)


def replay(stream: EventStream, last: str) -> list[str]:
    """Names and ids of what a returning client gets before `dd:connected`."""
    joined = stream.join(Sink, "a", None, last)
    stream.leave(joined.client)
    return [frame.decode().split("\n")[0] for frame in joined.first[:-1]]


@given(sent=st.integers(0, 40), seen=st.integers(0, 45), wait_after=st.integers(0, 40))
def test_a_returning_client_gets_exactly_what_it_missed_or_is_told_to_start_again(
    sent: int, seen: int, wait_after: int
) -> None:
    clock, stream = make()
    for number in range(sent):
        if number == wait_after:
            clock.advance(301)
        stream.send("dd:x", {"n": number})
    lost = wait_after if wait_after < sent else 0
    got = replay(stream, f"boot:{seen}")
    if seen > sent or seen < lost:
        assert len(got) == 1
    else:
        assert got == [f"id: boot:{number}" for number in range(seen + 1, sent + 1)]


def test_the_ring_keeps_five_hundred() -> None:
    _, stream = make()
    for number in range(RING + 10):
        stream.send("dd:x", {"n": number})
    assert len(replay(stream, "boot:10")) == RING
    joined = stream.join(Sink, "a", None, "boot:9")
    assert b"buffer-evicted" in joined.first[0]


def test_resyncs_of_others_are_not_events_that_one_missed() -> None:
    clock, stream = make()
    stream.send("dd:x", {})
    clock.advance(301)
    replay(stream, "boot:0")
    assert replay(stream, "boot:1") == []


def test_all_clients_get_the_same_bytes() -> None:
    _, stream = make()
    sinks = [Sink() for _ in range(3)]
    for number, sink in enumerate(sinks):
        stream.join(lambda sink=sink: sink, f"a{number}", None, None)
    stream.send("dd:x", {"n": 1})
    assert sinks[0].frames[0] is sinks[1].frames[0] is sinks[2].frames[0]


def test_a_full_client_is_closed_and_the_others_go_on() -> None:
    _, stream = make()
    slow, good = Sink(room=1), Sink()
    stream.join(lambda: slow, "a", None, None)
    stream.join(lambda: good, "b", None, None)
    for number in range(3):
        stream.send("dd:x", {"n": number})
    assert slow.closed
    assert len(good.frames) == 3


def test_heartbeats_skip_whoever_has_something_waiting() -> None:
    _, stream = make()
    idle, busy = Sink(), Sink()
    busy.congested = True
    stream.join(lambda: idle, "a", None, None)
    stream.join(lambda: busy, "b", None, None)
    stream.beat()
    assert idle.frames == [b"event: dd:heartbeat\ndata: {}\n\n"]
    assert busy.frames == []


def test_limits_are_released_exactly_once() -> None:
    _, stream = make(most_clients=3)
    joined = [stream.join(Sink, f"a{number}", None, None) for number in range(3)]
    with pytest.raises(TooManyStreams):
        stream.join(Sink, "b", None, None)
    for _ in range(2):
        stream.leave(joined[0].client)
    stream.join(Sink, "b", None, None)
    with pytest.raises(TooManyStreams):
        stream.join(Sink, "b", None, None)


def test_ten_per_session() -> None:
    _, stream = make()
    for number in range(PER_SESSION):
        stream.join(Sink, f"a{number}", "s", None)
    with pytest.raises(TooManyStreams):
        stream.join(Sink, "other", "s", None)
    stream.join(Sink, "other", "t", None)


def test_clients_that_are_gone_leave_at_the_sweep() -> None:
    clock = ManualClock()
    stream = EventStream(clock)
    taken, untaken, closed = (stream.join(Sink, "10.0.0.1", None, None).client for _ in range(3))
    taken.taken = closed.taken = True
    stream.sweep()
    assert len(stream) == 3, "they may still be about to start"
    clock.advance(61)
    closed.receiver.close()
    stream.sweep()
    assert stream.client_ids() == {taken.id}
    stream.leave(untaken)
    for _ in range(9):
        stream.join(Sink, "10.0.0.1", None, None)
    with pytest.raises(TooManyStreams):
        stream.join(Sink, "10.0.0.1", None, None)


@pytest.mark.parametrize("raw", [True, False])
def test_addresses_in_the_log_are_hashed_unless_asked_for(raw: bool) -> None:
    first, second = EventStream(ManualClock(), log_addresses=raw), EventStream(ManualClock(), log_addresses=raw)
    with structlog.testing.capture_logs() as lines:
        for stream in (first, first, second):
            stream.join(Sink, "10.0.0.1", None, None)
    shown = [line["address"] for line in lines if line["event"] == "sse.joined"]
    if raw:
        assert shown == ["10.0.0.1"] * 3
    else:
        assert shown[0] == shown[1] != shown[2]
        assert all(len(text) == 8 for text in shown)
