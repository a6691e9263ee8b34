"""A proxy in front of an Engine that can hold changes back: whoever kills the product at a chosen moment needs it.

It knows the changes of every container of a scene in their order – pull, tag, rename, create, policy, stop, start, delete
and all of a rollback – and holds each container's nth one, before it reaches the Engine or after the Engine carried it
out, until `open`. Runs in a thread of its own, so that it outlives the product and the test may block.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import pathlib
import re
import threading
from collections import Counter
from typing import Any, Literal

import aiohttp
from aiohttp import web

Moment = Literal["before", "after"]

_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host"})
_ID = re.compile(r"/containers/([0-9a-f]{64})")


class Gate:
    """Listens at `socket`, passes on to the Engine at `engine`. `arrived` holds the names whose nth change is held."""

    def __init__(self, engine: pathlib.Path, socket: pathlib.Path) -> None:
        self.socket = socket
        self.changes: Counter[str] = Counter()
        """How many changes of each container of the scene were seen since `hold`."""
        self.arrived: set[str] = set()
        self._engine = engine
        self._names: dict[str, str] = {}
        self._nth, self._moment = 0, "before"
        self._loop = asyncio.new_event_loop()
        self._opened = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> Gate:
        """Listen."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(10)
        return self

    def stop(self) -> None:
        """Close everything."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def hold(self, containers: dict[str, str], nth: int, moment: Moment) -> None:
        """From now on hold the `nth` change of each of `containers` (name by id; their repositories are called alike)."""
        self._names = {**containers, **{name: name for name in containers.values()}}
        self._nth, self._moment = nth, moment
        self.changes, self.arrived = Counter(), set()
        self._opened.clear()

    def open(self) -> None:
        """Hold nothing any more, and drop what was held: its client is dead."""
        self._nth = 0
        self._loop.call_soon_threadsafe(self._opened.set)

    async def _serve(self) -> None:
        self._session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self._engine), limit=0))
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self.socket)).start()

    async def _close(self) -> None:
        self._opened.set()
        await self._runner.cleanup()
        await self._session.close()

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        name = self._whose(request)
        mine = bool(name) and self._counts(name)
        if mine and self._moment == "before":
            await self._held(name, request)
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP}
        options: dict[str, Any] = {"headers": headers, "data": await request.read() or None, "timeout": None}
        async with self._session.request(request.method, f"http://engine{request.raw_path}", **options) as answer:
            if not name:
                return await _passed(request, answer)
            body = await answer.read()
        if request.path.endswith("/containers/create") and answer.status == 201:
            self._names[json.loads(body)["Id"]] = name
        if mine and self._moment == "after":
            await self._held(name, request)
        return web.Response(status=answer.status, body=body, headers=_kept(answer))

    def _whose(self, request: web.Request) -> str:
        """The container that a change belongs to; empty for what changes nothing, or nothing of the scene."""
        if request.method not in ("POST", "DELETE") or "/exec" in request.path:
            return ""
        words = [request.query.get(key, "").rpartition("/")[2] for key in ("fromImage", "repo", "name")]
        words += _ID.findall(request.path)
        return next((self._names[word] for word in words if word in self._names), "")

    def _counts(self, name: str) -> bool:
        self.changes[name] += 1
        return self.changes[name] == self._nth

    async def _held(self, name: str, request: web.Request) -> None:
        self.arrived.add(name)
        await self._opened.wait()
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("held until its client was killed")


async def _passed(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """Streams an answer through; a killed client hears nothing of it."""
    response = web.StreamResponse(status=answer.status, headers=_kept(answer))
    with contextlib.suppress(ConnectionError):
        await response.prepare(request)
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
    return response


def _kept(answer: aiohttp.ClientResponse) -> dict[str, str]:
    return {key: value for key, value in answer.headers.items() if key.lower() not in _HOP}
