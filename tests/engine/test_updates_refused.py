"""Updates that cannot be done, on a real Engine: nothing of the container changes, and the operation says why."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from drydock.core.errors import EngineUnreachable
from drydock.docker.connect import connect, from_docker_host, resolve
from fakes.rows import MemoryRows
from lab.engine_under_test import MEMBERS, EngineUnderTest
from lab.images import SERVE, Pusher
from lab.in_process_updater import InProcessUpdater, pair
from lab.proxy import Fault, Proxy

pytestmark = pytest.mark.engine


@pytest.fixture
async def under_test(request: pytest.FixtureRequest) -> AsyncIterator[EngineUnderTest]:
    made = MEMBERS["docker"](request)
    yield made
    for entry in await made.engine.list_containers(all=True):
        if entry["Names"][0].startswith("/ref-"):
            await made.engine.remove_container(entry["Id"], force=True, volumes=True)
    await made.engine.close()


async def untouched(engine: Any, name: str, container: str) -> bool:
    """The container is the one it was, runs, and is alone."""
    found = [e for e in await engine.list_containers(all=True) if e["Names"][0].startswith(f"/{name}")]
    return [(e["Id"], e["Names"], e["State"]) for e in found] == [(container, [f"/{name}"], "running")]


async def test_an_image_for_another_platform(under_test: EngineUnderTest) -> None:
    old, _ = pair(under_test, "ref/arm")
    new = under_test.publish("ref/arm", "3.0.0", config={"Cmd": SERVE}, platform="linux/arm64")
    container = await under_test.run("ref-arm", old)
    row = await InProcessUpdater(under_test.engine, MemoryRows()).update(container, "ref-arm", new)
    assert (row.status, row.rollback_code) == ("failed", None)
    assert "arm64" in (row.last_error or "")
    assert await untouched(under_test.engine, "ref-arm", container)


async def test_a_container_that_is_gone(under_test: EngineUnderTest) -> None:
    old, new = pair(under_test, "ref/gone")
    container = await under_test.run("ref-gone", old)
    await under_test.engine.remove_container(container, force=True)
    row = await InProcessUpdater(under_test.engine, MemoryRows()).update(container, "ref-gone", new)
    assert (row.status, row.last_error) == ("failed", "Container ref-gone no longer exists")


async def test_an_old_image_that_is_gone_from_the_host_hinders_nothing(under_test: EngineUnderTest) -> None:
    """Docker deletes the image of a stopped container when forced; then its defaults are unknown, and kept."""
    old, new = pair(under_test, "ref/lost", {"Env": ["PATH=/bin", "BAKED=1"]})
    container = await under_test.run("ref-lost", old, Env=["OWN=1"])
    image = (await under_test.engine.inspect_container(container))["Image"]
    await under_test.engine.stop_container(container)
    await under_test.engine.remove_image(image, force=True)
    row = await InProcessUpdater(under_test.engine, MemoryRows()).update(container, "ref-lost", new)
    assert row.status == "succeeded", row.last_error
    after = await under_test.engine.inspect_container("ref-lost")
    assert {"OWN=1", "BAKED=1"} <= set(after["Config"]["Env"])


class Taken:
    """An Engine on which somebody creates a container of the freed name right after the rename."""

    def __init__(self, engine: Any, image: str) -> None:
        self._engine, self._image = engine, image
        self.stranger = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def rename_container(self, ref: str, name: str) -> None:
        before = (await self._engine.inspect_container(ref))["Name"].lstrip("/")
        await self._engine.rename_container(ref, name)
        if not self.stranger:
            self.stranger = (await self._engine.create_container(before, {"Image": self._image})).id


async def test_a_name_that_somebody_else_takes(under_test: EngineUnderTest) -> None:
    """The old container runs on under its temporary name; once the name is free again it gets it back."""
    old, new = pair(under_test, "ref/name")
    container = await under_test.run("ref-name", old)
    engine = Taken(under_test.engine, old)
    in_process = InProcessUpdater(engine, MemoryRows())
    row = await in_process.update(container, "ref-name", new)
    assert (row.status, row.phase) == ("failed", "rollback-failed")
    assert "already in use" in (row.last_error or "")
    assert (await under_test.engine.inspect_container(container))["State"]["Running"]
    assert (await under_test.engine.inspect_container(engine.stranger))["Name"] == "/ref-name"
    await under_test.engine.remove_container(engine.stranger)
    row = (await in_process.worker.recover(row)).row
    assert (row.status, row.recovery) == ("failed", "restored-old")
    assert await untouched(under_test.engine, "ref-name", container)


@pytest.fixture
def small_disk() -> Iterator[str]:
    """40 MB at the folder where the Engine of the next test keeps its images."""
    place = "/run/lab/small"
    subprocess.run(["sh", "-c", f"mkdir -p {place} && mount -t tmpfs -o size=40m none {place}"], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.slow
async def test_a_registry_and_a_disk_that_fail_in_the_middle(
    small_disk: str, start_engine: Callable[..., Any], images: Pusher, registry: Any
) -> None:
    """One Engine with little space, behind a registry that breaks off; both faults come after the pull has begun."""
    proxy = await Proxy(registry.url).start()
    proxy.faults = [Fault("/ref/cut/blobs/", cut=50_000)]
    noise = [("noise", os.urandom(60_000_000), 0o644)]
    for name in ("cut", "full"):
        images.push(f"ref/{name}", "1.0.0", config={"Cmd": SERVE})
        images.push(
            f"ref/{name}", "2.0.0", config={"Cmd": SERVE}, files=noise if name == "full" else [("x", b"x", 0o644)]
        )
    engine_server = start_engine("--max-download-attempts=1", "--storage-driver=vfs", f"--data-root={small_disk}/data")
    engine: Any = connect(resolve(from_docker_host({"DOCKER_HOST": engine_server.host})))
    try:
        for name, says in (("cut", "EOF"), ("full", "no space left on device")):
            old = f"{images.host}/ref/{name}:1.0.0"
            await asyncio.to_thread(engine_server.api.pull, old)
            made = await engine.create_container(f"ref-{name}", {"Image": old})
            await engine.start_container(made.id)
            row = await InProcessUpdater(engine, MemoryRows()).update(
                made.id, f"ref-{name}", f"{proxy.host}/ref/{name}:2.0.0"
            )
            assert (row.status, row.phase) == ("failed", "pull-failed"), row
            assert says in (row.last_error or "")
            assert await untouched(engine, f"ref-{name}", made.id)
    finally:
        await engine.close()
        await proxy.stop()


async def test_an_engine_that_does_not_answer(under_test: EngineUnderTest) -> None:
    old, new = pair(under_test, "ref/away")
    container = await under_test.run("ref-away", old)

    class Away:
        def __getattr__(self, name: str) -> Any:
            async def nobody(*_: Any, **__: Any) -> Any:
                raise EngineUnreachable("Cannot connect to the Docker Engine")

            return nobody

    row = await InProcessUpdater(Away(), MemoryRows()).update(container, "ref-away", new)
    assert (row.status, row.last_error) == ("failed", "Cannot connect to the Docker Engine")
    assert await untouched(under_test.engine, "ref-away", container)
