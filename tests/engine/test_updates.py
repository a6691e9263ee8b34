"""Updates on real Engines: nothing of a container changes but its image, and no SIGKILL loses it."""

from __future__ import annotations

import asyncio
import os
import pathlib
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from drydock.core.errors import EngineError
from drydock.core.operation import INTERNAL_LABELS
from drydock.docker.connect import connect, from_docker_host, resolve
from drydock.store.settings import StoreSettings
from drydock.store.store import open_store
from drydock.updates.plan.health_gate import NOTE
from fakes.rows import MemoryRows
from lab.engine_under_test import MEMBERS, EngineUnderTest
from lab.images import SERVE
from lab.in_process_updater import InProcessUpdater, pair

pytestmark = pytest.mark.engine

CHECK = {"Healthcheck": {"Test": ["CMD", "/bin/true"], "Interval": 500_000_000, "Retries": 2}}
SICK = {"Healthcheck": {"Test": ["CMD", "/bin/false"], "Interval": 500_000_000, "Retries": 2}}
REAL = [name for name in ("docker", "podman") if name in MEMBERS]


@pytest.fixture(params=REAL)
async def under_test(request: pytest.FixtureRequest) -> AsyncIterator[EngineUnderTest]:
    made = MEMBERS[request.param](request)
    yield made
    await _remove_own(made)
    await made.clean()
    await made.engine.close()


async def _remove_own(under_test: EngineUnderTest) -> None:
    """Remove the containers of these tests. Podman keeps one while another hangs on it: those go first."""
    for last_try in (False, True):
        for entry in await under_test.engine.list_containers(all=True):
            if entry["Names"][0].lstrip("/").startswith("upd-"):
                try:
                    await under_test.engine.remove_container(entry["Id"], force=True, volumes=True)
                except EngineError:
                    if last_try:
                        raise


def in_process(under_test: EngineUnderTest) -> InProcessUpdater:
    return InProcessUpdater(under_test.engine, MemoryRows())


async def named(under_test: EngineUnderTest, name: str) -> dict[str, Any]:
    return await under_test.engine.inspect_container(name)


async def names(under_test: EngineUnderTest) -> dict[str, str]:
    entries = await under_test.engine.list_containers(all=True)
    found = {entry["Names"][0].lstrip("/"): entry["State"] for entry in entries}
    return {name: state for name, state in found.items() if name.startswith("upd-")}


VARIES = {"Id", "Created", "State", "Image", "GraphDriver", "Path", "Args", "LogPath", "ResolvConfPath", "HostnamePath"}
VARIES |= {"HostsPath", "Mounts", "NetworkSettings", "RestartCount", "ExecIDs", "ProcessLabel", "Pod", "IDMappings"}


def lasting(document: dict[str, Any]) -> dict[str, Any]:
    """What an update must not change."""
    kept = {key: value for key, value in document.items() if key not in VARIES}
    config = {k: v for k, v in kept["Config"].items() if k not in ("Image", "Hostname", "Volumes")}
    config["Env"] = sorted(e for e in config["Env"] if not e.startswith(("VERSION=", "HOSTNAME=")))
    config["Labels"] = {k: v for k, v in (config["Labels"] or {}).items() if k not in INTERNAL_LABELS}
    host = {k: v for k, v in kept["HostConfig"].items() if k not in ("Binds", "ContainerIDFile", "Annotations")}
    return {"Name": kept["Name"], "Config": config, "HostConfig": host}


def volumes(document: dict[str, Any]) -> set[str]:
    return {mount["Name"] for mount in document["Mounts"] if mount["Type"] == "volume"}


RICH: dict[str, Any] = {
    "Env": ["TZ=UTC", "TOKEN=a b[c]{d}"],
    "Labels": {"rule[0]": "Host(`a.b`) && {x}"},
    "StopTimeout": 7,
    "HostConfig": {
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
        "Memory": 64 * 1024 * 1024,
        "CapAdd": ["NET_ADMIN"],
        "Ulimits": [{"Name": "nofile", "Soft": 256, "Hard": 512}],
        "Tmpfs": {"/scratch": "size=1m"},
        "ExtraHosts": ["db:10.0.0.9"],
        "Sysctls": {"net.core.somaxconn": "256"},
        "PortBindings": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
        "ShmSize": 1 << 20,
        "ReadonlyRootfs": True,
    },
    "ExposedPorts": {"8080/tcp": {}},
}


