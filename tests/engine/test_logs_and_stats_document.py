"""Every block of docs/logs-and-stats.md runs against the product and a real Engine."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from lab.engine import DockerEngine
from lab.images import Pusher
from lab.server import ProductServer

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(shutil.which("curl") is None, reason="the document's lines use curl"),
]
DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "logs-and-stats.md"
BLOCKS = re.findall(r"```(sh|python)\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
SPEAK = "trap 'exit 0' TERM; echo ready; echo careful >&2; while :; do sleep 1 & wait $!; done"


class Reader:
    """Runs blocks one after another in the environment that the earlier ones made."""

    def __init__(self, url: str) -> None:
        self._url = url
        path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
        self._environment = {"PATH": path, "DD_CLIENT_SERVER": url, "HOME": os.environ.get("HOME", "/"), "ID": ""}

    def run(self, kind: str, block: str) -> str:
        text = block.replace("http://127.0.0.1:3000", self._url)
        argv = [sys.executable, "-c", text] if kind == "python" else ["sh", "-ec", text]
        done = subprocess.run(argv, env=self._environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        if text.startswith("ID="):
            self._environment["ID"] = done.stdout.strip()
        return done.stdout


@pytest.fixture(scope="module")
def reader(docker: DockerEngine, images: Pusher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    images.push("observe/web", "1.0.0")
    image = f"{images.host}/observe/web:1.0.0"
    docker.api.pull(image)
    made = docker.api.run("web", {"Image": image, "Cmd": ["/bin/sh", "-c", SPEAK], "Labels": {"dd.watch": "true"}})
    variables = {"DD_STATS_INTERVAL": "1", "DD_WATCHER_LOCAL_SOCKET": docker.host.removeprefix("unix://")}
    server = ProductServer(tmp_path_factory.mktemp("server"), variables).start()
    server.scanned()
    yield Reader(server.url)
    assert server.stop() == 0
    docker.api.raw("DELETE", f"/containers/{made}?force=1")


def test_the_blocks_in_order(reader: Reader) -> None:
    outputs = [reader.run(kind, block) for kind, block in BLOCKS]
    said, sample, container_id, download, live, stats, stream, summary, fleet, environments, one, events, rows = outputs
    assert sorted(line.split(" ")[1] for line in said.splitlines()) == ["careful", "ready"]
    assert [each["name"] for each in json.loads(sample)["containers"]].count("web") == 1
    assert len(container_id.strip()) == 64
    assert download == said
    assert re.search(r"^stdout \S+Z ready$", live, re.MULTILINE)
    assert live.endswith("closed: 1000\n")
    assert json.loads(stats)["data"]["containerId"] == container_id.strip()
    assert stream.count("event: dd:container-stats") >= 2
    assert json.loads(summary)["data"]["watchedCount"] >= 1
    assert fleet.count("event: dd:stats-summary") >= 2
    assert [each["name"] for each in json.loads(environments)] == ["local"]
    assert json.loads(one)["memoryUsage"] > 0
    assert '"name":"web"' in events
    assert events.endswith("event: done\ndata: {}\n\n")
    assert "web" in {each["name"] for each in json.loads(rows)}


def test_commands_say_what_is_wrong(reader: Reader) -> None:
    for command, words in (
        ("drydock logs nobody", "No watched container is called nobody"),
        ("drydock stats nobody", "Not running, or unknown: nobody"),
        ("drydock stats --server http://127.0.0.1:1", "No Drydock answers at http://127.0.0.1:1"),
        ("drydock logs web --token-file /nowhere", "cannot be read"),
    ):
        assert words in reader.run("sh", f"{command} 2>&1 || test $? -eq 1")
    plain = reader.run("sh", "drydock stats web")
    assert plain.splitlines()[0].split()[:2] == ["NAME", "HOST"]
    assert plain.splitlines()[1].split()[:2] == ["web", "local"]


def test_following_ends_with_the_container(reader: Reader, docker: DockerEngine) -> None:
    script = (
        "(sleep 3; curl -s --unix-socket SOCKET -X POST http://docker/containers/web/restart?t=5) & drydock logs web -f"
    )
    said = reader.run("sh", script.replace("SOCKET", docker.host.removeprefix("unix://")))
    assert sorted(said.splitlines()[:2]) == ["careful", "ready"]
