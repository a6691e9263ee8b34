"""The whole product on the demonstration fleet: what `lab/fleet.py` says a check finds is what the server shows."""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from lab import box
from lab.engine import DockerEngine
from lab.fleet import SERVICES, Fleet, Service
from lab.registry import free_port

pytestmark = pytest.mark.engine


def ask(port: int, path: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, body
    return json.loads(body)


def checked(port: int) -> dict[str, dict[str, Any]] | None:
    """Containers by name, once the watcher has ended its first scan."""
    watchers = ask(port, "/api/v1/watchers")["data"]
    if not all(watcher["metadata"].get("lastRunAt") for watcher in watchers):
        return None
    return {container["name"]: container for container in ask(port, "/api/v1/containers")["data"]}


@pytest.fixture(scope="module")
def found(
    docker: DockerEngine, demo_fleet: Fleet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, dict[str, Any]]]:
    home, port = tmp_path_factory.mktemp("serve"), free_port()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DD_")}
    own = {
        "DD_SERVER_HOST": "127.0.0.1",
        "DD_SERVER_PORT": str(port),
        "DD_STORE_PATH": str(home),
        "DD_ANONYMOUS_AUTH_CONFIRM": "true",
        "DD_WATCHER_LOCAL_SOCKET": docker.host.removeprefix("unix://"),
        "DD_WATCHER_LOCAL_WATCHALL": "true",
        **demo_fleet.variables(),
    }
    program = str(pathlib.Path(sys.executable).with_name("drydock"))
    with (home / "log").open("wb") as log:
        server = subprocess.Popen([program, "serve"], env={**clean, **own}, stdout=log, stderr=log)
    try:
        yield box.eventually(lambda: checked(port), f"a check of the fleet, see {home}/log", 60, server)
    finally:
        server.terminate()
        server.wait(20)


@pytest.mark.parametrize("service", SERVICES, ids=[service.name for service in SERVICES])
def test_finding(found: dict[str, dict[str, Any]], service: Service) -> None:
    assert finding(found[service.name]) == service.finds


def finding(container: dict[str, Any]) -> str:
    kind = container["updateKind"]
    if "error" in container:
        return "error"
    if container["updateAvailable"]:
        return kind["semverDiff"] if kind["semverDiff"] != "unknown" else kind["kind"]
    if container["image"].get("isLocalImage"):
        return "local"
    return "insight" if "updateInsight" in container.get("result", {}) else "nothing"
