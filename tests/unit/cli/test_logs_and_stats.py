"""The commands `logs` and `stats` against a scripted server; the real one is in tests/engine."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rich.console import Console

from drydock.cli import logs, stats
from drydock.cli.client import Client, ClientError

A, B = "a" * 64, "ab" + "b" * 62


class Scripted:
    """Answers `get` and `text` from lists; the last answer of a path repeats."""

    token = "t"

    def __init__(self, **answers: list[Any]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, dict[str, str]]] = []

    def get(self, path: str, **query: str) -> Any:
        return self._next(path, query)

    def text(self, path: str, **query: str) -> str:
        return str(self._next(path, query))

    def _next(self, path: str, query: dict[str, str]) -> Any:
        self.asked.append((path, query))
        waiting = self.answers[path.rsplit("/", 1)[-1].replace("-", "_")]
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]


def listed(*names: tuple[str, str]) -> dict[str, Any]:
    return {"data": [{"id": id, "name": name} for id, name in names]}


def test_finding_a_container() -> None:
    server: Any = Scripted(containers=[listed((A, "web"), (B, "db"), ("c" * 64, "twin"), ("d" * 64, "twin"))])
    assert [logs.find(server, text)["name"] for text in (A, "web", "abbb", "aaaa")] == ["web", "web", "db", "web"]
    for text, words in (
        ("nobody", "No watched container"),
        ("a", "No watched"),
        ("twin", "cccccccccccc, dddddddddddd"),
    ):
        with pytest.raises(ClientError, match=words):
            logs.find(server, text)


def test_asking_again_prints_each_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    stamps = [f"2026-01-01T00:00:0{number}.000000001Z" for number in range(3)]
    server: Any = Scripted(
        logs=[
            f"{stamps[0]} one\n{stamps[1]} two\n",
            f"{stamps[1]} two\n",
            f"{stamps[1]} two\n{stamps[1]} three\n{stamps[2]} \n",
            f"{stamps[2]} \n{stamps[2]} last one\n",
        ],
        x=[{"status": "running"}, {"status": "running"}, {"status": "running"}, {"status": "exited"}],
    )
    assert logs._poll(server, "/api/v1/containers/x/logs", logs.LogsOptions("x", "http://s", tail=5), 0) == 0
    assert capsys.readouterr().out == "one\ntwo\nthree\n\nlast one\n"
    queries = [query for path, query in server.asked if path.endswith("logs")]
    assert [query.get("since") for query in queries] == [None, *[f"2026-01-01T00:00:0{n}Z" for n in (1, 1, 2)]]


FIGURES = {
    "memoryUsage": 5 * 1024**2,
    "memoryLimit": 0,
    "memoryPercent": 1.5,
    "networkRx": 1000,
    "networkTx": 1,
    "blockRead": 0,
    "blockWrite": 3 * 1024**3,
    "memoryRaw": 1,
    "memoryCache": 1,
}


def sampled() -> Any:
    rows = [
        {"id": A, "name": "web", "cpuPercent": 1.0, **FIGURES},
        {"id": B, "name": "db", "cpuPercent": 9.5, **FIGURES},
    ]
    return Scripted(environments=[[{"id": 1, "name": "local"}]], stats=[rows])


def test_a_sample_is_sorted_and_filtered() -> None:
    assert [row["name"] for row in stats.sample(sampled(), ())] == ["db", "web"]
    assert [row["environment"] for row in stats.sample(sampled(), (A,))] == ["local"]
    with pytest.raises(ClientError, match="unknown: nobody"):
        stats.sample(sampled(), ("web", "nobody"))


def test_stats_plain_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    stats.show(sampled(), stats.StatsOptions((), "http://s"), Console(force_terminal=False))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["db", "local", "9.50", "5MiB", "–", "1.50", "1000B", "1B", "0B", "3GiB"]
    stats.show(sampled(), stats.StatsOptions((), "http://s", as_json=True), Console())
    assert [each["name"] for each in json.loads(capsys.readouterr().out)["containers"]] == ["db", "web"]
    assert stats.table(stats.sample(sampled(), ())).row_count == 2


def test_no_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert stats.run(stats.StatsOptions((), "http://127.0.0.1:1")) == 1
    assert logs.run(logs.LogsOptions("web", "http://127.0.0.1:1")) == 1
    assert capsys.readouterr().err.count("No Drydock answers at http://127.0.0.1:1") == 2
    assert Client("http://h/").url("/x", {"a": "b c"}) == "http://h/x?a=b+c"