async def test_nothing_changes_but_the_image(under_test: EngineUnderTest) -> None:
    old, new = pair(under_test, "upd/rich", {"Volumes": {"/data": {}}}, {"Volumes": {"/data": {}}})
    rich = RICH if under_test.kind == "docker" else {k: v for k, v in RICH.items() if k != "HostConfig"}
    container = await under_test.run("upd-rich", old, **rich)
    before = await named(under_test, "upd-rich")
    row = await in_process(under_test).update(container, "upd-rich", new)
    after = await named(under_test, "upd-rich")
    assert row.status == "succeeded", row.last_error
    assert lasting(after) == lasting(before)
    assert after["Config"]["Image"] == new
    assert "VERSION=2" in after["Config"]["Env"]
    assert volumes(after) == volumes(before)
    assert await names(under_test) == {"upd-rich": "running"}


async def test_defaults_of_the_old_image_go_and_own_settings_stay(under_test: EngineUnderTest) -> None:
    """On every Engine, however it shows what the image left open."""
    check = {"Test": ["CMD", "/bin/true"], "Interval": 500_000_000}
    loop = ["-c", "while :; do sleep 1; done"]
    old, new = pair(
        under_test,
        "upd/defaults",
        {"Entrypoint": ["/bin/sh"], "Cmd": loop, "StopSignal": "SIGQUIT", "Healthcheck": check},
        {"Cmd": SERVE, "StopSignal": "SIGUSR1", "WorkingDir": "/tmp"},
    )
    inherits = await under_test.run("upd-inherits", old)
    chose = await under_test.run("upd-chose", old, Cmd=["-c", "sleep 300"], StopSignal="SIGKILL", WorkingDir="/bin")
    for container, name in ((inherits, "upd-inherits"), (chose, "upd-chose")):
        row = await in_process(under_test).update(container, name, new)
        assert row.status == ("succeeded" if name == "upd-inherits" else "rolled-back"), row.last_error
    after = (await named(under_test, "upd-inherits"))["Config"]
    assert (after["Cmd"], after.get("Entrypoint") or None, after["WorkingDir"]) == (SERVE, None, "/tmp")
    assert after["StopSignal"] in ("SIGUSR1", "10")
    assert not after.get("Healthcheck")
    kept = next(spec for spec in (row.new_spec,) if spec)
    assert (kept["Cmd"], kept["WorkingDir"], kept["StopSignal"]) == (
        ["-c", "sleep 300"],
        "/bin",
        after_kill(under_test),
    )


def after_kill(under_test: EngineUnderTest) -> str:
    return "SIGKILL" if under_test.kind == "docker" else "9"


async def test_data_of_anonymous_volumes_stays(under_test: EngineUnderTest) -> None:
    old, new = pair(under_test, "upd/data", {"Volumes": {"/data": {}}}, {"Volumes": {"/data": {}}})
    for name, host in (("upd-plain", {}), ("upd-rm", {"AutoRemove": True})):
        container = await under_test.run(name, old, HostConfig=host)
        await under_test.engine.exec(container, ["/bin/sh", "-c", "echo precious > /data/marker"])
        row = await in_process(under_test).update(container, name, new)
        if under_test.kind == "podman" and host:
            assert (row.status, row.phase) == ("failed", "failed")
            assert "Podman deletes the volume at /data" in (row.last_error or "")
        else:
            assert row.status == "succeeded", row.last_error
        shown = await under_test.engine.exec(name, ["/bin/cat", "/data/marker"])
        assert shown.output.strip() == "precious"
    assert set(await names(under_test)) == {"upd-plain", "upd-rm"}


