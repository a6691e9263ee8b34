"""The real application on a real port of the loopback, over services that a test chooses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields
from types import SimpleNamespace
from typing import Any, cast

import aiohttp

from drydock.api.application import NO_EXTENSION, Extension, build
from drydock.api.legacy import LegacyInputs
from drydock.api.network import Proxies
from drydock.api.services import Services
from drydock.api.settings import ServerSettings
from drydock.auth.caller import ANONYMOUS, Caller, Connection
from drydock.clock import Clock, SystemClock
from drydock.config.load import Settings
from drydock.core.errors import Unavailable
from drydock.live.room import Live
from drydock.live.settings import StreamSettings
from drydock.updates.self_update.curl_healthcheck import CurlOverride
from kit.configured import configured

from .http_server import http_server


class HeaderAccess:
    """Callers by plain words, for tests: `Cookie: who=NAME` is a session, `Authorization: Bearer NAME` a token."""

    ready = True

    def __init__(self, **callers: frozenset[str]) -> None:
        self._callers = callers

    async def caller(self, connection: Connection) -> Caller | None:
        if (name := connection.cookies.get("who", "")) in self._callers:
            return Caller(kind="session", name=name, session_id=f"s-{name}", scopes=self._callers[name])
        kind, _, name = connection.headers.get("authorization", "").partition(" ")
        if name in self._callers:
            return Caller(kind="basic" if kind == "Basic" else "bearer", name=name, scopes=self._callers[name])
        return None


class AnonymousAccess:
    """Everyone is admitted: anonymous mode that the operator confirmed."""

    ready = True

    async def caller(self, _: Connection) -> Caller | None:
        return ANONYMOUS


class Absent:
    """Stands for a room that a test does not have, or has later: see `give`."""

    def __init__(self) -> None:
        self._room: Any = None

    def become(self, room: Any) -> None:
        """From now on it is this room."""
        self._room = room

    def __getattr__(self, name: str) -> Any:
        if self._room is None:
            raise Unavailable()
        return getattr(self._room, name)


def services(
    *, clock: Clock | None = None, access: Any = None, settings: Settings | None = None, **rooms: Any
) -> Services:
    """Services of which only the given rooms exist; every other one is `Absent`."""
    clock, settings = clock or SystemClock(), settings or configured()
    kernel = cast(Any, SimpleNamespace(clock=clock, supervisor=None))
    made: dict[str, Any] = {
        "clock": clock,
        "settings": settings,
        "auth": access or AnonymousAccess(),
        "live": Live(kernel, settings[StreamSettings]),
        "metrics": None,
        "curl_healthcheck": _no_curl,
        "legacy": LegacyInputs(),
        "proxies": Proxies(settings[ServerSettings].trust_proxy),
        "started_at": clock.monotonic(),
        **rooms,
    }
    absent: dict[str, Any] = {one.name: Absent() for one in fields(Services)}
    return Services(**{**absent, **made})


async def _no_curl() -> CurlOverride:
    return CurlOverride(detected=False)


def give(services: Services, **rooms: Any) -> None:
    """Put rooms in the place of absent ones."""
    for name, room in rooms.items():
        cast(Absent, getattr(services, name)).become(room)


class Site:
    """A served application and a client for it."""

    def __init__(self, url: str, client: aiohttp.ClientSession, services: Services) -> None:
        self.url = url
        self.client = client
        self.services = services

    def get(self, path: str, **options: Any) -> Any:
        """GET; use as `async with`."""
        return self.client.get(self.url + path, **options)

    async def json(self, path: str, **options: Any) -> tuple[int, Any]:
        """GET; status and decoded body."""
        async with self.get(path, **options) as answer:
            return answer.status, await answer.json()

    def socket(self, path: str, **options: Any) -> Any:
        """Open a WebSocket; use as `async with`."""
        return self.client.ws_connect(self.url + path, max_msg_size=0, **options)


@asynccontextmanager
async def serve_site(services: Services, extension: Extension = NO_EXTENSION) -> AsyncIterator[Site]:
    """Serve until the end of the block; open streams are ended first, as the product does."""
    async with http_server(build(services, extension), services.live.streams) as url:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(
            connector=connector, auto_decompress=False, skip_auto_headers=["Accept-Encoding"]
        ) as client:
            yield Site(url, client, services)


async def frames(answer: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, str]]:
    """Events of an SSE answer as (name, data) until it ends; a comment is (`:`, text)."""
    name = data = ""
    async for raw in answer.content:
        line = raw.decode().rstrip("\n")
        if line.startswith(":"):
            yield ":", line[1:].strip()
        elif line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            data = line[6:]
        elif not line and name:
            yield name, data
            name = data = ""
