"""Every block of docs/updates.md runs against the product and a real Engine; and the product is killed in the middle."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from kit.wait import eventually
from lab.engine import DockerEngine
from lab.images import SERVE, Pusher
from lab.server import ProductServer

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(shutil.which("curl") is None, reason="the document's lines use curl"),
]
DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "updates.md"
FIRST, HISTORY, BACK, CANCEL, CHAIN = re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
SETUP = FIRST[: FIRST.index("OPERATION=")]
UPDATE = FIRST[FIRST.index("OPERATION=") :]


def config(check: str) -> dict[str, Any]:
    return {"Cmd": SERVE, "Healthcheck": {"Test": ["CMD", check], "Interval": 500_000_000, "Retries": 2}}


class Scene:
    """One server, one container `web`, and whoever reads the document."""

    def __init__(self, docker: DockerEngine, images: Pusher, server: ProductServer) -> None:
        self.docker, self.images, self.server = docker, images, server

    def publish(self, tag: str, check: str = "/bin/true") -> None:
        """A new version, and the check that finds it."""
        self.images.push(
            "updates/web", tag, config=config(check), created=f"2026-02-{int(tag.split('.')[1]) + 1:02d}T00:00:00Z"
        )
        status, _, body = self.server.request("POST", "/api/v1/containers/watch")
        assert status == 200, body
        eventually(lambda: self.web()["result"]["tag"] == tag, f"the update to {tag}", 30, self.server.process)

    def web(self) -> dict[str, Any]:
        """The container as the product shows it."""
        rows = self.server.get("/api/v1/containers")["data"]
        return next(row for row in rows if row["name"] == "web")

    def run(self, block: str) -> str:
        """A block, after the set-up lines."""
        text = (SETUP + block).replace("http://127.0.0.1:3000", self.server.url)
        path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", "-ec", text], env={"PATH": path}, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        return done.stdout

    def on_the_host(self) -> list[tuple[str, str, str]]:
        """Name, state and image of every container of this scene."""
        rows = self.docker.api.call("GET", "/containers/json?all=1")
        return [
            (r["Names"][0], r["State"], r["Image"].rpartition(":")[2]) for r in rows if r["Names"][0].startswith("/web")
        ]


@pytest.fixture(scope="module")
def scene(docker: DockerEngine, images: Pusher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    images.push("updates/web", "1.0.0", config=config("/bin/true"))
    image = f"{images.host}/updates/web:1.0.0"
    docker.api.pull(image)
    docker.api.run("web", {"Image": image, "Labels": {"dd.tag.family": "loose", "dd.watch": "true"}})
    variables = {
        "DD_WATCHER_LOCAL_SOCKET": docker.host.removeprefix("unix://"),
        "DD_REGISTRY_CUSTOM_LAB_URL": f"http://{images.host}",
        "DD_ACTION_DOCKER_LOCAL_PRUNE": "false",
        "DD_UPDATE_POST_START_LIVENESS_GRACE_MS": "300",
    }
    server = ProductServer(tmp_path_factory.mktemp("server"), variables).start()
    server.scanned()
    yield Scene(docker, images, server)
    if server.process.poll() is None:
        assert server.stop() == 0
    for row in docker.api.call("GET", "/containers/json?all=1"):
        if row["Names"][0].startswith("/web"):
            docker.api.raw("DELETE", f"/containers/{row['Id']}?force=1")


def test_the_lines_of_the_document_do_what_they_say(scene: Scene) -> None:
    scene.publish("1.1.0")
    assert "ended succeeded" in scene.run(UPDATE)
    assert scene.on_the_host() == [("/web", "running", "1.1.0")]
    scene.publish("1.2.0", "/bin/false")
    assert "ended rolled-back" in scene.run(UPDATE)
    assert scene.on_the_host() == [("/web", "running", "1.1.0")]
    assert "Health check failed" in scene.run(HISTORY)
    assert "Container rolled back successfully" in scene.run(BACK)
    assert scene.on_the_host() == [("/web", "running", "1.0.0")]
    scene.publish("1.3.0")
    assert json.loads(scene.run(CANCEL))["cancelRequested"] is True
    eventually(
        lambda: "updateOperation" not in scene.web(), "the end of the cancelled update", 30, scene.server.process
    )
    assert [(name, state) for name, state, _ in scene.on_the_host()] == [("/web", "running")]
    assert json.loads(scene.run(CHAIN))["waves"][0]["containers"][0]["name"] == "web"


def test_a_killed_server_finds_exactly_one_healthy_container(scene: Scene) -> None:
    scene.publish("1.4.0")
    scene.run('curl -s -X POST "$API/containers/$(container web)/update"')
    eventually(lambda: len(scene.on_the_host()) == 2, "the middle of the update", 30, scene.server.process)
    scene.server.kill()
    scene.server.start()

    def over() -> bool:
        return "updateOperation" not in scene.web() and len(scene.on_the_host()) == 1

    eventually(over, "the recovery", 60, scene.server.process)
    newest = scene.server.get(f"/api/v1/containers/{scene.web()['id']}/update-operations")["data"][0]
    assert newest["status"] in ("succeeded", "rolled-back")
    assert newest["recovery"] in ("rolled-forward", "restored-old", "already-committed")
    assert scene.on_the_host()[0][:2] == ("/web", "running")
