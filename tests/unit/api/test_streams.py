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
import websockets
from litestar import Router, WebSocket, get, websocket
from litestar.response import Stream

from contract.http_app import HttpApp, build_app
from drydock.api.access import READ, limited
from drydock.api.application import Extension, build
from drydock.api.request import ApiRequest
from drydock.api.streams import close_socket, serve_socket, sse
from drydock.core.errors import NotFound
from drydock.sse import HEARTBEAT, Channel, Streams, frame, frames
from kit.clock import ManualClock
from kit.http_server import http_server
from kit.wait import until


@get("/stream", opt=READ)
async def stream(request: ApiRequest) -> Stream:
    """Everything that is offered to every client."""
    services = request.services
    return sse(frames(services.live.streams.open(4), services.clock, [frame("hello", {"n": 1}, "b:1")]))


@websocket("/socket", opt=READ, guards=[limited("upgrades", 2)])
async def socket(socket: WebSocket[Any, Any, Any]) -> None:
    """Sends what is offered; `late` fails after the upgrade."""
    streams = socket.app.state.services.live.streams
    channel = streams.open()
    await socket.accept()
    if socket.query_params.get("late"):
        raise NotFound("Container not found")

    async def take() -> list[bytes]:
        item = await channel.get()
        return [] if item is None else [item]

    try:
        if await serve_socket(socket, take):
            await close_socket(socket, 1001)
    finally:
        channel.close()


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[HttpApp]:
    http_app = await build_app(folder)
    app = build(http_app.services, Extension((Router("/api/v1", route_handlers=[stream, socket]),)))
    async with http_server(app, http_app.services.live.streams) as http_app.url:
        yield http_app
    await http_app.store.close()


@pytest.fixture
async def http_app(tmp_path: Path) -> AsyncIterator[HttpApp]:
    async with served(tmp_path) as made:
        yield made


def channels(http_app: HttpApp) -> list[Channel]:
    return http_app.services.live.streams.current()


async def test_sse_sends_first_then_live_then_heartbeats(http_app: HttpApp) -> None:
    async with httpx.AsyncClient() as client, client.stream("GET", f"{http_app.url}/api/v1/stream") as answer:
        headers = answer.headers
        assert headers["content-type"].startswith("text/event-stream")
        assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-cache, no-transform", "no")
        assert "content-encoding" not in headers
        text = answer.aiter_text()
        received = await anext(text)
        channels(http_app)[0].offer(frame("dd:x", {"a": "b"}))
        http_app.clock.advance(15)
        while "dd:heartbeat" not in received or "dd:x" not in received:
            received += await anext(text)
    assert received.startswith('id: b:1\nevent: hello\ndata: {"n":1}\n\n')
    assert 'event: dd:x\ndata: {"a":"b"}\n\n' in received
    assert "event: dd:heartbeat\ndata: {}\n\n" in received


async def test_a_client_that_goes_is_released(http_app: HttpApp) -> None:
    for _ in range(20):
        async with httpx.AsyncClient() as client, client.stream("GET", f"{http_app.url}/api/v1/stream") as answer:
            await anext(answer.aiter_text())
    await until(lambda: len(http_app.services.live.streams.current()) == 0)


async def test_closing_ends_every_stream(http_app: HttpApp) -> None:
    async with httpx.AsyncClient() as client, client.stream("GET", f"{http_app.url}/api/v1/stream") as answer:
        text = answer.aiter_text()
        await anext(text)
        http_app.services.live.streams.close()
        async with asyncio.timeout(20):
            assert [chunk async for chunk in text if "heartbeat" not in chunk] == []
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{http_app.url}/api/v1/stream")).text.startswith("id: b:1")


def test_a_slow_client_is_bounded() -> None:
    channel = Channel(2)
    assert [channel.offer(b"x") for _ in range(4)] == [True, True, False, False]
    assert channel.waiting == 2
    channel.close()
    channel.close()
    assert channel.offer(b"y") is False


async def test_a_channel_ends_after_what_is_queued() -> None:
    streams = Streams()
    channel = streams.open()
    channel.offer(b"a")
    channel.close()
    assert [await channel.get() for _ in range(3)] == [b"a", None, None]
    assert streams.current() == []


async def test_a_client_that_takes_nothing_gets_no_heartbeats_on_top() -> None:
    clock, channel = ManualClock(), Channel()
    sent = frames(channel, clock, [b"first"])
    assert await anext(sent) == b"first"
    await asyncio.sleep(0)
    channel.offer(b"a")
    channel.offer(b"b")
    clock.advance(15)
    await asyncio.sleep(0)
    assert [await anext(sent), await anext(sent), channel.waiting] == [b"a", b"b", 0]
    clock.advance(15)
    assert await anext(sent) == HEARTBEAT
    await sent.aclose()
    assert channel.closed


# WebSockets


def ws(http_app: HttpApp, path: str = "/api/v1/socket") -> str:
    return http_app.url.replace("http", "ws") + path


async def test_socket_sends_and_ends(http_app: HttpApp) -> None:
    async with websockets.connect(ws(http_app)) as connection:
        await until(lambda: channels(http_app))
        await connection.send("ignored")
        channels(http_app)[0].offer(b'{"line":"\xc3\xbc"}')
        assert json.loads(await connection.recv()) == {"line": "ü"}
        http_app.services.live.streams.close()
        with pytest.raises(websockets.ConnectionClosed):
            await connection.recv()
        assert connection.close_code == 1001


async def test_a_socket_that_goes_is_released(http_app: HttpApp) -> None:
    async with websockets.connect(ws(http_app)):
        await until(lambda: channels(http_app))
    await until(lambda: not channels(http_app))


async def refusal(http_app: HttpApp, path: str = "/api/v1/socket", **options: Any) -> tuple[int, Any]:
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(ws(http_app, path), **options)
    body = refused.value.response.body
    return refused.value.response.status_code, json.loads(body or b"null")


async def test_refusals_before_the_upgrade_are_http(http_app: HttpApp) -> None:
    assert await refusal(http_app, "/api/v1/nope") == (404, {"error": "Route not found"})
    assert (await refusal(http_app, "/api/socket"))[0] == 410
    assert await refusal(http_app, origin="http://evil.example") == (403, {"error": "Origin not allowed"})
    http_app.door.caller_now = None
    assert await refusal(http_app) == (401, {"error": "Unauthorized"})


async def test_the_own_origin_may_connect(http_app: HttpApp) -> None:
    async with websockets.connect(ws(http_app), origin=http_app.url):
        pass


async def test_upgrades_are_limited(http_app: HttpApp) -> None:
    for _ in range(2):
        async with websockets.connect(ws(http_app)):
            pass
    status, body = await refusal(http_app)
    assert (status, body["error"]) == (429, "Too many requests, please try again later.")


async def test_an_error_after_the_upgrade_closes_with_its_code(http_app: HttpApp) -> None:
    async with websockets.connect(ws(http_app, "/api/v1/socket?late=1")) as connection:
        with pytest.raises(websockets.ConnectionClosed):
            await connection.recv()
        assert connection.close_code == 4404


def test_a_route_that_says_nothing_is_refused(tmp_path: Path) -> None:
    @get("/open")
    async def careless() -> None:
        return None

    async def attempt() -> None:
        http_app = await build_app(tmp_path)
        try:
            build(http_app.services, Extension((careless,)))
        finally:
            await http_app.store.close()

    with pytest.raises(ValueError, match="careless"):
        asyncio.run(attempt())
