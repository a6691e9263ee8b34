"""The product killed by SIGKILL around each change that an update makes, on a real Engine (updates.md §9.3, §15).

One round kills once, when every container of the scene has come to its nth change; the restarted product then has several
interrupted updates to bring to an end. Scenes are the first five of the crash matrix.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from kit.wait import eventually
from lab.engine import DockerEngine
from lab.gate import Gate, Moment
from lab.images import SERVE, Pusher
from lab.server import ProductServer

pytestmark = [pytest.mark.engine, pytest.mark.slow]

CHECK = {"Test": ["CMD", "/bin/true"], "Interval": 500_000_000, "Retries": 2}
SICK = {**CHECK, "Test": ["CMD", "/bin/false"]}
ALWAYS = {"RestartPolicy": {"Name": "always"}}

SCENES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "checked": ({"Healthcheck": CHECK}, {"Healthcheck": CHECK}, {}),
    "plain": ({}, {}, ALWAYS),
    "sick": ({"Healthcheck": CHECK}, {"Healthcheck": SICK}, ALWAYS),
    "exits": ({}, {"Cmd": ["/bin/sh", "-c", "exit 3"]}, {}),
    "hosted": ({}, {}, {"NetworkMode": "host", **ALWAYS}),
}
"""Configuration of the old image and of the new one, and the container's host settings."""

CHANGES = {"checked": 7, "plain": 8, "sick": 12, "exits": 9, "hosted": 8}
"""Changes of an update nobody interrupts: pull, tag, rename, create, policy, stop, start, then removal or rollback."""

POINTS: list[tuple[int, Moment]] = [
    (1, "before"),
    *((nth, "after") for nth in range(1, 9)),
    (9, "before"),
    (10, "after"),
    (11, "before"),
    (12, "after"),
]


class Shop:
    """One product with one store for all rounds, behind the gate."""

    def __init__(self, docker: DockerEngine, images: Pusher, gate: Gate, server: ProductServer) -> None:
        self.docker, self.images, self.gate, self.server = docker, images, gate, server

    def publish(self) -> None:
        """Both versions of every scene; the Engine has the old ones."""
        for scene, (old, new, _) in SCENES.items():
            for tag, config in (("1.0.0", old), ("2.0.0", new)):
                day = f"2026-02-0{tag[0]}T00:00:00Z"
                self.images.push(f"killed/{scene}", tag, config={"Cmd": SERVE, **config}, created=day)
            self.docker.api.pull(self.image(scene))

    def image(self, scene: str, tag: str = "1.0.0") -> str:
        return f"{self.images.host}/killed/{scene}:{tag}"

    def open(self) -> dict[str, str]:
        """Start a container of every scene; ids by name, once the product knows their updates."""
        self.close()  # what a failed round left behind

        def run(scene: str) -> str:
            labels = {"dd.tag.family": "loose", "dd.watch": "true"}
            document = {"Image": self.image(scene), "Labels": labels, "HostConfig": SCENES[scene][2]}
            return self.docker.api.run(scene, document)

        with ThreadPoolExecutor() as pool:
            ids = dict(zip(SCENES, pool.map(run, SCENES), strict=True))

        def known() -> bool:
            self.server.request("POST", "/api/v1/containers/watch")
            rows = {row["name"]: row for row in self.server.get("/api/v1/containers")["data"]}
            return all(name in rows and rows[name]["id"] == id and rows[name].get("updateAvailable")
                       for name, id in ids.items())  # fmt: skip

        eventually(known, "the updates of every scene", 30, self.server.process)
        return ids

    def update(self, ids: dict[str, str]) -> dict[str, str]:
        """Ask for all updates; operation ids by name."""
        status, _, body = self.server.request("POST", "/api/v1/containers/update", {"containerIds": [*ids.values()]})
        found = json.loads(body)
        assert (status, found["rejected"]) == (200, []), found
        return {row["containerName"]: row["operationId"] for row in found["accepted"]}

    def ended(self, operations: dict[str, str]) -> dict[str, dict[str, Any]]:
        """The operations by name, once all are over."""

        def over() -> dict[str, dict[str, Any]] | None:
            rows = {name: self.server.get(f"/api/v1/update-operations/{id}") for name, id in operations.items()}
            return rows if all(row["status"] not in ("queued", "in-progress") for row in rows.values()) else None

        return eventually(over, f"the end of every update, see {self.server.home}/log", 60, self.server.process)

    def close(self) -> None:
        """Remove the round's containers, and let the product see it."""
        rows = self.docker.api.call("GET", "/containers/json?all=1")
        mine = [row["Id"] for row in rows if row["Names"][0].lstrip("/").partition("-old-")[0] in SCENES]
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda id: self.docker.api.raw("DELETE", f"/containers/{id}?force=1&v=1"), mine))

    def check(self, scene: str, row: dict[str, Any]) -> None:
        """Exactly one container, running, of the image that the operation tells, with its restart policy."""
        rows = self.docker.api.call("GET", "/containers/json?all=1")
        names = [one["Names"][0] for one in rows if one["Names"][0].lstrip("/").partition("-old-")[0] == scene]
        assert names == [f"/{scene}"], row
        document = self.docker.api.call("GET", f"/containers/{scene}/json")
        good = scene not in ("sick", "exits")
        assert row["status"] in (("succeeded", "rolled-back") if good else ("rolled-back",)), row
        wanted = "2.0.0" if row["status"] == "succeeded" else "1.0.0"
        assert document["State"]["Running"], row
        assert document["Config"]["Image"] == self.image(scene, wanted), row
        host = SCENES[scene][2]
        assert document["HostConfig"]["RestartPolicy"]["Name"] == host.get("RestartPolicy", {"Name": ""})["Name"], row
        assert document["HostConfig"]["NetworkMode"] == host.get("NetworkMode", "default"), row


