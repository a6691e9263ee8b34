"""The Engine in memory behind the Engine API, for the whole product on its own: `DD_WATCHER_LOCAL_HOST` and `_PORT`.

Only what `docker.client.EngineClient` calls is served. Logs and statistics are made up.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from drydock.core.errors import EngineError

from .engine import FakeEngine
from .scripted_engine import stats_document

Document = dict[str, Any]
LINE = b"2026-03-02T09:15:00.000000000Z hello\n"
SLOW_S = 5.0
"""How long the images of a repository called `slow` take to pull."""
FRAMED = b"\x01\x00\x00\x00" + len(LINE).to_bytes(4, "big") + LINE


@asynccontextmanager
async def engine_server(engine: FakeEngine) -> AsyncIterator[int]:
    """Serve `engine` on a free port of 127.0.0.1 until the end of the block; gives the port."""
    runner = web.AppRunner(_application(engine), access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _application(engine: FakeEngine) -> web.Application:
    made = web.Application(middlewares=[_refusals])
    served = _Served(engine)
    for method, path, handler in (
        ("GET", "/version", served.version),
        ("GET", "/info", served.info),
        ("GET", "/events", served.events),
        ("GET", "/containers/json", served.listed),
        ("POST", "/containers/create", served.create),
        ("GET", "/containers/{ref}/json", served.inspect),
        ("GET", "/containers/{ref}/logs", served.logs),
        ("GET", "/containers/{ref}/stats", served.stats),
        ("POST", "/containers/{ref}/wait", served.wait),
        ("POST", "/containers/{ref}/{verb:start|stop|restart|rename|update}", served.change),
        ("DELETE", "/containers/{ref}", served.remove),
        ("GET", "/networks/{ref}", served.network),
        ("POST", "/networks/{ref}/{verb:connect|disconnect}", served.attach),
        ("GET", "/images/json", served.images),
        ("POST", "/images/create", served.pull),
        ("GET", "/images/{ref:.+}/json", served.image),
        ("POST", "/images/{ref:.+}/tag", served.tag),
        ("DELETE", "/images/{ref:.+}", served.remove_image),
    ):
        for prefix in ("", r"/v{version:[0-9.]+}"):
            made.router.add_route(method, prefix + path, handler)
    return made


@web.middleware
async def _refusals(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except EngineError as error:
        return web.json_response({"message": error.message}, status=error.engine_status or 500)


class _Served:
    """One method per call."""

    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine

    async def version(self, request: web.Request) -> web.Response:
        return web.json_response(await self._engine.version())

    async def info(self, request: web.Request) -> web.Response:
        return web.json_response(await self._engine.info())

    async def events(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        with contextlib.suppress(ConnectionError):
            async for event in self._engine.events(filters=_filters(request)):
                await answer.write(json.dumps(event).encode() + b"\n")
        return answer

    async def listed(self, request: web.Request) -> web.Response:
        everything = request.query.get("all") in ("true", "1", "True")
        return web.json_response(await self._engine.list_containers(all=everything, filters=_filters(request)))

    async def create(self, request: web.Request) -> web.Response:
        made = await self._engine.create_container(request.query["name"], await request.json())
        return web.json_response({"Id": made.id, "Warnings": list(made.warnings)}, status=201)

    async def inspect(self, request: web.Request) -> web.Response:
        return web.json_response(await self._engine.inspect_container(request.match_info["ref"]))

    async def logs(self, request: web.Request) -> web.StreamResponse:
        await self._engine.inspect_container(request.match_info["ref"])
        return web.Response(body=FRAMED * 3)

    async def stats(self, request: web.Request) -> web.StreamResponse:
        await self._engine.inspect_container(request.match_info["ref"])
        if request.query.get("stream") in ("false", "0", "False"):
            return web.json_response(stats_document())
        answer = web.StreamResponse()
        await answer.prepare(request)
        with contextlib.suppress(ConnectionError):  # the product has left
            await self._endless(answer)
        return answer

    async def _endless(self, answer: web.StreamResponse) -> None:
        while True:
            await answer.write(json.dumps(stats_document()).encode() + b"\n")
            await asyncio.sleep(1)

    async def wait(self, request: web.Request) -> web.Response:
        code = await self._engine.wait_container(
            request.match_info["ref"], condition=request.query.get("condition", "not-running")
        )
        return web.json_response({"StatusCode": code})

    async def change(self, request: web.Request) -> web.Response:
        engine, ref = self._engine, request.match_info["ref"]
        match request.match_info["verb"]:
            case "start":
                await engine.start_container(ref)
            case "stop":
                await engine.stop_container(ref)
            case "restart":
                await engine.restart_container(ref)
            case "rename":
                await engine.rename_container(ref, request.query["name"])
            case "update":
                await engine.update_container(ref, await request.json())
                return web.json_response({"Warnings": []})
        return web.Response(status=204)

    async def remove(self, request: web.Request) -> web.Response:
        query = request.query
        await self._engine.remove_container(
            request.match_info["ref"], force=_true(query.get("force")), volumes=_true(query.get("v"))
        )
        return web.Response(status=204)

    async def network(self, request: web.Request) -> web.Response:
        return web.json_response(await self._engine.inspect_network(request.match_info["ref"]))

    async def attach(self, request: web.Request) -> web.Response:
        body, network = await request.json(), request.match_info["ref"]
        if request.match_info["verb"] == "connect":
            await self._engine.connect_network(network, body["Container"], body.get("EndpointConfig") or {})
        else:
            await self._engine.disconnect_network(network, body["Container"], force=bool(body.get("Force")))
        return web.Response(status=200)

    async def images(self, request: web.Request) -> web.Response:
        return web.json_response(await self._engine.list_images(filters=_filters(request)))

    async def pull(self, request: web.Request) -> web.StreamResponse:
        name, tag = request.query["fromImage"], request.query.get("tag") or "latest"
        await asyncio.sleep(SLOW_S if name.endswith("/slow") else 0)
        joint = "@" if ":" in tag else ":"
        lines = [one async for one in self._engine.pull_image(f"{name}{joint}{tag}")]
        return web.Response(body=b"".join(json.dumps(line).encode() + b"\n" for line in lines))

    async def image(self, request: web.Request) -> web.Response:
        return web.json_response(await self._engine.inspect_image(request.match_info["ref"]))

    async def tag(self, request: web.Request) -> web.Response:
        await self._engine.tag_image(request.match_info["ref"], request.query["repo"], request.query["tag"])
        return web.Response(status=201)

    async def remove_image(self, request: web.Request) -> web.Response:
        await self._engine.remove_image(request.match_info["ref"], force=_true(request.query.get("force")))
        return web.json_response([])


def _filters(request: web.Request) -> dict[str, list[str]]:
    found: dict[str, Any] = json.loads(request.query.get("filters", "{}"))
    return found


def _true(text: str | None) -> bool:
    return text in ("true", "True", "1")
