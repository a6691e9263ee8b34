"""Drydock in a container of a real Engine updates itself, and comes back whatever happens (updates.md §13)."""

from __future__ import annotations

import http.client
import json
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from drydock.core.labels import SELF_UPDATE_HELPER
from drydock.core.operation import OPERATION_LABEL
from kit.wait import eventually
from lab import ownimage
from lab.engine import DockerEngine
from lab.images import Pusher
from lab.registry import RegistryServer, free_port

pytestmark = pytest.mark.engine

TERMINAL = ("succeeded", "rolled-back", "failed", "expired")
HELPERS = json.dumps({"label": [f"{SELF_UPDATE_HELPER}=true"]})


PROXY = """
import asyncio, sys
async def pump(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
async def serve(reader, writer):
    there = await asyncio.open_unix_connection("/var/run/docker.sock")
    await asyncio.gather(pump(reader, there[1]), pump(there[0], writer), return_exceptions=True)
async def main():
    await (await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))).serve_forever()
asyncio.run(main())
"""
"""A socket proxy that filters nothing."""


@dataclass
class Drydock:
    """One Drydock in a container named `name`, reached over HTTP whoever serves."""

    engine: DockerEngine
    name: str
    port: int
    first: str

    def get(self, path: str, method: str = "GET") -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
            return answer.status, json.loads(body) if body[:1] in (b"{", b"[") else body
        finally:
            connection.close()

    def ready(self) -> None:
        eventually(lambda: self.get("/health")[0] == 200, f"Drydock {self.name}\n{self.log()}", 60)

    def waiting(self, name: str) -> dict[str, Any]:
        """The container of that name, once an update of it is known."""

        def found() -> dict[str, Any] | None:
            self.get("/api/v1/containers/watch", "POST")
            listed = self.get("/api/v1/containers")[1]["data"]
            return next((one for one in listed if one["name"] == name and one["updateAvailable"]), None)

        return eventually(found, f"the update of {name}\n{self.log()}", 60)

    def update(self, name: str | None = None) -> str:
        """Ask for the update of itself, or of another container; the operation's id."""
        status, body = self.get(f"/api/v1/containers/{self.waiting(name or self.name)['id']}/update", "POST")
        assert status == 202, body
        return str(body["operationId"])

    def ended(self, operation: str) -> dict[str, Any]:
        """The operation once it is terminal and its helper is gone."""

        def done() -> bool:
            return bool(self.get(f"/api/v1/update-operations/{operation}")[1]["status"] in TERMINAL)

        eventually(done, f"the end of the update\n{self.log()}", 120)
        eventually(lambda: not self.helpers(), "the end of the helper", 60)
        return dict(self.get(f"/api/v1/update-operations/{operation}")[1])

    def helpers(self) -> list[dict[str, Any]]:
        return list(self.engine.api.call("GET", f"/containers/json?all=1&filters={HELPERS}".replace(" ", "%20")))

    def containers(self) -> dict[str, str]:
        """Name → state of everything that belongs to it."""
        entries = self.engine.api.call("GET", "/containers/json?all=1")
        names = {entry["Names"][0].lstrip("/"): entry["State"] for entry in entries}
        return {name: state for name, state in names.items() if name.startswith((self.name, "drydock-self-update"))}

    def inspect(self) -> dict[str, Any]:
        return dict(self.engine.api.call("GET", f"/containers/{self.name}/json"))

    def runs(self, container: str) -> bool:
        return bool(self.engine.api.call("GET", f"/containers/{container}/json")["State"]["Running"])

    def log(self) -> str:
        status, data = self.engine.api.raw("GET", f"/containers/{self.name}/logs?stdout=1&stderr=1")
        return data.decode(errors="replace") if status == 200 else f"no log: {status}"

    def volumes(self) -> set[str]:
        return {mount["Name"] for mount in self.inspect()["Mounts"] if mount["Type"] == "volume"}