@pytest.fixture(scope="module")
def shop(docker: DockerEngine, images: Pusher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    gate = Gate(pathlib.Path(docker.host.removeprefix("unix://")), docker.home / "gate.sock").start()
    variables = {
        "DD_WATCHER_LOCAL_SOCKET": str(gate.socket),
        "DD_WATCHER_LOCAL_CRON": "0 0 1 1 *",
        "DD_WATCHER_LOCAL_WATCHBYDEFAULT": "false",
        "DD_WATCHER_LOCAL_DISCOVERY_SETTLE_MS": "0",
        "DD_REGISTRY_CUSTOM_LAB_URL": f"http://{images.host}",
        "DD_ACTION_DOCKER_LOCAL_PRUNE": "false",
        "DD_ACTION_DOCKER_LOCAL_BACKUPCOUNT": "1",
        "DD_UPDATE_POST_START_LIVENESS_GRACE_MS": "400",
    }
    made = Shop(docker, images, gate, ProductServer(tmp_path_factory.mktemp("killed"), variables))
    made.publish()
    made.server.start()
    yield made
    made.server.stop()
    made.close()
    gate.stop()


def test_the_changes_of_an_update_nobody_interrupts(shop: Shop) -> None:
    """The table that the rounds rely on: no point that lies after the end of an update, none forgotten."""
    ids = shop.open()
    shop.gate.hold({id: name for name, id in ids.items()}, 0, "before")
    rows = shop.ended(shop.update(ids))
    counted = dict(shop.gate.changes)
    for scene, row in rows.items():
        shop.check(scene, row)
    shop.close()
    assert counted == CHANGES


@pytest.mark.parametrize(("nth", "moment"), POINTS)
def test_a_server_killed_at_any_change_loses_nothing(shop: Shop, nth: int, moment: Moment) -> None:
    ids = shop.open()
    shop.gate.hold({id: name for name, id in ids.items()}, nth, moment)
    operations = shop.update(ids)
    expected = {scene for scene, changes in CHANGES.items() if changes >= nth}
    eventually(lambda: shop.gate.arrived >= expected, f"change {nth} of {expected}", 60, shop.server.process)
    shop.server.kill()
    shop.gate.open()
    shop.server.start()
    rows = shop.ended(operations)
    for scene, row in rows.items():
        shop.check(scene, row)
    shop.close()
