"""`make run`: chooses the Engine that answers, else makes a sandbox, and leaves nothing behind."""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from kit.wait import eventually
from lab import sandbox
from lab.engine import DockerEngine
from lab.registry import free_port

pytestmark = pytest.mark.engine
ROOT = pathlib.Path(__file__).parents[2]


class Run:
    """One `make run` with a stand-in for the server."""

    def __init__(self, home: pathlib.Path, **variables: str) -> None:
        self.port, self.home = free_port(), home
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("DD_", "DOCKER_"))}
        own = {"DD_SERVER_PORT": str(self.port), "DD_STORE_PATH": str(home), **variables}
        argv = [sys.executable, "-m", "lab.run", "--", sys.executable, "-m", "lab.stub_server"]
        with (home / "output").open("wb") as output:
            self.process = subprocess.Popen(argv, cwd=ROOT, env={**clean, **own}, stdout=output, stderr=output)

    def variables(self) -> dict[str, str]:
        """What the server sees, asked over its address."""

        def ask() -> dict[str, str]:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            connection.request("GET", "/")
            return dict(json.loads(connection.getresponse().read()))

        return eventually(ask, f"the server\n{self.output}", 60, self.process)

    @property
    def output(self) -> str:
        return (self.home / "output").read_text()


@pytest.fixture
def no_local_socket() -> None:
    if pathlib.Path("/var/run/docker.sock").exists():
        pytest.skip("this machine has an Engine of its own, so no sandbox is made")


@pytest.fixture
def runs(tmp_path: pathlib.Path) -> Iterator[list[Run]]:
    started: list[Run] = []
    yield started
    for run in started:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()


def test_the_engine_of_docker_host_is_watched(docker: DockerEngine, tmp_path: pathlib.Path, runs: list[Run]) -> None:
    runs.append(Run(tmp_path, DOCKER_HOST=docker.host))
    variables = runs[0].variables()
    assert variables["DD_WATCHER_LOCAL_SOCKET"] == str(docker.socket)
    assert "DD_ANONYMOUS_AUTH_CONFIRM" not in variables
    assert f"Watching {docker.host}" in runs[0].output


@pytest.mark.skipif(sandbox.possible() is not None, reason="a sandbox needs root")
@pytest.mark.usefixtures("no_local_socket")
def test_without_an_engine_a_sandbox_is_made_and_goes_without_a_trace(tmp_path: pathlib.Path, runs: list[Run]) -> None:
    runs.append(Run(tmp_path))
    variables = runs[0].variables()
    assert variables["DD_REGISTRY_CUSTOM_SHOP_URL"] == "http://127.0.0.1:5000"
    assert variables["DD_ANONYMOUS_AUTH_CONFIRM"] == "true"
    assert not pathlib.Path(variables["DD_WATCHER_LOCAL_SOCKET"]).exists(), "the socket is private to the sandbox"
    eventually(lambda: "no way to the internet" in runs[0].output, "the words")
    outer = sandbox.child_of(runs[0].process.pid, b"unshare")
    runs[0].process.send_signal(signal.SIGTERM)
    assert runs[0].process.wait(30) == 0
    assert not pathlib.Path(f"/proc/{outer}").exists()


@pytest.mark.skipif(sandbox.possible() is not None, reason="a sandbox needs root")
@pytest.mark.usefixtures("no_local_socket")
def test_what_cannot_be_used_is_said(tmp_path: pathlib.Path, runs: list[Run]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        runs.append(Run(tmp_path, DOCKER_HOST="ssh://somewhere", DD_SERVER_PORT=str(port)))
        assert runs[0].process.wait(30) == 1
    assert "DOCKER_HOST=ssh://somewhere cannot be used" in runs[0].output
    assert f"Port {port} cannot be used" in runs[0].output
