"""Who is self, what a helper is told and may do, and its report (updates.md §13)."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from drydock.core.errors import BadRequest, ConfigError, EngineUnreachable
from drydock.core.labels import SELF_UPDATE_HELPER, SELF_UPDATE_OPERATION, WATCH
from drydock.core.operation import Operation
from drydock.hosts.host import Hosts
from drydock.updates.plan.effects import StepFailed
from drydock.updates.self_update import process
from drydock.updates.self_update.helper import Access, Order, check_host, document, order_for, read_order, user_for
from drydock.updates.self_update.identity import OwnContainer, Signs, secret_digest, signs
from drydock.updates.self_update.status import read_report
from fakes.update_harness import UpdateHarness

A, B = "a" * 64, "b" * 64
ROOT = "/var/lib/docker/containers"

DOCKER = f"""\
501 480 0:79 / / rw - overlay overlay rw,lowerdir=/l:/m,upperdir=/var/lib/docker/overlay2/me/diff,workdir=/w
510 501 8:1 {ROOT}/{A}/resolv.conf /etc/resolv.conf rw - ext4 /dev/sda1 rw
511 501 8:1 {ROOT}/{A}/hostname /etc/hostname rw - ext4 /dev/sda1 rw
512 501 8:1 {ROOT}/{A}/hosts /etc/hosts rw - ext4 /dev/sda1 rw
513 501 8:1 /var/lib/docker/volumes/x/_data /store rw - ext4 /dev/sda1 rw
514 501 8:1 {ROOT}/{B} /peek rw - ext4 /dev/sda1 rw
"""
PODMAN = f"""\
501 480 0:79 / / rw - overlay overlay rw,lowerdir=/l,upperdir=/storage/overlay/me/diff,workdir=/w
510 501 0:30 /containers/storage/overlay-containers/{A}/userdata/hostname /etc/hostname rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("mountinfo", "cgroup", "ids"),
    [
        (DOCKER, "0::/", (A,)),
        (PODMAN, "0::/", (A,)),
        ("", f"12:pids:/docker/{A}\n11:cpu:/docker/{A}", (A,)),
        ("", f"0::/system.slice/docker-{A}.scope", (A,)),
        ("", f"0::/machine.slice/libpod-{A}.scope", (A,)),
        ("21 1 8:1 / / rw - ext4 /dev/sda1 rw\nbroken line\n", "0::/user.slice", ()),
    ],
)
def test_the_own_id_stands_in_the_mounts_or_the_control_group(mountinfo: str, cgroup: str, ids: Any) -> None:
    found = signs(mountinfo, cgroup, "host")
    assert found.ids == ids, "mounts that others have made are none of our business"


def test_mounts_tell_more() -> None:
    found = signs(DOCKER, "", "host")
    assert (found.upper, "/store" in found.mount_points) == ("/var/lib/docker/overlay2/me/diff", True)


def own(harness: UpdateHarness, found: Signs) -> OwnContainer:
    return OwnContainer(found, Hosts([harness.host]), finalize_url="http://127.0.0.1:1/")


async def test_only_the_engine_that_knows_the_container_makes_it_ours(harness: UpdateHarness) -> None:
    harness.engine.add_image("app:1")
    web = await harness.container()
    assert await own(harness, Signs(ids=(A,))).container_id(harness.host) is None
    assert await own(harness, Signs(ids=(A, web))).container_id(harness.host) == web


@pytest.mark.parametrize("hostname", ["web", "not-there", ""])
async def test_a_name_is_no_proof(harness: UpdateHarness, hostname: str) -> None:
    harness.engine.add_image("app:1")
    await harness.container(Hostname=hostname)
    assert await own(harness, Signs(hostname=hostname)).container_id(harness.host) is None


async def test_a_host_name_that_is_the_beginning_of_an_id_is_one(harness: UpdateHarness) -> None:
    harness.engine.add_image("app:1")
    web = await harness.container()
    assert await own(harness, Signs(hostname=web[:12])).container_id(harness.host) == web


async def test_a_lodger_is_told_from_the_container_whose_network_it_shares(harness: UpdateHarness) -> None:
    """Docker mounts the owner's /etc/hosts into everybody who shares its network."""
    harness.engine.add_image("app:1")
    harness.engine.add_image("vpn:1")
    vpn = await harness.container("vpn", image="vpn:1")
    mine = await harness.container(HostConfig={"NetworkMode": f"container:{vpn}", "Binds": ["store:/store"]})
    lodger = Signs(ids=(vpn,), mount_points=frozenset({"/", "/store", "/etc/hosts"}))
    assert await own(harness, lodger).container_id(harness.host) == mine
    harness.engine.containers[vpn]["GraphDriver"] = {"Data": {"UpperDir": "/vpn"}}
    harness.engine.containers[mine]["GraphDriver"] = {"Data": {"UpperDir": "/mine"}}
    by_root = Signs(ids=(vpn,), mount_points=frozenset({"/store"}), upper="/vpn")
    assert await own(harness, by_root).container_id(harness.host) == vpn


