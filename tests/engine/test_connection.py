"""A real Engine that dies and comes back, seen through client and listener; who it says it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import pytest

from drydock.clock import SystemClock
from drydock.core.errors import EngineUnreachable
from drydock.docker.api import Document
from drydock.docker.client import EngineClient
from drydock.docker.connect import connect, from_docker_host, resolve
from drydock.docker.events import EventListener
from drydock.docker.host import identify
from drydock.docker.settings import EngineSettings
from lab.engine import DockerEngine
from lab.images import Pusher
from lab.podman import PodmanEngine

pytestmark = pytest.mark.engine


@pytest.fixture
async def mortal(start_engine: Callable[..., DockerEngine]) -> AsyncIterator[tuple[DockerEngine, EngineClient]]:
    """An Engine of the test's own, and a client of it."""
    server = await asyncio.to_thread(start_engine)
    client = connect(resolve(from_docker_host({"DOCKER_HOST": server.host})))
    yield server, client
    await client.close()


async def test_calls_fail_clearly_while_the_engine_is_down_and_work_again_after(
    mortal: tuple[DockerEngine, EngineClient],
) -> None:
    server, client = mortal
    assert await client.list_containers(all=True) == []
    await asyncio.to_thread(server.kill)
    with pytest.raises(EngineUnreachable, match=r"d\.sock"):
        await client.list_containers(all=True)
    await asyncio.to_thread(server.start)
    assert await client.list_containers(all=True) == []


async def test_a_stream_ends_with_an_error_when_the_engine_is_killed(mortal: tuple[DockerEngine, EngineClient]) -> None:
    server, client = mortal
    opened = asyncio.Event()

    async def drain() -> None:
        async with aclosing(client.events(filters={}, on_open=opened.set)) as stream:
            async for _ in stream:
                pass

    draining = asyncio.create_task(drain())
    await asyncio.wait_for(opened.wait(), 10)
    await asyncio.to_thread(server.kill)
    with pytest.raises(EngineUnreachable):
        await asyncio.wait_for(draining, 10)


async def test_the_listener_comes_back_with_the_engine(
    mortal: tuple[DockerEngine, EngineClient], images: Pusher
) -> None:
    server, client = mortal
    reference = f"{images.host}/conf/listener:1"
    images.push("conf/listener", "1")
    seen: asyncio.Queue[Document] = asyncio.Queue()
    again = asyncio.Event()
    listener = EventListener(client, seen.put_nowait, SystemClock(), on_reconnect=again.set, name="test")
    listening = asyncio.create_task(listener.run())
    await asyncio.to_thread(server.api.pull, reference)
    await asyncio.wait_for(listener.listening.wait(), 10)
    await client.create_container("before", {"Image": reference})
    assert (await asyncio.wait_for(seen.get(), 10))["Action"] == "create"
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    await asyncio.wait_for(again.wait(), 20)
    made = await client.create_container("after", {"Image": reference})
    async with asyncio.timeout(10):
        while (await seen.get())["Actor"]["ID"] != made.id:
            pass
    listening.cancel()


async def test_the_engine_over_tcp(start_engine: Callable[..., DockerEngine]) -> None:
    server = await asyncio.to_thread(start_engine, "-H", "tcp://127.0.0.1:23750", "--tls=false")
    client = connect(resolve(EngineSettings(host="127.0.0.1", port=23750)))
    assert (await client.info())["Name"] == server.api.call("GET", "/info")["Name"]
    await client.close()


async def test_docker_says_who_it_is(docker: DockerEngine) -> None:
    client = connect(resolve(from_docker_host({"DOCKER_HOST": docker.host})))
    facts = await identify(client)
    assert (facts.kind, facts.changes_restart_policy) == ("docker", True)
    assert facts.name == docker.api.call("GET", "/info")["Name"]
    await client.close()


async def test_podman_says_who_it_is(podman: PodmanEngine) -> None:
    client = connect(resolve(from_docker_host({"DOCKER_HOST": podman.host})))
    facts = await identify(client)
    assert (facts.kind, facts.changes_restart_policy, facts.runs_health_checks) == ("podman", False, False)
    await client.close()