async def test_fixed_addresses_aliases_and_macs_on_two_networks(under_test: EngineUnderTest) -> None:
    old, new = pair(under_test, "upd/net")
    front, back = (
        under_test.add_network("upd-front", "10.77.1.0/24"),
        under_test.add_network("upd-back", "10.77.2.0/24"),
    )
    mac = {"MacAddress": "02:42:0a:4d:01:09"} if under_test.kind == "docker" else {}
    container = await under_test.create(
        "upd-net",
        old,
        **mac,
        HostConfig={"NetworkMode": front},
        NetworkingConfig={"EndpointsConfig": {front: {"Aliases": ["www"], "IPAMConfig": {"IPv4Address": "10.77.1.9"}}}},
    )
    await under_test.engine.connect_network(
        back, container, {"Aliases": ["api"], "IPAMConfig": {"IPv4Address": "10.77.2.9"}}
    )
    await under_test.engine.start_container(container)
    row = await in_process(under_test).update(container, "upd-net", new)
    assert row.status == "succeeded", row.last_error
    networks = (await named(under_test, "upd-net"))["NetworkSettings"]["Networks"]
    assert {name: facts["IPAddress"] for name, facts in networks.items()} == {front: "10.77.1.9", back: "10.77.2.9"}
    assert "www" in networks[front]["Aliases"]
    assert "api" in networks[back]["Aliases"]
    assert container[:12] not in networks[front]["Aliases"]
    if under_test.kind == "docker":
        assert networks[front]["MacAddress"] == "02:42:0a:4d:01:09"
    else:
        assert "does not say whether 10.77.1.9 in network upd-front was assigned manually" in "".join(row.warnings)


async def test_dependents_of_a_shared_network_run_again(under_test: EngineUnderTest) -> None:
    old, new = pair(under_test, "upd/vpn")
    container = await under_test.run("upd-vpn", old)
    await under_test.run("upd-side", old, HostConfig={"NetworkMode": f"container:{container}"})
    row = await in_process(under_test).update(container, "upd-vpn", new)
    assert row.status == "succeeded", row.last_error
    assert await names(under_test) == {"upd-vpn": "running", "upd-side": "running"}
    side = await named(under_test, "upd-side")
    assert side["HostConfig"]["NetworkMode"] == f"container:{row.new_container_id}"
    own = await under_test.engine.exec("upd-side", ["/bin/cat", "/proc/net/route"])
    theirs = await under_test.engine.exec("upd-vpn", ["/bin/cat", "/proc/net/route"])
    assert own.output == theirs.output


async def test_the_network_of_the_host(under_test: EngineUnderTest) -> None:
    old, new = pair(under_test, "upd/hosted")
    container = await under_test.run("upd-hosted", old, HostConfig={"NetworkMode": "host"})
    row = await in_process(under_test).update(container, "upd-hosted", new)
    assert row.status == "succeeded", row.last_error
    assert (await named(under_test, "upd-hosted"))["HostConfig"]["NetworkMode"] == "host"


async def test_legacy_links(under_test: EngineUnderTest) -> None:
    if under_test.kind != "docker":
        with pytest.raises(EngineError, match="link is not supported"):
            await under_test.create(
                "upd-linked", pair(under_test, "upd/links")[0], HostConfig={"Links": ["upd-db:database"]}
            )
        return
    old, new = pair(under_test, "upd/links")
    await under_test.run("upd-db", old)
    linked = await under_test.run("upd-linked", old, HostConfig={"Links": ["upd-db:database"]})
    row = await in_process(under_test).update(linked, "upd-linked", new)
    assert row.status == "succeeded", row.last_error
    assert (await named(under_test, "upd-linked"))["HostConfig"]["Links"] == ["/upd-db:/upd-linked/database"]


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("sick", {"Cmd": SERVE, **SICK}, "health_gate_failed"),
    ("exits", {"Cmd": ["/bin/sh", "-c", "exit 3"]}, "start_new_failed"),
    ("missing", {"Cmd": ["/bin/nothing"]}, "start_new_failed"),
]


