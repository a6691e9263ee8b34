"""docs/scanning.md, line by line: a real Engine, a real registry, the real Trivy and the server as a process."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kit.wait import eventually
from lab import trivy as lab
from lab.engine import DockerEngine
from lab.images import Pusher
from lab.server import ProductServer

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(lab.program() is None, reason="Trivy is not installed (tests/lab/setup.d/trivy.sh)"),
]
TEXT = (pathlib.Path(__file__).parents[2] / "docs" / "scanning.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
EXPORT = re.compile(r"^export (\w+)=(.*)$", re.MULTILINE)
REPOSITORY = "docs/scanned"


class Reader:
    """Somebody who follows the page: what they type, and what they get."""

    def __init__(self, home: pathlib.Path, start: Callable[..., ProductServer], variables: dict[str, str]) -> None:
        self.home = home
        self._start = start
        self._variables = variables
        self.server: ProductServer | None = None
        self.id = ""

    def export(self, block: str) -> None:
        """Variables of the server: it is started with them, again if it runs, on the same data."""
        self._variables.update(dict(EXPORT.findall(block)))
        if self.server is not None:
            self.server.stop()
        self.server = self._start(**self._variables)

    def type(self, block: str) -> None:
        """The lines as they stand on the page."""
        assert self.server is not None
        environment = {"PATH": "/usr/bin:/bin", "DRYDOCK": self.server.url, "ID": self.id}
        subprocess.run(["sh", "-eu", "-c", block], cwd=self.home, env=environment, check=True, timeout=120)

    def read(self, name: str) -> Any:
        return json.loads((self.home / name).read_text())


@pytest.fixture
def reader(
    docker: DockerEngine,
    images: Pusher,
    start_server: Callable[..., ProductServer],
    tmp_path: pathlib.Path,
) -> Iterator[Reader]:
    cache = lab.write_database(tmp_path / "cache")
    images.push(REPOSITORY, "1.0.0", files=lab.alpine_files("1.2.4-r0", python=False))
    images.push(REPOSITORY, "1.1.0", files=lab.alpine_files("1.2.3-r0"))
    images.delete(REPOSITORY, images.push(REPOSITORY, "0.9.0"))
    reference = f"{images.host}/{REPOSITORY}:1.0.0"
    docker.api.pull(reference)
    labels = {"dd.watch": "true", "dd.tag.include": r"^\d+\.\d+\.\d+$"}
    made = docker.api.run("docs-scanned", {"Image": reference, "Labels": labels})
    variables = {
        "DD_WATCHER_LOCAL_SOCKET": docker.host.removeprefix("unix://"),
        "DD_WATCHER_LOCAL_WATCHBYDEFAULT": "false",
        "DD_REGISTRY_CUSTOM_LAB_URL": f"http://{images.host}",
        "DD_SECURITY_TRIVY_COMMAND": str(lab.program()),
        "TRIVY_CACHE_DIR": str(cache),
        "DD_STORE_PATH": str(tmp_path / "store"),
    }
    (tmp_path / "store").mkdir()
    made_reader = Reader(tmp_path, start_server, variables)
    made_reader.id = made
    yield made_reader
    docker.api.raw("DELETE", f"/containers/{made}?force=1")


def reasons(document: Any) -> list[str]:
    return [blocker["reason"] for blocker in document["updateEligibility"]["blockers"]]


def test_the_page(reader: Reader) -> None:
    switch_on, runtime, scan, everything, refused, update, sbom, change, allowed = BLOCKS
    reader.export(switch_on)
    found = reader.server.scanned()
    assert found["docs-scanned"]["result"]["tag"] == "1.1.0"

    reader.type(runtime)
    status = reader.read("runtime.json")
    assert (status["ready"], status["providers"][0]["version"]) == (True, "0.59.1")
    assert status["providers"][0]["databaseUpdatedAt"] == "2026-01-01T06:00:00Z"

    reader.type(scan)
    assert reader.read("running.json")["status"] == "passed"
    candidate = reader.read("candidate.json")
    assert {one["id"]: one["severity"] for one in candidate["vulnerabilities"]} == lab.FINDINGS["alpine"]
    assert (candidate["status"], candidate["image"].rpartition(":")[2]) == ("blocked", "1.1.0")
    assert reader.read("container.json")["security"]["updateScan"] == candidate

    reader.type(everything)
    assert reader.read("cycle.json")["scheduledCount"] == 1
    assert reader.read("overview.json")["images"][0]["image"] == REPOSITORY

    reader.type(refused)
    document = reader.read("refused.json")
    blocker = next(b for b in document["updateEligibility"]["blockers"] if b["reason"] == "security-scan-blocked")
    assert (blocker["severity"], blocker["details"]["summary"]["critical"]) == ("hard", 1)
    assert reader.server.get(blocker["details"]["path"]) == candidate

    reader.type(update)
    assert (reader.home / "update.status").read_text() == "409"
    assert blocker["message"] in reader.read("update.json")["error"]

    reader.type(sbom)
    spdx, cyclonedx = reader.read("spdx.json"), reader.read("cyclonedx.json")
    assert "demolib" in {one["name"] for one in spdx["packages"]}
    assert "demolib" in {one["name"] for one in cyclonedx["components"]}

    reader.export(change)
    eventually(lambda: reader.server.get(f"/api/v1/containers/{reader.id}"), "the container after the restart", 30)
    reader.type(allowed)
    document = reader.read("allowed.json")
    assert "security-scan-blocked" not in reasons(document)
    assert document["security"]["updateScan"]["scannedAt"] == candidate["scannedAt"]
