"""Ring, replay and limits of the event stream (platform-api.md §12.3)."""

from __future__ import annotations

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from drydock.live.event_stream import PER_SESSION, RING, EventStream, TooManyStreams
from drydock.sse import Channel, Streams
from kit.clock import ManualClock


async def taken(channel: Channel) -> list[bytes]:
    """Everything that waits in a channel."""
    return [await channel.get() or b"" for _ in range(channel.waiting)]


def make(**options: int) -> tuple[ManualClock, EventStream]:
    clock = ManualClock()
    return clock, EventStream(clock, Streams(), boot_id="boot", **options)


def replay(stream: EventStream, last: str) -> list[str]:
    """Names and ids of what a returning client gets before `dd:connected`."""
    joined = stream.join("a", None, last)
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
    joined = stream.join("a", None, "boot:9")
    assert b"buffer-evicted" in joined.first[0]


def test_resyncs_of_others_are_not_events_that_one_missed() -> None:
    clock, stream = make()
    stream.send("dd:x", {})
    clock.advance(301)
    replay(stream, "boot:0")
    assert replay(stream, "boot:1") == []


async def test_all_clients_get_the_same_bytes() -> None:
    _, stream = make()
    clients = [stream.join(f"a{number}", None, None).client for number in range(3)]
    stream.send("dd:x", {"n": 1})
    first, second, third = [await client.channel.get() for client in clients]
    assert first is second is third


async def test_a_full_client_is_closed_and_the_others_go_on() -> None:
    _, stream = make()
    slow, good = (stream.join(address, None, None).client.channel for address in "ab")
    for _ in range(255):
        slow.offer(b"unread")
    for number in range(3):
        stream.send("dd:x", {"n": number})
    assert slow.closed
    assert len(await taken(good)) == 3


def test_limits_are_released_exactly_once() -> None:
    _, stream = make(most_clients=3)
    joined = [stream.join(f"a{number}", None, None) for number in range(3)]
    with pytest.raises(TooManyStreams):
        stream.join("b", None, None)
    for _ in range(2):
        stream.leave(joined[0].client)
    stream.join("b", None, None)
    with pytest.raises(TooManyStreams):
        stream.join("b", None, None)


def test_ten_per_session() -> None:
    _, stream = make()
    for number in range(PER_SESSION):
        stream.join(f"a{number}", "s", None)
    with pytest.raises(TooManyStreams):
        stream.join("other", "s", None)
    stream.join("other", "t", None)


def test_clients_that_are_gone_leave_at_the_sweep() -> None:
    clock = ManualClock()
    stream = EventStream(clock, Streams())
    taken, untaken, closed = (stream.join("10.0.0.1", None, None).client for _ in range(3))
    taken.taken = closed.taken = True
    stream.sweep()
    assert len(stream) == 3, "they may still be about to start"
    clock.advance(61)
    closed.channel.close()
    stream.sweep()
    assert stream.client_ids() == {taken.id}
    stream.leave(untaken)
    for _ in range(9):
        stream.join("10.0.0.1", None, None)
    with pytest.raises(TooManyStreams):
        stream.join("10.0.0.1", None, None)


@pytest.mark.parametrize("raw", [True, False])
def test_addresses_in_the_log_are_hashed_unless_asked_for(raw: bool) -> None:
    first, second = (
        EventStream(ManualClock(), Streams(), log_addresses=raw),
        EventStream(ManualClock(), Streams(), log_addresses=raw),
    )
    with structlog.testing.capture_logs() as lines:
        for stream in (first, first, second):
            stream.join("10.0.0.1", None, None)
    shown = [line["address"] for line in lines if line["event"] == "sse.joined"]
    if raw:
        assert shown == ["10.0.0.1"] * 3
    else:
        assert shown[0] == shown[1] != shown[2]
        assert all(len(text) == 8 for text in shown)
