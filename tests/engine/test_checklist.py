"""Rows of the checklist that need a real host: image facts, a check of one container, ids, deletion, the default port."""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from kit.wait import eventually
from lab import sandbox
from lab.engine import DockerEngine
from lab.fleet import Fleet
from lab.images import Pusher
from lab.server import ProductServer

pytestmark = pytest.mark.engine

BASE = "/api/v1/containers"


@pytest.fixture(scope="module")
def server(
    docker: DockerEngine, demo_fleet: Fleet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ProductServer]:
    watched = {"SOCKET": docker.host.removeprefix("unix://"), "DISCOVERY_SETTLE_MS": "0"}
    variables = {f"DD_WATCHER_LOCAL_{name}": value for name, value in watched.items()} | demo_fleet.variables()
    started = ProductServer(tmp_path_factory.mktemp("rows"), variables).start()
    started.scanned()
    yield started
    started.stop()


def post(server: ProductServer, path: str, body: object = None) -> Any:
    status, _, answer = server.request("POST", path, body)
    assert status == 200, answer
    return json.loads(answer)


@pytest.mark.rows("C-087", "C-088")
def test_facts_of_the_image(server: ProductServer, docker: DockerEngine, demo_fleet: Fleet) -> None:
    shown = server.get(f"{BASE}/{demo_fleet.ids['storefront']}")["image"]
    inspected = docker.api.call("GET", f"/images/{shown['id']}/json")
    assert (shown["architecture"], shown["os"]) == (inspected["Architecture"], inspected["Os"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", shown["created"])
    assert shown["created"][:19] == inspected["Created"][:19]
    assert isinstance(shown["digest"]["watch"], bool)
    assert f"@{shown['digest']['repo']}" in inspected["RepoDigests"][0]


@pytest.mark.rows("C-087")
def test_digests_are_watched_unless_the_label_says_no(
    server: ProductServer, docker: DockerEngine, demo_fleet: Fleet
) -> None:
    image = f"{demo_fleet.registry.host}/shop/search:latest"
    labels = {"dd.watch.digest": "false"}
    made = docker.api.run("row-unwatched", {"Image": image, "Labels": labels})
    try:
        post(server, f"{BASE}/watch")
        eventually(lambda: server.request("GET", f"{BASE}/{made}")[0] == 200, "the new container", 60)
        assert server.get(f"{BASE}/{made}")["image"]["digest"]["watch"] is False
        assert server.get(f"{BASE}/{demo_fleet.ids['search']}")["image"]["digest"]["watch"] is True
    finally:
        docker.api.raw("DELETE", f"/containers/{made}?force=1")


@pytest.mark.rows("C-089")
def test_the_result_passes_the_include_filter(server: ProductServer, demo_fleet: Fleet) -> None:
    found = server.get(f"{BASE}/{demo_fleet.ids['api']}")
    assert found["result"]["tag"] == "2.4.1", "3.0.0 is newer, and not included"
    assert re.search(found["includeTags"], found["result"]["tag"])


@pytest.mark.rows("C-095")
def test_a_check_of_one_container_asks_about_nothing_else(server: ProductServer, demo_fleet: Fleet) -> None:
    shop = demo_fleet.registry
    Pusher(shop.host, shop.connection).push_index("shop/cache", "7.6.0-alpine3.20", created="2026-07-01T08:00:00Z")

    def asked() -> Counter[str]:
        text = server.request("GET", "/metrics")[2].decode()
        pattern = r'^dd_registry_requests_total\{type="custom",name="(\w+)",kind="tags",status="\d+"\} (\d+)$'
        found: Counter[str] = Counter()
        for name, value in re.findall(pattern, text, re.MULTILINE):
            found[name] += int(value)
        return found

    before = asked()
    found = post(server, f"{BASE}/{demo_fleet.ids['cache']}/watch")
    assert found["result"]["tag"] == "7.6.0-alpine3.20"
    assert asked() - before == {"shop": 1}


@pytest.mark.rows("C-212", "C-215")
def test_variables_are_redacted_wherever_a_container_is_shown(server: ProductServer, demo_fleet: Fleet) -> None:
    id = demo_fleet.ids["api"]
    single = server.get(f"{BASE}/{id}")
    watched = post(server, f"{BASE}/{id}/watch")
    status, _, body = server.request("PATCH", f"{BASE}/{id}/update-policy", {"action": "clear"})
    assert status == 200
    listed = next(row for row in server.get(BASE)["data"] if row["id"] == id)
    for shown in (single, watched, json.loads(body), listed):
        env = {entry["key"]: (entry["value"], entry["sensitive"]) for entry in shown["details"]["env"]}
        assert env["API_TOKEN"] == ("***", True)
        assert env["MODE"] == ("production", False)
        assert env["PATH"] == ("/bin", False)
        assert "not-a-real-one" not in json.dumps(shown)


@pytest.mark.rows("C-335")
def test_ids_are_those_of_the_engine_everywhere(server: ProductServer, docker: DockerEngine, demo_fleet: Fleet) -> None:
    listed = {row["name"]: row["id"] for row in server.get(BASE)["data"]}
    for name, id in demo_fleet.ids.items():
        if name in listed:
            assert listed[name] == id
            assert len(id) == 64
    one = listed["storefront"]
    assert [row["id"] for row in server.get(f"{BASE}?containerIds={one}")["data"]] == [one]
    for path in ("", "/explain", "/triggers", "/update-operations", "/backups", "/vulnerabilities", "/logs?tail=1"):
        assert server.request("GET", f"{BASE}/{one}{path}")[0] == 200, path
        assert server.request("GET", f"{BASE}/{one[:12]}{path}")[0] == 404, path
    eventually(
        lambda: (
            one in [row["id"] for row in server.get("/api/v1/stats/summary")["data"]["topCpu"]]
            or len(server.get("/api/v1/stats/summary")["data"]["topCpu"]) == 5
        ),
        "stats",
        30,
    )
    assert all(len(row["id"]) == 64 for row in server.get("/api/v1/stats/summary")["data"]["topCpu"])


@pytest.mark.rows("C-238")
def test_a_deleted_record_leaves_the_container_running(
    server: ProductServer, docker: DockerEngine, demo_fleet: Fleet
) -> None:
    id = demo_fleet.ids["mail"]
    status, _, body = server.request("DELETE", f"{BASE}/{id}", headers={"X-DD-Confirm-Action": "container-delete"})
    assert (status, body) == (204, b"")
    assert server.request("GET", f"{BASE}/{id}")[0] == 404
    assert docker.api.call("GET", f"/containers/{id}/json")["State"]["Running"] is True
    post(server, f"{BASE}/watch")
    assert server.request("GET", f"{BASE}/{id}")[0] == 200


@pytest.mark.rows("C-294")
@pytest.mark.skipif(not sandbox.inside(), reason="port 3000 belongs to somebody else outside a sandbox")
def test_the_default_port_is_3000(tmp_path: pathlib.Path) -> None:
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("DD_", "DOCKER_"))}
    own = {"DD_STORE_PATH": str(tmp_path), "DD_LOCAL_WATCHER": "false", "DD_ANONYMOUS_AUTH_CONFIRM": "true"}
    program = str(pathlib.Path(sys.executable).with_name("drydock"))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve"], env={**keep, **own}, stdin=subprocess.DEVNULL, stdout=log)

    def get(path: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", 3000, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    try:
        eventually(lambda: get("/health")[0] == 200, "the server", 30, process)
        paths = get("/api/v1/openapi.json")[1]["paths"]
        outside = [path for path in paths if not path.startswith("/api/v1/")]
        assert "/api/v1/containers" in paths
        allowed = ("/auth/", "/api/environments", "/api/containers/", "/api/auth/")
        assert all(path in ("/health", "/metrics") or path.startswith(allowed) for path in outside), outside
    finally:
        process.terminate()
        process.wait(15)