@pytest.fixture
def start(docker: DockerEngine, registry: RegistryServer, images: Pusher) -> Iterator[Callable[..., Drydock]]:
    """`start()` runs Drydock 1.0.0; `start(**new)` says how 1.0.1 in the registry differs."""
    if not isinstance(docker, DockerEngine):
        pytest.skip("the containers of an Engine offered from outside cannot be reached over the loopback")
    started: list[Drydock] = []

    def make(engine: DockerEngine = docker, route: dict[str, str] | None = None, **new: Any) -> Drydock:
        port, word = free_port(), uuid.uuid4().hex[:6]
        repository = f"self/dd-{word}"
        first = ownimage.push(images, repository, "1.0.0", ownimage.configuration(port, "1.0.0"))
        ownimage.push(images, repository, "1.0.1", ownimage.configuration(port, "1.0.1", **new))
        engine.api.pull(first)
        started.append(Drydock(engine, f"dd-{word}", port, first))
        engine.api.run(started[-1].name, document(started[-1], registry, route))
        started[-1].ready()
        return started[-1]

    yield make
    for one in started:
        if one.engine is docker:  # an engine of the test's own is cleared by whoever made it
            remove(one.engine, one.name, "drydock-self-update", "proxy-")


def remove(engine: DockerEngine, *prefixes: str) -> None:
    for entry in engine.api.call("GET", "/containers/json?all=1"):
        if entry["Names"][0].lstrip("/").startswith(prefixes):
            engine.api.raw("DELETE", f"/containers/{entry['Id']}?force=1&v=1")


def document(one: Drydock, registry: RegistryServer, route: dict[str, str] | None) -> dict[str, Any]:
    variables = {
        "DD_SERVER_HOST": "127.0.0.1",
        "DD_SERVER_PORT": str(one.port),
        "DD_ANONYMOUS_AUTH_CONFIRM": "true",
        "DD_ACTION_DOCKER_LOCAL_PRUNE": "false",
        "DD_WATCHER_LOCAL_TAG_FAMILY": "loose",
        "DD_WATCHER_LOCAL_WATCHBYDEFAULT": "false",
        "DD_REGISTRY_CUSTOM_LAB_URL": registry.url,
        **(route or {}),
    }
    binds = [] if route else [f"{one.engine.socket}:/var/run/docker.sock"]
    return {
        "Image": one.first,
        "Env": [f"{name}={value}" for name, value in variables.items()],
        "Labels": {"dd.watch": "true"},
        "HostConfig": {"NetworkMode": "host", "RestartPolicy": {"Name": "always"}, "Binds": binds},
    }


def test_it_updates_itself(start: Callable[..., Drydock]) -> None:
    drydock = start()
    before, volumes = drydock.inspect(), drydock.volumes()
    operation = drydock.update()
    row = drydock.ended(operation)
    after = drydock.inspect()
    assert row["status"] == "succeeded", (row, drydock.log())
    assert row["kind"] == "self-update"
    assert (row["oldContainerId"], row["newContainerId"]) == (before["Id"], after["Id"])
    assert drydock.containers() == {drydock.name: "running"}
    assert after["Config"]["Image"] == f"{drydock.first.rsplit(':', 1)[0]}:1.0.1"
    assert "DRYDOCK_IMAGE=1.0.1" in after["Config"]["Env"]
    assert after["Config"]["Labels"][OPERATION_LABEL] == operation
    assert after["HostConfig"]["RestartPolicy"] == before["HostConfig"]["RestartPolicy"]
    assert drydock.volumes() == volumes, "the store moved along"


@pytest.mark.parametrize(
    ("fault", "new"),
    [
        ("exits at once", {"Entrypoint": ["/bin/false"], "Healthcheck": {"Test": ["NONE"]}}),
        ("never healthy", {"Healthcheck": {"Test": ["CMD", "false"], "Interval": 300_000_000, "Retries": 2}}),
    ],
)
def test_a_broken_version_goes_back(start: Callable[..., Drydock], fault: str, new: dict[str, Any]) -> None:
    drydock = start(**new)
    before, volumes = drydock.inspect(), drydock.volumes()
    row = drydock.ended(drydock.update())
    after = drydock.inspect()
    assert row["status"] == "rolled-back", (fault, row, drydock.log())
    assert row["detail"], "the reason came with the helper's report"
    assert after["Id"] == before["Id"], "the very container is back"
    assert after["State"]["Running"]
    assert after["HostConfig"]["RestartPolicy"] == before["HostConfig"]["RestartPolicy"]
    assert drydock.containers() == {drydock.name: "running"}
    assert drydock.volumes() == volumes


