"""Stats of real containers, compared with what the `docker` program shows."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from drydock.clock import SystemClock
from drydock.compat.dockhand.environments import Environments
from drydock.compat.dockhand.room import Dockhand
from drydock.core.errors import NotFound
from drydock.docker.api import Document
from drydock.docker.client import EngineClient
from drydock.docker.connect import connect, from_docker_host, resolve
from drydock.latest import Reader
from drydock.stats.room import Stats
from drydock.stats.settings import StatsSettings
from drydock.stats.snapshot import Snapshot
from drydock.supervisor import Supervisor
from fakes.hosts import one_host
from fakes.numbers import MemoryNumbers
from fakes.scripted_engine import Watched, container
from kit.wait import until
from lab.engine import DockerEngine
from lab.images import SERVE, Pusher

pytestmark = pytest.mark.engine

BUSY = ["/bin/sh", "-c", "while :; do :; done"]
LARGE = ["/bin/sh", "-c", "x=$(seq 1 1500000); while :; do :; done"]
MIB = 1024 * 1024
UNITS = {"B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1024, "MiB": MIB, "GiB": 1024**3}


class Counted:
    """An Engine client that counts the stats requests it passes on."""

    def __init__(self, client: EngineClient) -> None:
        self._client = client
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def stats_once(self, ref: str) -> Document:
        self.calls["stats_once"] += 1
        return await self._client.stats_once(ref)

    def stats(self, ref: str) -> AsyncIterator[Document]:
        self.calls["stats"] += 1
        return self._client.stats(ref)


class Scene:
    def __init__(self, lab: DockerEngine, image: str) -> None:
        self.lab = lab
        self.image = image
        self.engine: Any = Counted(connect(resolve(from_docker_host({"DOCKER_HOST": lab.host}))))
        self.watched = Watched()
        self.supervisor = Supervisor(SystemClock())
        hosts, settings = one_host(self.engine), StatsSettings(interval_s=1, history_size=5)
        self.stats = Stats(self.watched, hosts, SystemClock(), self.supervisor, settings)
        self.hosts = Dockhand(Environments(hosts, MemoryNumbers()), hosts, SystemClock())
        self.made: list[str] = []

    def run(self, name: str, command: list[str] = SERVE, **document: Any) -> str:
        made = str(self.lab.api.run(name, {"Image": self.image, "Cmd": command, **document}))
        self.made.append(made)
        self.watched.items[made] = container(made, name=name)
        return made

    async def shown(self, name: str) -> dict[str, str]:
        """What `docker stats` prints for one container."""
        process = await asyncio.create_subprocess_exec(
            *("docker", "-H", self.lab.host, "stats", "--no-stream", "--format", "{{json .}}", name),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        found: dict[str, str] = json.loads(output)
        return found

    async def close(self) -> None:
        await self.supervisor.stop()
        for made in self.made:
            self.lab.api.raw("DELETE", f"/containers/{made}?force=1")
        await self.engine.close()


@pytest.fixture
async def scene(docker: DockerEngine, images: Pusher) -> AsyncIterator[Scene]:
    images.push("observe/shell", "1.0.0")
    image = f"{images.host}/observe/shell:1.0.0"
    docker.api.pull(image)
    scene = Scene(docker, image)
    yield scene
    await scene.close()


def size(text: str) -> float:
    match = re.fullmatch(r"([\d.]+)([A-Za-z]+)", text.strip())
    assert match is not None
    return float(match[1]) * UNITS[match[2]]


@pytest.mark.skipif(shutil.which("docker") is None, reason="compares with the docker program")
@pytest.mark.rows("D-009", "D-015", "D-018", "D-019")
async def test_figures_are_those_of_the_docker_program(scene: Scene) -> None:
    scene.run("st-busy", LARGE, HostConfig={"NanoCpus": 500_000_000, "Memory": 64 * MIB})
    idle = scene.run("st-idle")
    async with asyncio.timeout(30):
        while (before := (await scene.hosts.snapshot("st-busy", "1")).memory_usage) < 9 * MIB:
            await scene.hosts.snapshot("st-idle", "1")
    assert before < 64 * MIB
    for name in ("st-busy", "st-idle"):
        ours, theirs = await asyncio.gather(scene.hosts.snapshot(name, "1"), scene.shown(name))
        assert abs(ours.cpu_percent - float(theirs["CPUPerc"].rstrip("%"))) < 15, name
        usage, limit = map(size, theirs["MemUsage"].split("/"))
        assert ours.memory_usage == pytest.approx(usage, rel=0.05, abs=512 * 1024), name
        assert ours.memory_limit == pytest.approx(limit, rel=0.001), name
        assert ours.memory_percent == pytest.approx(float(theirs["MemPerc"].rstrip("%")), abs=1), name
        received, sent = map(size, theirs["NetIO"].split("/"))
        assert ours.network_rx == pytest.approx(received, rel=0.05, abs=500), name
        assert ours.network_tx == pytest.approx(sent, rel=0.05, abs=500), name
    busy = await scene.hosts.snapshot("st-busy", "1")
    resting = await scene.hosts.snapshot(idle[:12], "1")
    # the limit is half a core; how much of it a busy machine grants is not ours to promise
    assert resting.cpu_percent < busy.cpu_percent < 70
    assert busy.memory_limit == 64 * MIB


@pytest.mark.rows("D-002", "D-003", "D-023", "D-028", "D-031")
async def test_references_and_states(scene: Scene) -> None:
    made = scene.run("st-host", HostConfig={"NetworkMode": "host", "Memory": 32 * MIB})
    for reference in (made, made[:12], "st-host"):
        found = await scene.hosts.snapshot(reference, None)
        assert (found.memory_limit, found.network_rx, found.network_tx) == (32 * MIB, 0, 0)
    await scene.engine.stop_container(made, grace=5)
    stopped = await scene.hosts.snapshot("st-host", "1")
    assert (stopped.cpu_percent, stopped.memory_usage, stopped.memory_limit) == (0, 0, 0)
    with pytest.raises(NotFound):
        await scene.hosts.snapshot("st-nobody", "1")


@pytest.mark.rows("D-041", "D-042", "D-043", "D-045", "D-046", "D-052")
async def test_one_round_over_the_host(scene: Scene) -> None:
    running = {scene.run("st-r1"), scene.run("st-r2")}
    paused, stopped = scene.run("st-paused"), scene.run("st-stopped")
    scene.lab.api.call("POST", f"/containers/{paused}/pause")
    await scene.engine.stop_container(stopped, grace=5)
    events = [each async for each in scene.hosts.stream("1") if each]
    found = {each.data.id: each.data.name for each in events if each.event == "stat"}  # type: ignore[union-attr]
    assert running <= set(found)
    assert not {paused, stopped} & set(found)
    assert {found[each] for each in running} == {"st-r1", "st-r2"}
    assert [each.event for each in events].count("done") == 1
    assert events[-1].event == "done"
    scene.lab.api.call("POST", f"/containers/{paused}/unpause")


async def test_collection_with_an_audience_only(scene: Scene) -> None:
    made = scene.run("st-watch", BUSY, HostConfig={"NanoCpus": 300_000_000})
    assert not scene.engine.calls
    first = await scene.stats.read(made)
    assert first.data is not None
    assert 10 < first.data.cpu_percent < 60
    reader: Reader[Snapshot] = Reader()
    with scene.stats.joined(scene.watched.need(made), reader):
        stamps = [(await reader.next()).timestamp for _ in range(3)]
    assert stamps == sorted(set(stamps))
    assert scene.engine.calls == {"stats_once": 1, "stats": 1}
    history = (await scene.stats.read(made)).history
    assert len(history) >= 3
    assert all(10 < each.cpu_percent < 60 for each in history)


async def test_a_container_that_restarts_and_vanishes_while_watched(scene: Scene) -> None:
    made = scene.run("st-again")
    reader: Reader[Snapshot] = Reader()
    with scene.stats.joined(scene.watched.need(made), reader):
        await reader.next()
        await scene.engine.restart_container(made, grace=5)
        async with asyncio.timeout(20):
            assert (await reader.next()).memory_limit_bytes > 0
        await scene.engine.remove_container(made, force=True)
        assert scene.stats.collecting() == [made]
    await until(lambda: not scene.stats.collecting(), "collector ended")


async def test_fleet_summary(scene: Scene) -> None:
    made = [scene.run(f"st-f{number}", HostConfig={"Memory": 32 * MIB}) for number in range(3)]
    gone = scene.run("st-gone")
    await scene.engine.remove_container(gone, force=True)
    scene.supervisor.start("stats:fleet", scene.stats.fleet.run)
    summary = await scene.stats.fleet.read()
    assert summary.watched_count == 3
    assert summary.total_memory_limit_bytes == 3 * 32 * MIB
    assert {each.id for each in summary.top_memory} == set(made)
