"""The gate in a real update: real Engine, registry, Trivy and server. Refused means untouched; allowed means installed."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kit.wait import eventually
from lab import trivy as lab
from lab.cosign import sign
from lab.engine import DockerEngine
from lab.images import Pusher
from lab.server import ProductServer

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(lab.program() is None, reason="Trivy is not installed (tests/lab/setup.d/trivy.sh)"),
]
NAME = "gate-web"
KEY = ec.generate_private_key(ec.SECP256R1())


class Scene:
    """One container with an update waiting, and a server that watches it."""

    def __init__(
        self, docker: DockerEngine, images: Pusher, start: Callable[..., ProductServer], home: pathlib.Path, repo: str
    ) -> None:
        self.docker, self.images, self.home, self.repository = docker, images, home, repo
        self._start = start
        self.reference = f"{images.host}/{repo}"
        self.digests = {
            "1.0.0": images.push(repo, "1.0.0", files=lab.alpine_files("1.2.4-r0", python=False)),
            "1.1.0": images.push(repo, "1.1.0", files=lab.alpine_files("1.2.3-r0")),
        }
        docker.api.pull(f"{self.reference}:1.0.0")
        labels = {"dd.watch": "true", "dd.tag.include": r"^\d+\.\d+\.\d+$"}
        self.first = docker.api.run(NAME, {"Image": f"{self.reference}:1.0.0", "Labels": labels})
        (home / "store").mkdir()

    def serve(self, found: bool = True, **variables: str) -> ProductServer:
        """The server with these variables, once it has looked; `found` the update."""
        self.server = self._start(
            DD_WATCHER_LOCAL_SOCKET=self.docker.host.removeprefix("unix://"),
            DD_WATCHER_LOCAL_WATCHBYDEFAULT="false",
            DD_REGISTRY_CUSTOM_LAB_URL=f"http://{self.images.host}",
            DD_ACTION_DOCKER_LOCAL_PRUNE="false",
            DD_SECURITY_SCANNER="trivy",
            DD_SECURITY_TRIVY_COMMAND=str(lab.program()),
            TRIVY_CACHE_DIR=str(self.home / "cache"),
            DD_STORE_PATH=str(self.home / "store"),
            **variables,
        )
        seen = self.server.scanned()[NAME]
        assert not found or seen["result"]["tag"] == "1.1.0"
        return self.server

    def update(self) -> dict[str, Any]:
        """Ask for the update and wait for its end; the operation."""
        status, _, body = self.server.request("POST", f"/api/v1/containers/{self.first}/update")
        assert status == 202, body
        path = f"/api/v1/update-operations/{json.loads(body)['operationId']}"

        def ended() -> dict[str, Any] | None:
            found: dict[str, Any] = self.server.get(path)
            operation = found.get("data", found)
            return operation if operation["status"] not in ("queued", "in-progress") else None

        return eventually(ended, f"the end of the update, see {self.server.home}/log", 90)

    def running(self) -> dict[str, Any]:
        return dict(self.docker.api.call("GET", f"/containers/{NAME}/json"))

    def has_image(self, tag: str) -> bool:
        return bool(self.docker.api.raw("GET", f"/images/{self.reference}:{tag}/json")[0] == 200)

    def audit(self) -> list[str]:
        return [entry["action"] for entry in self.server.get("/api/v1/audit")["data"]]


@pytest.fixture
def scene(
    request: pytest.FixtureRequest,
    docker: DockerEngine,
    images: Pusher,
    start_server: Callable[..., ProductServer],
    tmp_path: pathlib.Path,
) -> Iterator[Scene]:
    lab.write_database(tmp_path / "cache")
    made = Scene(docker, images, start_server, tmp_path, request.node.name.replace("test_", "gate/").lower())
    yield made
    made.server.stop()
    for found in docker.api.call("GET", "/containers/json?all=1"):
        if any(name.startswith(f"/{NAME}") for name in found["Names"]):
            docker.api.raw("DELETE", f"/containers/{found['Id']}?force=1")


def test_refused_then_allowed(scene: Scene) -> None:
    scene.serve()
    operation = scene.update()
    assert (operation["status"], operation["phase"]) == ("failed", "failed")
    assert operation["lastError"] == (
        "Security scan blocked update (2 vulnerabilities matched block severities: CRITICAL, HIGH). "
        "Summary: critical=1, high=1, medium=1, low=0, unknown=0"
    )
    running = scene.running()
    assert (running["Id"], running["State"]["Running"]) == (scene.first, True)
    assert not scene.has_image("1.1.0")
    assert {"security-scan-blocked", "security-alert", "update-failed"} <= set(scene.audit())
    found = scene.server.get(f"/api/v1/containers/{scene.first}")
    assert "security-scan-blocked" in [b["reason"] for b in found["updateEligibility"]["blockers"]]
    status, _, body = scene.server.request("POST", f"/api/v1/containers/{scene.first}/update")
    assert status == 409, body

    scene.server.stop()
    scene.serve(DD_SECURITY_BLOCK_SEVERITY="NONE")
    operation = scene.update()
    assert operation["status"] == "succeeded", operation
    running = scene.running()
    assert (running["Id"] != scene.first, running["State"]["Running"]) == (True, True)
    assert running["Config"]["Image"] == f"{scene.reference}:1.1.0"
    assert "security-scan-passed" in scene.audit()


def test_a_scanner_that_is_gone_lets_nothing_through(scene: Scene) -> None:
    scene.serve(DD_SECURITY_BLOCK_SEVERITY="NONE", TRIVY_DB_REPOSITORY="127.0.0.1:9/none:2")
    (scene.home / "cache" / "db" / "trivy.db").unlink()
    (scene.home / "cache" / "db" / "metadata.json").unlink()
    operation = scene.update()
    assert operation["status"] == "failed"
    assert operation["lastError"].startswith("Security scan failed: Trivy command failed (exit=1): ")
    assert scene.running()["Id"] == scene.first


def test_signed_or_not(scene: Scene) -> None:
    public = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (scene.home / "cosign.pub").write_bytes(public)
    scene.serve(
        DD_SECURITY_VERIFY_SIGNATURES="true",
        DD_SECURITY_COSIGN_KEY=str(scene.home / "cosign.pub"),
        DD_SECURITY_BLOCK_SEVERITY="NONE",
    )
    operation = scene.update()
    assert operation["lastError"] == "Image signature verification failed: no signatures found"
    assert (scene.running()["Id"], scene.has_image("1.1.0")) == (scene.first, False)

    sign(scene.images, scene.repository, scene.digests["1.1.0"], lambda data: KEY.sign(data, ec.ECDSA(hashes.SHA256())))
    operation = scene.update()
    assert operation["status"] == "succeeded", operation
    assert "security-signature-verified" in scene.audit()


def test_an_image_that_no_registry_has_is_found_on_its_host(scene: Scene) -> None:
    scene.docker.api.raw("POST", f"/images/{scene.reference}:1.0.0/tag?repo=only-here&tag=1.0.0")
    scene.docker.api.raw("DELETE", f"/containers/{scene.first}?force=1")
    made = scene.docker.api.run(NAME, {"Image": "only-here:1.0.0", "Labels": {"dd.watch": "true"}})
    server = scene.serve(found=False)
    status, _, body = server.request("POST", f"/api/v1/containers/{made}/scan")
    assert status == 200, body
    scan = json.loads(body)["security"]["scan"]
    assert (scan["status"], scan["image"]) == ("passed", "only-here:1.0.0"), scan
    status, _, body = server.request("GET", f"/api/v1/containers/{made}/sbom")
    assert status == 200, body
    assert "demolib" in {package["name"] for package in json.loads(body)["document"]["packages"]}
