"""SSE and WebSocket plumbing, and how an upgrade is refused; over a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
import websockets
from litestar import Router, WebSocket, get, websocket
from litestar.response import Stream

from contract.world import Door, World, build_world
from drydock.api.access import READ, limited
from drydock.api.application import build
from drydock.api.request import ApiRequest
from drydock.api.streams import Channel, Streams, frame, pump, serve_socket, sse
from drydock.core.errors import NotFound


@get("/stream", opt=READ)
async def stream(request: ApiRequest) -> Stream:
    """Everything that is offered to every client."""
    streams = request.services.streams
    channel = streams.open(4)

    async def frames() -> AsyncIterator[bytes]:
        try:
            async for item in pump(channel, [frame("hello", {"n": 1}, "b:1")], every_s=0.05):
                yield item
        finally:
            streams.release(channel)

    return sse(frames())


@websocket("/socket", opt=READ, guards=[limited("upgrades", 2)])
async def socket(socket: WebSocket[Any, Any, Any]) -> None:
    """Sends what is offered; `late` fails after the upgrade."""
    streams = socket.app.state.services.streams
    channel = streams.open()
    await socket.accept()
    if socket.query_params.get("late"):
        raise NotFound("Container not found")
    try:
        await serve_socket(socket, channel, end_code=1001)
    finally:
        streams.release(channel)


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[World]:
    world = await build_world(folder)
    app = build(world.services, [Router("/api/v1", route_handlers=[stream, socket])])
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, lifespan="off", log_config=None, proxy_headers=False)
    )
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    world.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield world
    finally:
        world.services.streams.close()
        server.should_exit = True
        await task
        await world.store.close()


async def until(condition: Any) -> None:
    """Wait for a condition, at most 20 s."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(0.005)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with served(tmp_path) as made:
        yield made


def channels(world: World) -> list[Channel]:
    return list(world.services.streams._channels)


async def test_sse_sends_first_then_live_then_heartbeats(world: World) -> None:
    async with httpx.AsyncClient() as client, client.stream("GET", f"{world.url}/api/v1/stream") as answer:
        headers = answer.headers
        assert headers["content-type"].startswith("text/event-stream")
        assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-cache, no-transform", "no")
        assert "content-encoding" not in headers
        text = answer.aiter_text()
        received = await anext(text)
        channels(world)[0].offer(frame("dd:x", {"a": "b"}))
        while "dd:heartbeat" not in received or "dd:x" not in received:
            received += await anext(text)
    assert received.startswith('id: b:1\nevent: hello\ndata: {"n":1}\n\n')
    assert 'event: dd:x\ndata: {"a":"b"}\n\n' in received
    assert "event: dd:heartbeat\ndata: {}\n\n" in received


async def test_a_client_that_goes_is_released(world: World) -> None:
    for _ in range(20):
        async with httpx.AsyncClient() as client, client.stream("GET", f"{world.url}/api/v1/stream") as answer:
            await anext(answer.aiter_text())
    await until(lambda: len(world.services.streams) == 0)


async def test_closing_ends_every_stream(world: World) -> None:
    async with httpx.AsyncClient() as client, client.stream("GET", f"{world.url}/api/v1/stream") as answer:
        text = answer.aiter_text()
        await anext(text)
        world.services.streams.close()
        async with asyncio.timeout(20):
            assert [chunk async for chunk in text if "heartbeat" not in chunk] == []
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{world.url}/api/v1/stream")).text.startswith("id: b:1")


def test_a_slow_client_is_bounded() -> None:
    channel = Channel(2)
    assert [channel.offer(b"x") for _ in range(4)] == [True, True, False, False]
    assert (channel.dropped, channel.congested) == (2, True)
    channel.close()
    channel.close()
    assert channel.offer(b"y") is False


async def test_a_channel_ends_after_what_is_queued() -> None:
    streams = Streams()
    channel = streams.open()
    channel.offer(b"a")
    streams.release(channel)
    assert [await channel.get(), await channel.get()] == [b"a", None]
    assert len(streams) == 0


# WebSockets


def ws(world: World, path: str = "/api/v1/socket") -> str:
    return world.url.replace("http", "ws") + path


async def test_socket_sends_and_ends(world: World) -> None:
    async with websockets.connect(ws(world)) as connection:
        await until(lambda: channels(world))
        await connection.send("ignored")
        channels(world)[0].offer(b'{"line":"\xc3\xbc"}')
        assert json.loads(await connection.recv()) == {"line": "ü"}
        world.services.streams.close()
        with pytest.raises(websockets.ConnectionClosed):
            await connection.recv()
        assert connection.close_code == 1001


async def test_a_socket_that_goes_is_released(world: World) -> None:
    async with websockets.connect(ws(world)):
        await until(lambda: channels(world))
    await until(lambda: not channels(world))


async def refusal(world: World, path: str = "/api/v1/socket", **options: Any) -> tuple[int, Any]:
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(ws(world, path), **options)
    body = refused.value.response.body
    return refused.value.response.status_code, json.loads(body or b"null")


async def test_refusals_before_the_upgrade_are_http(world: World) -> None:
    assert await refusal(world, "/api/v1/nope") == (404, {"error": "Route not found"})
    assert (await refusal(world, "/api/socket"))[0] == 410
    assert await refusal(world, origin="http://evil.example") == (403, {"error": "Origin not allowed"})
    world.services.access = Door()
    assert await refusal(world) == (401, {"error": "Unauthorized"})


async def test_the_own_origin_may_connect(world: World) -> None:
    async with websockets.connect(ws(world), origin=world.url):
        pass


async def test_upgrades_are_limited(world: World) -> None:
    for _ in range(2):
        async with websockets.connect(ws(world)):
            pass
    status, body = await refusal(world)
    assert (status, body["error"]) == (429, "Too many requests, please try again later.")


async def test_an_error_after_the_upgrade_closes_with_its_code(world: World) -> None:
    async with websockets.connect(ws(world, "/api/v1/socket?late=1")) as connection:
        with pytest.raises(websockets.ConnectionClosed):
            await connection.recv()
        assert connection.close_code == 4404


def test_a_route_that_says_nothing_is_refused(tmp_path: Path) -> None:
    @get("/open")
    async def careless() -> None:
        return None

    async def attempt() -> None:
        world = await build_world(tmp_path)
        try:
            build(world.services, [careless])
        finally:
            await world.store.close()

    with pytest.raises(ValueError, match="careless"):
        asyncio.run(attempt())