@pytest.mark.parametrize(("name", "config", "code"), BAD)
async def test_a_bad_image_is_rolled_back(
    under_test: EngineUnderTest, name: str, config: dict[str, Any], code: str
) -> None:
    old, new = pair(under_test, f"upd/{name}", CHECK, config)
    container = await under_test.run(f"upd-{name}", old, HostConfig={"RestartPolicy": {"Name": "always"}})
    row = await in_process(under_test).update(container, f"upd-{name}", new)
    assert (row.status, row.rollback_code) == ("rolled-back", code), row.last_error
    after = await named(under_test, f"upd-{name}")
    assert (after["Id"], after["State"]["Running"]) == (container, True)
    assert after["HostConfig"]["RestartPolicy"]["Name"] == "always"
    assert await names(under_test) == {f"upd-{name}": "running"}


async def test_a_healthy_image_passes_the_gate(under_test: EngineUnderTest) -> None:
    old, new = pair(under_test, "upd/well", CHECK, CHECK)
    container = await under_test.run("upd-well", old)
    row = await in_process(under_test).update(container, "upd-well", new)
    assert row.status == "succeeded", row.last_error


async def test_an_auto_remove_container_is_rebuilt_when_the_new_image_is_bad(under_test: EngineUnderTest) -> None:
    old, new = pair(
        under_test, "upd/rebuilt", {"Volumes": {"/data": {}}}, {"Cmd": ["/bin/false"], "Volumes": {"/data": {}}}
    )
    binds = (
        {"Binds": ["upd-precious:/data"]} if under_test.kind == "podman" else {}
    )  # one without a name is refused there
    container = await under_test.run("upd-rebuilt", old, HostConfig={"AutoRemove": True, **binds})
    await under_test.engine.exec(container, ["/bin/sh", "-c", "echo precious > /data/marker"])
    before = await named(under_test, "upd-rebuilt")
    row = await in_process(under_test).update(container, "upd-rebuilt", new)
    assert (row.status, row.recovery) == ("rolled-back", "rebuilt-from-spec"), row.last_error
    after = await named(under_test, "upd-rebuilt")
    assert after["Image"] == before["Image"]
    assert volumes(after) == volumes(before)
    shown = await under_test.engine.exec("upd-rebuilt", ["/bin/cat", "/data/marker"])
    assert shown.output.strip() == "precious"


async def test_a_registry_that_fails_changes_nothing(under_test: EngineUnderTest) -> None:
    old, new = pair(under_test, "upd/gone")
    container = await under_test.run("upd-gone", old)
    row = await in_process(under_test).update(container, "upd-gone", new.replace("2.0.0", "9.9.9"))
    assert (row.status, row.phase) == ("failed", "pull-failed")
    assert (await named(under_test, "upd-gone"))["Id"] == container


# ── SIGKILL ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def process(*arguments: str) -> int:
    tests = pathlib.Path(__file__).parents[1]
    environ = {**os.environ, "PYTHONPATH": str(tests)}
    return subprocess.run(
        [sys.executable, "-m", "lab.updater", *arguments],
        cwd=tests,
        env=environ,
        stdout=subprocess.DEVNULL,
        check=False,
    ).returncode


KILLS = [f"{moment}:{number}" for number in range(1, 8) for moment in ("before", "after")]
FEW = ["after:2", "after:3", "after:5", "before:7"]
"""After the rename, after the create, after the stop (or start), before the end."""
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}, {"HostConfig": {"RestartPolicy": {"Name": "always"}}}),
    "checked": (CHECK, CHECK, {}),
    "sick": (CHECK, {"Cmd": SERVE, **SICK}, {}),
    "exits": ({}, {"Cmd": ["/bin/false"]}, {}),
    "removed": ({"Volumes": {"/data": {}}}, {"Volumes": {"/data": {}}}, {"HostConfig": {"AutoRemove": True}}),
}


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
async def test_a_manager_killed_at_any_change_loses_nothing(
    docker: Any, request: pytest.FixtureRequest, tmp_path: pathlib.Path, variant: str
) -> None:
    under_test = MEMBERS["docker"](request)
    old_config, new_config, settings = VARIANTS[variant]
    old, new = pair(under_test, f"upd/kill-{variant}", old_config, new_config)
    died = 0
    kills = KILLS if variant == "plain" else FEW
    for when in kills:
        name = f"upd-{variant}-{when.replace(':', '-')}"
        container = await under_test.run(name, old, **settings)
        before = await named(under_test, name)
        store = str(tmp_path / when)
        died += process(store, docker.host, container, new, when) == -9
        assert process(store, docker.host) == 0
        await check_settled(under_test, store, name, before)
        await under_test.engine.remove_container(name, force=True, volumes=True)
    assert died >= len(kills) - 4
    await under_test.engine.close()


