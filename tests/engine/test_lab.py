"""The lab itself: what other suites rely on is really there."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from kit.wait import eventually
from lab import sandbox
from lab.engine import DockerEngine
from lab.images import OCI_INDEX, OCI_MANIFEST, Pusher
from lab.registry import RegistryServer

pytestmark = pytest.mark.engine
ROOT = pathlib.Path(__file__).parents[2]


def test_engine_pulls_from_the_registry_and_runs(docker: DockerEngine, images: Pusher) -> None:
    images.push("lab/one", "1.0.0")
    docker.api.pull(f"{images.host}/lab/one:1.0.0")
    made = docker.api.run("lab-one", {"Image": f"{images.host}/lab/one:1.0.0"})
    assert docker.api.call("GET", f"/containers/{made}/json")["State"]["Running"] is True
    docker.api.call("POST", f"/containers/{made}/stop?t=10")
    assert docker.api.call("GET", f"/containers/{made}/json")["State"]["Running"] is False
    docker.api.call("DELETE", f"/containers/{made}")


def test_private_registry_refuses_without_password(private_registry: RegistryServer, private_images: Pusher) -> None:
    private_images.push("lab/secret", "1.0.0")
    assert Pusher(private_registry.host, private_registry.connection).request("GET", "/v2/")[0] == 401
    assert private_images.request("GET", "/v2/lab/secret/tags/list")[0] == 200


def test_index_of_two_platforms_and_manifest_without_media_type(images: Pusher) -> None:
    digest, children = images.push_index("lab/multi", "1", oci=True, media_type=False)
    status, headers, body = images.request("GET", "/v2/lab/multi/manifests/1", headers={"Accept": OCI_INDEX})
    assert (status, headers["Docker-Content-Digest"]) == (200, digest)
    assert b'"mediaType": "application/vnd.oci.image.index' not in body
    assert set(children) == {"linux/amd64", "linux/arm64/v8"}
    assert (
        images.request("HEAD", f"/v2/lab/multi/manifests/{children['linux/amd64']}", headers={"Accept": OCI_MANIFEST})[
            0
        ]
        == 200
    )


def test_rebuilt_tag_has_another_digest(images: Pusher) -> None:
    first = images.push("lab/rebuilt", "1.0", created="2026-01-01T00:00:00Z")
    assert images.push("lab/rebuilt", "1.0", created="2026-01-01T00:00:00Z") == first
    assert images.push("lab/rebuilt", "1.0", created="2026-02-01T00:00:00Z") != first


def test_an_engine_of_ones_own_survives_kill(start_engine, images: Pusher) -> None:  # type: ignore[no-untyped-def]
    engine = start_engine()
    images.push("lab/own", "1.0.0")
    engine.api.pull(f"{images.host}/lab/own:1.0.0")
    made = engine.api.run(
        "kept", {"Image": f"{images.host}/lab/own:1.0.0", "HostConfig": {"RestartPolicy": {"Name": "always"}}}
    )
    engine.kill()
    engine.start()
    eventually(lambda: engine.api.call("GET", f"/containers/{made}/json")["State"]["Running"], "restart")


@pytest.mark.skipif(sandbox.possible() is not None, reason="a sandbox needs root")
def test_a_box_dies_with_its_launcher(tmp_path: pathlib.Path) -> None:
    mark = tmp_path / "pid"
    script = f"echo $$ > {mark}; exec sleep 600"
    launcher = subprocess.Popen([sys.executable, "-m", "lab.sandbox", "sh", "-c", script], cwd=ROOT)
    eventually(lambda: mark.exists() and mark.read_text().strip(), "the sandbox's command")
    inner = [sandbox.child_of(launcher.pid, b"unshare")]
    assert inner[0] is not None
    os.kill(launcher.pid, signal.SIGKILL)
    launcher.wait()
    eventually(lambda: not pathlib.Path(f"/proc/{inner[0]}").exists(), "the end of the sandbox")


@pytest.mark.skipif(sandbox.possible() is not None, reason="a sandbox needs root")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_the_command_and_its_status_comes_back(tmp_path: pathlib.Path, number: signal.Signals) -> None:
    ready = tmp_path / "ready"
    script = f"trap 'exit 7' TERM INT; : > {ready}; while :; do sleep 0.1; done"
    launcher = subprocess.Popen([sys.executable, "-m", "lab.sandbox", "sh", "-c", script], cwd=ROOT)
    eventually(ready.exists, "the sandbox's command")
    launcher.send_signal(number)
    assert launcher.wait(20) == 7


def test_podman_pulls_and_runs(podman, images: Pusher) -> None:  # type: ignore[no-untyped-def]
    images.push("lab/pod", "1.0.0")
    podman.api.pull(f"{images.host}/lab/pod:1.0.0")
    made = podman.api.run("lab-pod", {"Image": f"{images.host}/lab/pod:1.0.0"})
    assert podman.api.call("GET", f"/containers/{made}/json")["State"]["Running"] is True
    podman.api.call("DELETE", f"/containers/{made}?force=1")
