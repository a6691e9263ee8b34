"""Every metric moves when the product does what it counts: one server, one container, a real Engine and registry."""

from __future__ import annotations

import asyncio
import base64
import functools
import http.client
import json
import pathlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from drydock.auth.passwords import make_hash
from kit.wait import eventually
from lab.engine import DockerEngine
from lab.images import SERVE, Pusher
from lab.proxy import Fault, Proxy
from lab.server import ProductServer

pytestmark = pytest.mark.engine

PASSWORD = "correct: horse"
ADMIN = ("admin", PASSWORD)

UNMOVED = {
    "dd_webhook_total": "webhooks come with their own room",
    "drydock_outbox_entries": "the outbox comes with its own room",
    "drydock_agent_connected": "agents come with their own room",
    "dd_watcher_logger_init_failures_total": "the logger cannot fail to start",
    "dd_update_active": "is back at 0 after the update; tests/contract/test_updates.py",
    "dd_update_recovered_total": "needs a crash; tests/unit/updates/test_crash_matrix.py",
    "dd_registry_paused_seconds": "gone when the pause is over; tests/unit/observe/test_metrics.py",
    "drydock_container_vulnerabilities": "needs a scan; tests/unit/observe/test_metrics.py",
    "drydock_containers_unknown": "nothing is unknown here; tests/unit/observe/test_metrics.py",
    "drydock_auth_ip_locked_total": "would lock the test out; tests/contract/test_auth.py",
    "drydock_eventloop_lag_seconds": "is 0 when all is well",
    "drydock_build_info": "never changes",
    "python_info": "never changes",
    "process_start_time_seconds": "never changes",
    "process_max_fds": "never changes",
    "process_virtual_memory_bytes": "need not change",
    "process_resident_memory_bytes": "need not change",
    "process_open_fds": "need not change",
}


class Scene:
    """A server in front of which somebody sits."""

    def __init__(self, images: Pusher, server: ProductServer) -> None:
        self.images, self.server = images, server

    def scrape(self) -> dict[str, dict[str, float]]:
        """Values by family and series; families without any included."""
        status, _, body = self.server.request("GET", "/metrics")
        assert status == 200
        found: dict[str, dict[str, float]] = {}
        for line in body.decode().splitlines():
            if line.startswith("# TYPE"):
                family = found[line.split(" ")[2]] = {}
            elif not line.startswith("#"):
                series, _, value = line.rpartition(" ")
                family[series] = float(value)
        return found

    def call(
        self, method: str, path: str, body: object = None, *, auth: tuple[str, str] = ADMIN, **headers: str
    ) -> Any:
        """A request with name and password; status and document."""
        token = base64.b64encode(":".join(auth).encode()).decode()
        status, _, answer = self.server.request(method, path, body, {"Authorization": f"Basic {token}", **headers})
        return status, json.loads(answer) if answer[:1] in (b"{", b"[") else answer

    def row(self) -> dict[str, Any]:
        """The container as the product shows it."""
        _, found = self.call("GET", "/api/v1/containers")
        return next(row for row in found["data"] if row["name"] == "metered")

    def ended(self, operation_id: str) -> str:
        """How an operation ended."""
        found: dict[str, Any] = {}

        def over() -> bool:
            found.update(self.call("GET", f"/api/v1/update-operations/{operation_id}")[1])
            return found["status"] not in ("queued", "in-progress")

        eventually(over, "the operation", 60, self.server.process)
        return str(found["status"])


@pytest.fixture
async def scene(docker: DockerEngine, images: Pusher, tmp_path: pathlib.Path) -> AsyncIterator[Scene]:
    proxy = await Proxy(f"http://{images.host}").start()
    with ThreadPoolExecutor(1) as thread:
        run = functools.partial(asyncio.get_running_loop().run_in_executor, thread)
        server = await run(prepared, docker, images, proxy, tmp_path)
        yield Scene(images, server)
        await run(removed, docker, server)
    await proxy.stop()