def test_a_killed_helper_goes_on(start: Callable[..., Drydock]) -> None:
    drydock = start()
    before = drydock.inspect()["Id"]
    operation = drydock.update()
    for moment in ("before the old one stops", "after"):
        helper = eventually(drydock.helpers, f"a helper {moment}", 60)[0]["Id"]
        if moment == "after":
            eventually(lambda: not drydock.runs(before), "the stop of the old one", 60)
        kill(drydock, helper)
    row = drydock.ended(operation)
    assert row["status"] in ("succeeded", "rolled-back")
    installed = drydock.inspect()["Config"]["Labels"].get(OPERATION_LABEL) == operation
    assert installed == (row["status"] == "succeeded")
    assert drydock.containers() == {drydock.name: "running"}


def kill(drydock: Drydock, container: str) -> None:
    """SIGKILL from outside of Docker: a kill over the API would count as the operator's wish."""
    pid = drydock.engine.api.call("GET", f"/containers/{container}/json")["State"]["Pid"]
    if pid:
        os.kill(pid, signal.SIGKILL)


def test_the_daemon_dies_in_between(start: Callable[..., Drydock], start_engine: Callable[..., DockerEngine]) -> None:
    drydock = start(start_engine())
    old = drydock.inspect()["Id"]
    operation = drydock.update()
    eventually(lambda: not drydock.runs(old), "the stop of the old one", 60)
    drydock.engine.kill()
    drydock.engine.start()
    row = drydock.ended(operation)
    assert row["status"] in ("succeeded", "rolled-back")
    installed = drydock.inspect()["Config"]["Labels"].get(OPERATION_LABEL) == operation
    assert installed == (row["status"] == "succeeded")
    assert drydock.inspect()["HostConfig"]["RestartPolicy"]["Name"] == "always"
    assert drydock.containers() == {drydock.name: "running"}


def test_behind_a_socket_proxy(start: Callable[..., Drydock], docker: DockerEngine, images: Pusher) -> None:
    """The proxy is exchanged through its own socket, then Drydock over TCP through the new proxy."""
    port, word = free_port(), uuid.uuid4().hex[:6]
    config = {"Env": ["PATH=/usr/local/bin:/bin"], "Entrypoint": ["python3", "-c", PROXY, str(port)]}
    first = ownimage.push(images, f"self/proxy-{word}", "1.0.0", config)
    ownimage.push(images, f"self/proxy-{word}", "1.0.1", {**config, "Labels": {"newer": "yes"}})
    docker.api.pull(first)
    proxy = f"proxy-{word}"
    binds = [f"{docker.socket}:/var/run/docker.sock"]
    host = {"NetworkMode": "host", "RestartPolicy": {"Name": "always"}, "Binds": binds}
    labels = {"dd.watch": "true", "dd.update.mode": "infrastructure"}
    before = docker.api.run(proxy, {"Image": first, "Labels": labels, "HostConfig": host})
    drydock = start(route={"DD_WATCHER_LOCAL_HOST": "127.0.0.1", "DD_WATCHER_LOCAL_PORT": str(port)})
    row = drydock.ended(drydock.update(proxy))
    assert (row["status"], row["kind"]) == ("succeeded", "container-update"), (row, drydock.log())
    after = docker.api.call("GET", f"/containers/{proxy}/json")
    assert (after["State"]["Running"], after["Config"]["Labels"]["newer"]) == (True, "yes")
    assert row["oldContainerId"] == before
    row = drydock.ended(drydock.update())
    assert (row["status"], row["kind"]) == ("succeeded", "self-update"), (row, drydock.log())
    assert drydock.containers() == {drydock.name: "running"}