async def test_an_engine_that_does_not_answer_is_asked_again(harness: UpdateHarness) -> None:
    harness.engine.add_image("app:1")
    web = await harness.container()
    asked = own(harness, Signs(ids=(web,)))
    inspect, harness.engine.inspect_container = harness.engine.inspect_container, unreachable  # type: ignore[method-assign]
    await asked.learn(harness.host.key)
    harness.engine.inspect_container = inspect  # type: ignore[method-assign]
    with pytest.raises(StepFailed, match="does not run in a container"):
        await own(harness, Signs()).helper(await operation(harness, web), harness.host, {})
    assert await asked.container_id(harness.host) == web


async def unreachable(_: str) -> Any:
    raise EngineUnreachable


async def operation(harness: UpdateHarness, container: str, **more: Any) -> Operation:
    harness.engine.add_image("app:2", local=False)
    return await harness.accept(container, kind="self-update", by_helper=True, old_container_id=container, **more)


@pytest.mark.parametrize(
    ("bind", "source"),
    [
        ("/run/docker.sock:/var/run/docker.sock", "/run/docker.sock"),
        ("/run/user/1000/docker.sock:/run/docker.sock", "/run/user/1000/docker.sock"),
        ("/var/run:/var/run", "/var/run/docker.sock"),
        ("/sockets:/run", "/sockets/docker.sock"),
    ],
)
async def test_the_helper_gets_the_socket_of_the_host(harness: UpdateHarness, bind: str, source: str) -> None:
    harness.engine.add_image("app:1", {"Volumes": {"/store": {}}, "User": "drydock"})
    host = {"Binds": [bind], "GroupAdd": ["998"], "SecurityOpt": ["label=disable"]}
    web = await harness.container(User="drydock", HostConfig=host)
    made = await own(harness, Signs(ids=(web,))).helper(await operation(harness, web), harness.host, {})
    mounts = {mount["Target"]: mount for mount in made.document["HostConfig"]["Mounts"]}
    assert mounts["/var/run/docker.sock"]["Source"] == source
    assert mounts["/store"] == {"Type": "tmpfs", "Target": "/store"}, "no volume is left behind"
    assert made.document["HostConfig"]["GroupAdd"] == ["998"]
    assert made.document["HostConfig"]["SecurityOpt"] == ["label=disable"]
    assert made.document["User"] == "drydock", "who may open the socket now may open it then"
    assert made.document["Image"] == harness.engine.containers[web]["Image"], "what runs now is known to be good"


async def test_without_the_socket_there_is_no_helper(harness: UpdateHarness) -> None:
    harness.engine.add_image("app:1")
    web = await harness.container(HostConfig={"Binds": ["/data:/data"]})
    with pytest.raises(StepFailed, match="mount the Docker socket"):
        await own(harness, Signs(ids=(web,))).helper(await operation(harness, web), harness.host, {})


def test_an_order_survives_the_environment() -> None:
    order = Order(
        op_id="op", old_container_id=A, new_container_id=B, old_container_name="dd", finalize_secret="s", docker_port=1
    )
    assert read_order({**order.variables(), "PATH": "/bin"}) == order
    assert order.variables()["DD_SELF_UPDATE_START_TIMEOUT_MS"] == "30000"
    assert order.variables()["DD_SELF_UPDATE_HEALTH_TIMEOUT_MS"] == "120000"
    with pytest.raises(ConfigError, match="helper container only"):
        read_order({"PATH": "/bin"})


@pytest.mark.parametrize("host", ["tcp://engine", "user@engine", "engine/x", "engine lan", ""])
def test_a_tcp_host_is_bare(host: str) -> None:
    with pytest.raises(ConfigError):
        check_host(host)


@pytest.mark.parametrize("host", ["engine", "10.0.0.2", "engine.lan", "fd00::2"])
def test_bare_hosts_pass(host: str) -> None:
    assert check_host(host) == host


def test_the_helper_outlives_itself_and_is_nobodys_container() -> None:
    order = Order(op_id="op", old_container_id=A, new_container_id=B, old_container_name="dd")
    made = document(order, Access(host="engine"), {"HostConfig": {}}, {"Id": "sha256:1"}, "0")
    assert made["HostConfig"]["RestartPolicy"] == {"Name": "on-failure"}
    assert made["HostConfig"]["AutoRemove"] is False
    assert made["Labels"] == {SELF_UPDATE_HELPER: "true", SELF_UPDATE_OPERATION: "op", WATCH: "false"}
    assert made["Healthcheck"] == {"Test": ["NONE"]}