def prepared(docker: DockerEngine, images: Pusher, proxy: Proxy, home: pathlib.Path) -> ProductServer:
    """A container whose registry is the proxy, and a server that watches it."""
    images.push("metrics/web", "1.0.0", config={"Cmd": SERVE})
    image = f"{images.host}/metrics/web:1.0.0"
    docker.api.pull(image)
    labels = {"dd.tag.family": "loose", "dd.watch": "true", "dd.registry.lookup.image": f"{proxy.host}/metrics/web"}
    docker.api.run("metered", {"Image": image, "Labels": labels})
    socket = docker.host.removeprefix("unix://")
    quota = {"Retry-After": "1", "ratelimit-remaining": "50;w=21600", "ratelimit-limit": "100;w=21600"}
    proxy.faults = [Fault("/tags/list", status=429, headers=quota, times=1)]
    variables = {
        "DD_ANONYMOUS_AUTH_CONFIRM": "false",
        "DD_AUTH_BASIC_ADMIN_USER": "admin",
        "DD_AUTH_BASIC_ADMIN_HASH": make_hash(PASSWORD),
        "DD_AUTH_ACCOUNT_LOCKOUT_MAX_ATTEMPTS": "1",
        "DD_SERVER_METRICS_AUTH": "false",
        "DD_WATCHER_LOCAL_SOCKET": socket,
        "DD_WATCHER_LOCAL_WATCHBYDEFAULT": "false",
        "DD_WATCHER_CLOSED_SOCKET": str(home / "none.sock"),
        "DD_WATCHER_CLOSED_WATCHBYDEFAULT": "false",
        "DD_WATCHER_CLOSED_MAINTENANCE_WINDOW": "* * 29 2 *",
        "DD_REGISTRY_CUSTOM_LAB_URL": f"http://{proxy.host}",
        "DD_ACTION_DOCKER_LOCAL_PRUNE": "false",
        "DD_NOTIFICATION_MOCK_ONE_MOCK": "ok",
        "DD_UPDATE_POST_START_LIVENESS_GRACE_MS": "300",
        "DD_METRICS_CONTAINERSTATS": "true",
        "DD_STATS_INTERVAL": "1",
    }
    return ProductServer(home, variables).start()


def removed(docker: DockerEngine, server: ProductServer) -> None:
    """Stop the server and take its container away."""
    if server.process.poll() is None:
        server.stop()
    for row in docker.api.call("GET", "/containers/json?all=1"):
        if row["Names"][0].startswith("/metered"):
            docker.api.raw("DELETE", f"/containers/{row['Id']}?force=1")


def exercise(scene: Scene) -> None:
    """Everything that is counted, once."""
    scene.images.push("metrics/web", "1.1.0", config={"Cmd": SERVE}, created="2026-02-01T00:00:00Z")
    assert scene.call("POST", "/api/v1/containers/watch")[0] == 200
    eventually(lambda: scene.row()["updateAvailable"], "the update", 30, scene.server.process)
    id = scene.row()["id"]
    assert scene.call("POST", f"/api/v1/containers/{id}/triggers/mock/one")[0] == 200
    status, started = scene.call("POST", f"/api/v1/containers/{id}/update")
    assert status == 202, started
    assert scene.ended(started["operationId"]) == "succeeded"
    eventually(lambda: scene.row()["image"]["tag"]["value"] == "1.1.0", "its end", 30, scene.server.process)
    id = scene.row()["id"]
    confirm = {"X-DD-Confirm-Action": "container-rollback"}
    assert scene.call("POST", f"/api/v1/containers/{id}/rollback", {}, **confirm)[0] == 200
    scene.images.push("metrics/web", "1.2.0", config={"Cmd": SERVE}, created="2026-03-01T00:00:00Z")
    assert scene.call("POST", "/api/v1/containers/watch")[0] == 200
    assert scene.call("POST", "/auth/login", {}, auth=("mallory", "wrong"))[0] in (401, 423)
    assert scene.call("GET", "/api/containers")[0] == 410


async def test_every_metric_moves(scene: Scene) -> None:
    await asyncio.to_thread(play, scene)


def play(scene: Scene) -> None:
    """The whole visit, from the first scrape to the last."""
    before = scene.scrape()
    watcher = http.client.HTTPConnection("127.0.0.1", scene.server.port, timeout=60)
    exercise(scene)
    token = base64.b64encode(":".join(ADMIN).encode()).decode()
    watcher.request("GET", "/api/v1/events/ui", headers={"Authorization": f"Basic {token}"})
    assert watcher.getresponse().status == 200
    after: dict[str, dict[str, float]] = {}

    def all_moved() -> bool:
        after.update(scene.scrape())
        return not still(before, after)

    try:
        eventually(all_moved, "the metrics", 30, scene.server.process)
    except Exception:
        pytest.fail(f"did not move: {sorted(still(before, after))}")
    finally:
        watcher.close()
    strange = {name for name in UNMOVED if name not in after}
    assert not strange, "the list of exceptions names what does not exist"
    assert after["dd_registry_response"]['dd_registry_response_count{type="custom",name="lab"}'] > 0
    assert after["dd_registry_rate_limit_remaining"]
    watched = {"local": 1, "closed": 0}
    assert after["dd_watcher_total"] == {
        f'dd_watcher_total{{type="docker",name="{name}"}}': number for name, number in watched.items()
    }
    written = after["dd_audit_entries_total"]
    for action in ("update-queued", "update-applied", "rollback", "update-failed"):
        assert written.get(f'dd_audit_entries_total{{action="{action}"}}', 0) == (action != "update-failed"), action


def still(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """Names whose values are as before."""
    return {name for name in after if name not in UNMOVED and after[name] == before.get(name)}
