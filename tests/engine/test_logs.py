"""Logs of real containers: fast, binary, silent, on a terminal, ending, restarted, removed, and an Engine that dies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from drydock.clock import SystemClock
from drydock.core.errors import EngineError
from drydock.docker.client import EngineClient
from drydock.docker.connect import connect, from_docker_host, resolve
from drydock.logs.room import Logs
from drydock.logs.selection import Selection
from drydock.logs.viewer import Viewer
from fakes.hosts import one_host
from fakes.scripted_engine import Watched, container
from kit.wait import until
from lab.engine import DockerEngine
from lab.images import Pusher

pytestmark = pytest.mark.engine

WAIT = "trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done"
LAST = 2_000


class Scene:
    """Containers of one Engine and a log service that watches them."""

    def __init__(self, lab: DockerEngine, image: str) -> None:
        self.lab = lab
        self.image = image
        self.engine: EngineClient = connect(resolve(from_docker_host({"DOCKER_HOST": lab.host})))
        self.watched = Watched()
        self.logs = Logs(self.watched, one_host(self.engine), SystemClock())
        self._made: list[str] = []

    def run(self, script: str, **document: Any) -> str:
        name = f"logs-{len(self._made)}-{id(self)}"
        made = str(self.lab.api.run(name, {"Image": self.image, "Cmd": ["/bin/sh", "-c", script], **document}))
        self._made.append(made)
        self.watched.items[made] = container(made, name=name)
        return made

    async def text(self, ref: str, **wanted: Any) -> list[str]:
        found = await self.logs.download(self.watched.need(ref), Selection(**wanted), timestamps=False)
        return found.decode().splitlines()

    async def printed(self, ref: str, line: str, **wanted: Any) -> None:
        """Wait until the container has printed `line` as one of its last, in the streams wanted."""
        async with asyncio.timeout(20):
            while line not in await self.text(ref, tail=3, **wanted):
                pass

    @asynccontextmanager
    async def looking(self, ref: str, **wanted: Any) -> AsyncIterator[Client]:
        follow = wanted.pop("follow", True)
        async with self.logs.viewer(ref, Selection(**{"tail": 100, **wanted}), follow=follow) as viewer:
            client = Client(viewer)
            yield client
            client.task.cancel()

    async def close(self) -> None:
        assert self.logs.open_streams() == 0
        for made in self._made:
            self.lab.api.raw("DELETE", f"/containers/{made}?force=1")
        await self.engine.close()


class Client:
    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.messages: list[dict[str, str]] = []
        self.ended = False
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while batch := await self.viewer.take():
            self.messages += [json.loads(each) for each in batch]
        self.ended = True

    @property
    def lines(self) -> list[str]:
        return [each["line"] for each in self.messages]


@pytest.fixture
async def scene(docker: DockerEngine, images: Pusher) -> AsyncIterator[Scene]:
    images.push("observe/shell", "1.0.0")
    image = f"{images.host}/observe/shell:1.0.0"
    docker.api.pull(image)
    scene = Scene(docker, image)
    yield scene
    await scene.close()


async def test_tail_since_and_streams(scene: Scene) -> None:
    made = scene.run(f"echo bad >&2; seq 1 {LAST}; echo end; {WAIT}")
    await scene.printed(made, "end", stderr=False)
    await scene.printed(made, "bad", stdout=False)
    everything = await scene.text(made, tail=LAST + 2)
    assert [line for line in everything if line != "bad"] == [*map(str, range(1, LAST + 1)), "end"]
    assert everything.count("bad") == 1, "the Engine copies the two streams side by side: its place is not ours to say"
    assert await scene.text(made, tail=3) == everything[-3:]
    assert await scene.text(made, tail=1000) == everything[-1000:]
    assert await scene.text(made, tail=0) == []
    assert await scene.text(made, stdout=False, tail=5) == ["bad"]
    assert await scene.text(made, since=4_000_000_000) == []
    stamped = (await scene.logs.download(scene.watched.need(made), Selection(tail=1, stderr=False))).decode()
    document = await scene.engine.inspect_container(made)
    assert stamped[:10] == document["State"]["StartedAt"][:10]
    assert stamped.split(" ", 1)[1] == "end\n"


async def test_viewers_of_a_fast_container_see_every_line_once(scene: Scene) -> None:
    made = scene.run(f"sleep 1; seq 1 30000; sleep 0.2; seq 30001 60000; {WAIT}")
    async with scene.looking(made, tail=0) as early:
        await until(lambda: early.messages, "first lines", 10)
        async with scene.looking(made, tail=500) as late:
            await until(lambda: early.lines[-1] == late.lines[-1:][0] == "60000" if late.lines else False, "end", 30)
            assert early.lines == [str(number) for number in range(1, 60001)]
            first = int(late.lines[0])
            assert late.lines == [str(number) for number in range(first, 60001)]
            assert scene.logs.open_streams() == 1


async def test_binary_and_long_lines(scene: Scene) -> None:
    long = "x" * 40_000
    made = scene.run(f"printf '\\377\\000\\001\\n'; printf '%s\\n' {long}; echo end; {WAIT}")
    await scene.printed(made, "end")
    assert await scene.text(made) == ["\ufffd\0\x01", long, "end"]
    async with scene.looking(made, follow=False) as client:
        await until(lambda: client.ended, "backlog")
    assert client.lines == ["\ufffd\0\x01", long, "end"]


async def test_terminal(scene: Scene) -> None:
    made = scene.run(f"printf '\\033[31mred\\033[0m\\n'; echo two; {WAIT}", Tty=True)
    await scene.printed(made, "two")
    assert await scene.text(made) == ["\x1b[31mred\x1b[0m", "two"] or await scene.text(made, stderr=False)
    async with scene.looking(made) as client:
        await until(lambda: client.lines == ["\x1b[31mred\x1b[0m", "two"], "lines")
    assert {each["type"] for each in client.messages} == {"stdout"}
    assert all(each["ts"].endswith("Z") for each in client.messages)


async def test_silence_then_the_end(scene: Scene) -> None:
    made = scene.run(WAIT)
    async with scene.looking(made) as client:
        await until(lambda: scene.logs.open_streams() == 1, "stream")
        await scene.engine.stop_container(made, grace=5)
        await until(lambda: client.ended, "end of the log", 10)
    assert (client.messages, client.viewer.error) == ([], None)
    assert await scene.text(made) == []


async def test_restart_and_removal_end_the_stream_in_order(scene: Scene) -> None:
    made = scene.run(f"echo up; {WAIT}")
    async with scene.looking(made) as client:
        await until(lambda: client.lines == ["up"], "first start", 10)
        await scene.engine.restart_container(made, grace=5)
        await until(lambda: client.ended, "end by restart", 10)
        assert client.viewer.error is None
    async with scene.looking(made) as client:
        await until(lambda: client.lines == ["up", "up"], "second start", 10)
        await scene.engine.remove_container(made, force=True)
        await until(lambda: client.ended, "end by removal", 10)
        assert client.viewer.error is None


async def test_an_engine_that_dies(scene: Scene, start_engine: Callable[..., DockerEngine], images: Pusher) -> None:
    lab = start_engine()
    lab.api.pull(scene.image)
    other = Scene(lab, scene.image)
    made = other.run(f"echo up; {WAIT}")
    async with other.looking(made) as client:
        await until(lambda: client.lines == ["up"], "line", 10)
        lab.kill()
        await until(lambda: client.ended, "end of the stream", 10)
        assert isinstance(client.viewer.error, EngineError)
    with pytest.raises(EngineError):
        await other.text(made)
    lab.start()
    await until(lambda: lab.api.ping(), "Engine back", 20)
    assert (await other.text(made))[:1] == ["up"]
    await other.close()


async def test_connections_to_the_engine_are_given_back(scene: Scene, docker: DockerEngine) -> None:
    made = scene.run(f"echo up; {WAIT}")
    await scene.printed(made, "up")
    tasks = len(asyncio.all_tasks())
    for number in range(100):
        async with scene.logs.viewer(made, Selection(tail=1), follow=True) as viewer:
            if number % 2:
                await viewer.take()
    await until(lambda: len(asyncio.all_tasks()) <= tasks, "tasks gone")
    info = await scene.engine.info()
    await until(lambda: scene.lab.api.call("GET", "/info")["NFd"] <= info["NFd"] + 5, "Engine streams closed", 10)