@pytest.mark.parametrize(
    ("user", "same", "expected"),
    [("haproxy", True, "haproxy"), ("haproxy", False, "0"), ("1000:998", False, "1000:998"), ("", True, "0")],
)
def test_who_opens_the_socket(user: str, same: bool, expected: str) -> None:
    assert user_for({"Config": {"User": user}}, same_image=same) == expected


def test_the_row_in_the_helper_knows_how_the_old_one_was(harness: UpdateHarness) -> None:
    row = Operation(
        id="op",
        container_id=A,
        container_name="dd",
        status="in-progress",
        phase="new-created",
        created_at=1,
        updated_at=1,
        watcher="local",
        wanted={"reference": "x"},  # type: ignore[arg-type]  # not looked at
        old_container_id=A,
        new_container_id=B,
        old_restart_policy={"Name": "always", "MaximumRetryCount": 0},
    )
    order = order_for(row, Access(host="engine", protocol="https", port=2376), "http://127.0.0.1:1/", "secret", 9000)
    known = process.row_of(read_order(order.variables()))
    assert known.old_restart_policy == {"Name": "always", "MaximumRetryCount": 0}
    assert process.options_of(order).settings.liveness_grace_s == 9.0
    assert process.watcher_settings(order).host == "engine"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"operationId": " "}, "operationId is required"),
        ({"operationId": 7}, "operationId is required"),
        ({"operationId": "x", "status": "queued"}, "status must be a terminal"),
        ({"operationId": "x", "status": ["failed"]}, "status must be a terminal"),
        ({"operationId": "x", "status": "failed", "phase": "succeeded"}, "phase must be valid"),
        ({"operationId": "x", "status": "failed", "phase": 1}, "phase must be valid"),
    ],
)
def test_reports_that_say_nothing(body: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        read_report(body)


def test_a_report_without_a_phase_ends_in_that_of_its_status() -> None:
    assert read_report({"operationId": "x", "status": "rolled-back"}).phase == "rolled-back"
    assert read_report({"operationId": "x", "status": "failed", "phase": "rollback-failed"}).phase == "rollback-failed"


class Server(http.server.BaseHTTPRequestHandler):
    """Takes reports."""

    taken: list[tuple[str, str, dict[str, Any]]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.taken.append((self.path, self.headers["X-DD-Self-Update-Secret"], body))
        self.send_response(202)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[http.server.HTTPServer]:
    Server.taken = []
    made = http.server.HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=made.serve_forever).start()
    yield made
    made.shutdown()
    made.server_close()


def finalize(url: str) -> int:
    facts = {
        "OP_ID": "op",
        "FINALIZE_URL": url,
        "FINALIZE_SECRET": "s",
        "STATUS": "failed",
        "PHASE": "",
        "LAST_ERROR": "no",
    }
    variables = {f"DD_SELF_UPDATE_{name}": value for name, value in facts.items()}
    command = [sys.executable, "-m", "drydock", "self-update-finalize"]
    return subprocess.run(command, env={**os.environ, **variables}, check=False, capture_output=True).returncode


def test_the_command_hands_the_report_to_its_own_server(server: http.server.HTTPServer) -> None:
    assert finalize(f"http://127.0.0.1:{server.server_port}/api/v1/internal/self-update/finalize") == 0
    body = {"operationId": "op", "status": "failed", "phase": None, "lastError": "no"}
    assert Server.taken == [("/api/v1/internal/self-update/finalize", "s", body)]


def test_it_tells_nobody_else(server: http.server.HTTPServer) -> None:
    assert finalize("http://drydock.example/api/v1/internal/self-update/finalize") == 2
    server.shutdown()
    server.server_close()
    assert finalize(f"http://127.0.0.1:{server.server_port}/x") == 1, "nobody listens: the helper tries again"


def test_the_commands_are_offered_to_nobody() -> None:
    shown = subprocess.run([sys.executable, "-m", "drydock", "--help"], check=True, capture_output=True, text=True)
    assert "self-update" not in shown.stdout
    helper = subprocess.run(
        [sys.executable, "-m", "drydock", "self-update-helper"], check=False, capture_output=True, text=True
    )
    assert (helper.returncode, "helper container only" in helper.stderr) == (1, True)


def test_only_a_digest_of_the_secret_is_kept() -> None:
    assert len(secret_digest("s")) == 64
    assert secret_digest("s") != secret_digest("t")
