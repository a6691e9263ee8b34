"""The server as a process: from DD_* alone to a clean end (platform.md §3, cli.md)."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kit.wait import eventually
from lab.engine import DockerEngine
from lab.fleet import Fleet
from lab.registry import free_port

pytestmark = pytest.mark.engine

DRYDOCK = pathlib.Path(sys.executable).with_name("drydock")


class Server:
    """One `drydock serve`."""

    def __init__(self, home: pathlib.Path, **variables: str) -> None:
        self.port = int(variables.get("DD_SERVER_PORT") or free_port())
        keep = {name: value for name, value in os.environ.items() if not name.startswith(("DD_", "DOCKER_"))}
        own = {
            "DD_SERVER_PORT": str(self.port),
            "DD_STORE_PATH": str(home / "store"),
            "DD_ANONYMOUS_AUTH_CONFIRM": "true",
            "DD_LOCAL_WATCHER": "false",
        }
        self._log = home / f"log-{self.port}-{time.monotonic_ns()}"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(DRYDOCK), "serve"],
                env={**keep, **own, **variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def ready(self) -> Server:
        eventually(lambda: self.get("/health")[0] == 200, f"the server\n{self.output}", 90, self.process)
        return self

    def get(self, path: str, method: str = "GET", address: str = "127.0.0.1") -> tuple[int, Any]:
        connection = http.client.HTTPConnection(address, self.port, timeout=60)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
            return answer.status, json.loads(body) if body[:1] in (b"{", b"[") else body
        finally:
            connection.close()

    def end(self) -> int:
        """Stop with SIGTERM; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)


@pytest.fixture
def serve(tmp_path: pathlib.Path) -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def start(**variables: str) -> Server:
        started.append(Server(tmp_path, **variables))
        return started[-1]

    yield start
    for server in started:
        with contextlib.suppress(ProcessLookupError):
            server.process.kill()
        server.process.wait()


@pytest.fixture
def watching(docker: DockerEngine, demo_fleet: Fleet) -> dict[str, str]:
    """Variables that watch the demonstration fleet."""
    return {"DD_WATCHER_LOCAL_SOCKET": docker.host.removeprefix("unix://"), **demo_fleet.variables()}


def test_variables_alone_make_a_server_that_ends_with_0(serve: Callable[..., Server], watching: dict[str, str]) -> None:
    server = serve(**watching).ready()
    eventually(
        lambda: server.get("/api/v1/containers/summary")[1]["containers"]["updatesAvailable"] > 3, "its checks", 40
    )
    watcher = server.get("/api/v1/watchers")[1]["data"][0]
    assert watcher["metadata"]["status"] == "connected"
    assert watcher["metadata"]["lastRunAt"]
    assert watcher["metadata"]["nextRunAt"]
    assert server.end() == 0
    assert "Traceback" not in server.output


def test_a_restart_shows_the_last_picture_and_does_not_check_again(
    serve: Callable[..., Server], watching: dict[str, str]
) -> None:
    first = serve(**watching).ready()
    eventually(lambda: first.get("/api/v1/watchers")[1]["data"][0]["metadata"].get("lastRunAt"), "the first scan", 40)
    before = first.get("/api/v1/containers")[1]["data"]
    checked = [first.get(f"/api/v1/containers/{c['id']}/explain")[1]["checkedAt"] for c in before]
    assert all(checked)
    assert first.end() == 0
    second = serve(**watching).ready()
    after = second.get("/api/v1/containers")[1]["data"]
    assert [(c["name"], c.get("result")) for c in after] == [(c["name"], c.get("result")) for c in before]
    eventually(lambda: second.get("/api/v1/watchers")[1]["data"][0]["metadata"]["status"] == "connected", "a look", 20)
    again = [second.get(f"/api/v1/containers/{c['id']}/explain")[1]["checkedAt"] for c in after]
    assert again == checked
    assert second.end() == 0
    assert "registries.poll" not in second.output, "no registry was asked"


def test_an_open_event_stream_does_not_hold_it_back(serve: Callable[..., Server]) -> None:
    server = serve().ready()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", "/api/v1/events/ui", headers={"Accept": "text/event-stream"})
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.read(1)
    began = time.monotonic()
    assert server.end() == 0
    assert time.monotonic() - began < 5
    with contextlib.suppress(http.client.IncompleteRead, ConnectionError):
        answer.read()


def test_an_open_websocket_is_told_to_go(serve: Callable[..., Server], watching: dict[str, str]) -> None:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    server = serve(**watching).ready()
    found = eventually(lambda: server.get("/api/v1/containers?status=running")[1]["data"], "containers", 40)
    url = f"ws://127.0.0.1:{server.port}/api/v1/containers/{found[0]['id']}/logs/stream"
    with connect(url) as stream:
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            _drain(stream)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code in (1000, 1001, 1012)
    assert server.process.wait(15) == 0
    assert time.monotonic() - began < 5


def _drain(stream: Any) -> None:
    """Read until it is closed."""
    while True:
        stream.recv(timeout=10)


def test_a_wrong_configuration_ends_with_1_and_every_problem(serve: Callable[..., Server]) -> None:
    wrong = {"DD_SERVER_COMPRESSION_THRESHOLD": "some", "DD_SERVER_UI_ENABLED": "perhaps"}
    server = serve(**wrong)
    assert server.process.wait(30) == 1
    assert "DD_SERVER_COMPRESSION_THRESHOLD" in server.output
    assert "DD_SERVER_UI_ENABLED" in server.output
    assert "Traceback" not in server.output


def test_one_bad_watcher_does_not_stop_the_others(serve: Callable[..., Server], watching: dict[str, str]) -> None:
    bad = {
        "DD_WATCHER_BAD_CRON": "often",
        "DD_WATCHER_NEVER_MAINTENANCE_WINDOW": "30 * 2 * * *",
        "DD_WATCHER_OIDC_AUTH_OIDC_CLIENTID": "x",
    }
    server = serve(**watching, **bad).ready()
    assert [one["name"] for one in server.get("/api/v1/watchers")[1]["data"]] == ["local"]
    for said in ("DD_WATCHER_BAD_CRON", "never opens", "OIDC is not available"):
        assert said in server.output


def test_a_port_in_use_is_said(serve: Callable[..., Server]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = serve(DD_SERVER_PORT=str(taken.getsockname()[1]), DD_SERVER_HOST="127.0.0.1")
        assert server.process.wait(30) == 1
    assert "Cannot listen" in server.output
    assert "DD_SERVER_PORT" in server.output


def test_a_second_process_on_the_same_store_is_refused(serve: Callable[..., Server]) -> None:
    first = serve().ready()
    second = serve()
    assert second.process.wait(30) == 1
    assert "store" in second.output.lower()
    assert "Traceback" not in second.output
    assert first.get("/health")[0] == 200


def test_it_listens_on_both_families(serve: Callable[..., Server]) -> None:
    server = serve().ready()
    assert server.get("/health", address="127.0.0.1")[0] == 200
    assert server.get("/health", address="::1")[0] == 200


def test_without_an_engine_it_serves_and_says_so(serve: Callable[..., Server], tmp_path: pathlib.Path) -> None:
    server = serve(DD_WATCHER_LOCAL_SOCKET=str(tmp_path / "none.sock")).ready()

    def metadata() -> dict[str, Any]:
        return dict(server.get("/api/v1/watchers")[1]["data"][0]["metadata"])

    eventually(lambda: metadata()["status"] == "unreachable", "its state", 20)
    assert metadata()["error"]
    assert server.get("/api/v1/containers")[1]["data"] == []