async def check_settled(under_test: EngineUnderTest, store_path: str, name: str, before: dict[str, Any]) -> None:
    """Exactly one container, running, of the image that the journal says, with everything else as it was."""
    assert await names(under_test) == {name: "running"}
    after = await named(under_test, name)
    assert lasting(after) == lasting(before)
    assert volumes(after) == volumes(before)
    store = await open_store(StoreSettings(path=store_path))
    rows = await store.operations.of(f"::local::{name}", "")
    await store.close()
    assert len(rows) == 1
    assert rows[0].status in ("succeeded", "rolled-back"), rows[0]
    assert (after["Image"] != before["Image"]) == (rows[0].status == "succeeded")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "more", "policy"),
    [("stop_container", {}, "always"), ("start_container", CHECK, "unless-stopped"), ("start_container", {}, "no")],
)
async def test_an_engine_killed_in_the_middle_loses_nothing(
    start_engine: Callable[..., Any], images: Any, stage: str, more: dict[str, Any], policy: str
) -> None:
    server = start_engine()
    base = {"Cmd": SERVE, **more}
    images.push("upd/engine", "1.0.0", config=base)
    images.push("upd/engine", "2.0.0", config=base, created="2026-02-02T00:00:00Z")
    old, new = f"{images.host}/upd/engine:1.0.0", f"{images.host}/upd/engine:2.0.0"
    server.api.pull(old)
    engine: Any = connect(resolve(from_docker_host({"DOCKER_HOST": server.host})))
    created = await engine.create_container(
        "upd-engine", {"Image": old, "HostConfig": {"RestartPolicy": {"Name": policy}}}
    )
    await engine.start_container(created.id)
    call = getattr(engine, stage)

    async def dying(ref: str, **options: Any) -> None:
        setattr(engine, stage, call)
        await call(ref, **options)
        await asyncio.to_thread(server.kill)
        asyncio.get_running_loop().run_in_executor(None, server.start)
        raise EngineError("connection reset")

    setattr(engine, stage, dying)
    async with asyncio.timeout(60):
        row = await InProcessUpdater(engine, MemoryRows()).update(created.id, "upd-engine", new)
    assert row.status in ("succeeded", "rolled-back"), row.last_error
    entries = await engine.list_containers(all=True)
    assert [(entry["Names"], entry["State"]) for entry in entries] == [(["/upd-engine"], "running")]
    document = await engine.inspect_container("upd-engine")
    assert document["Config"]["Image"] == (new if row.status == "succeeded" else old)
    assert document["HostConfig"]["RestartPolicy"]["Name"] == policy
    await engine.close()


@pytest.mark.parametrize(("check", "status"), [(CHECK, "succeeded"), (SICK, "rolled-back")])
async def test_the_health_gate_works_on_every_engine(
    under_test: EngineUnderTest, check: dict[str, Any], status: str
) -> None:
    old, new = pair(under_test, "upd/gate", new=check)
    row = await in_process(under_test).update(await under_test.run("upd-gate", old), "upd-gate", new)
    assert (row.status, row.warnings) == (status, [] if under_test.kind == "docker" else [NOTE]), row.last_error
    assert await names(under_test) == {"upd-gate": "running"}


async def test_a_container_in_the_same_pid_namespace_follows(under_test: EngineUnderTest) -> None:
    old, new = pair(under_test, "upd/pid")
    container = await under_test.run("upd-pid", old)
    await under_test.run("upd-side", old, HostConfig={"PidMode": f"container:{container}"})
    row = await in_process(under_test).update(container, "upd-pid", new)
    assert (row.status, [one.name for one in row.dependents]) == ("succeeded", ["upd-side"]), row.last_error
    assert await names(under_test) == {"upd-pid": "running", "upd-side": "running"}
    side = await named(under_test, "upd-side")
    assert side["HostConfig"]["PidMode"] == f"container:{row.new_container_id}"
