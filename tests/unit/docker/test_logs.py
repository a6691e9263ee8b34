"""Frames, lines and text of container logs, cut anywhere."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drydock.docker.logs import LONGEST_LINE, Demultiplexer, LogLine, LogReader

STAMP = "2026-03-02T09:15:00.123456789Z"


def frame(stream: int, payload: bytes) -> bytes:
    return struct.pack(">BxxxL", stream, len(payload)) + payload


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    marks = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(marks)]


def read(data: list[bytes], *, tty: bool = False) -> list[LogLine]:
    reader = LogReader(tty=tty)
    return [line for chunk in data for line in reader.feed(chunk)] + reader.finish()


frames = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=20)


@given(frames, st.lists(st.integers(min_value=0), max_size=30))
def test_payloads_are_the_same_however_the_stream_is_cut(parts: list[tuple[int, bytes]], cuts: list[int]) -> None:
    data = b"".join(frame(stream, payload) for stream, payload in parts)
    demultiplexer = Demultiplexer()
    found = {1: b"", 2: b""}
    for chunk in pieces(data, cuts):
        for piece in demultiplexer.feed(chunk):
            found[piece.stream] += piece.payload
    for stream in (1, 2):
        assert found[stream] == b"".join(payload for kind, payload in parts if kind == stream)


@given(
    st.lists(
        st.tuples(st.sampled_from(["stdout", "stderr"]), st.text(st.characters(exclude_characters="\n\r"))), max_size=10
    ),
    st.lists(st.integers(min_value=0), max_size=30),
)
def test_lines_are_the_same_however_the_stream_is_cut(wanted: list[tuple[str, str]], cuts: list[int]) -> None:
    wanted = [(kind, text.encode("utf-8", "replace").decode()) for kind, text in wanted]
    data = b"".join(frame(1 if kind == "stdout" else 2, f"{STAMP} {text}\n".encode()) for kind, text in wanted)
    assert [(line.type, line.ts, line.line) for line in read(pieces(data, cuts))] == [
        (kind, STAMP, text) for kind, text in wanted
    ]


@given(st.binary(max_size=300))
def test_garbage_never_raises(data: bytes) -> None:
    read([data[:100], data[100:]])
    read([data], tty=True)


@pytest.mark.parametrize(
    ("payload", "ts", "line"),
    [
        (f"{STAMP} ready\n", STAMP, "ready"),
        (f"{STAMP} ready\r\n", STAMP, "ready"),
        (f"{STAMP} \n", STAMP, ""),
        (f"{STAMP}\n", "", STAMP),
        ("\n", "", ""),
        (f"{STAMP} \x1b[31mred\x1b[0m\n", STAMP, "\x1b[31mred\x1b[0m"),
        (f"{STAMP} no end", STAMP, "no end"),
    ],
)
def test_a_line(payload: str, ts: str, line: str) -> None:
    assert read([frame(1, payload.encode())]) == [LogLine("stdout", ts, line)]


def test_streams_keep_their_own_tails() -> None:
    data = frame(1, f"{STAMP} o".encode()) + frame(2, f"{STAMP} e\n".encode()) + frame(1, b"ut\n")
    assert [(line.type, line.line) for line in read([data])] == [("stderr", "e"), ("stdout", "out")]


def test_other_streams_are_ignored() -> None:
    assert read([frame(0, b"stdin\n") + frame(3, b"system\n") + frame(1, b"a b\n")]) == [LogLine("stdout", "a", "b")]


def test_the_timestamp_repeated_inside_a_long_line_is_removed() -> None:
    data = frame(1, f"{STAMP} {'a' * 100}".encode()) + frame(1, f"{STAMP} {'b' * 100}\n".encode())
    assert read([data]) == [LogLine("stdout", STAMP, "a" * 100 + "b" * 100)]


def test_invalid_bytes_become_replacement_characters() -> None:
    assert read([frame(1, b"t \xff\xfe\n")]) == [LogLine("stdout", "t", "��")]


def test_a_truncated_last_frame_loses_nothing_that_arrived() -> None:
    assert read([frame(1, b"t whole\n") + frame(1, b"t part of it")[:-3]])[-1].line == "part of"


def test_a_line_without_end_is_delivered_in_bounded_parts() -> None:
    reader = LogReader(tty=False)
    text = "é" * 100_000
    lines = list(reader.feed(frame(1, f"{STAMP} ".encode())))
    held = 0
    for _ in range(30):
        lines += reader.feed(frame(1, text.encode()))
        held = max(held, len(reader._lines._tails[1]))
    lines += reader.finish()
    assert held <= LONGEST_LINE + len(text.encode())
    assert {line.ts for line in lines} == {STAMP}
    assert "".join(line.line for line in lines) == text * 30


def test_a_terminal_has_no_frames() -> None:
    assert [line.line for line in read([b"t on", b"e\r\nt two\r\n"], tty=True)] == ["one", "two"]
