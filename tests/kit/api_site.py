"""The real application on a real port of the loopback, over services that a test chooses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import aiohttp

from drydock.api.application import NO_EXTENSION, Extension, build
from drydock.api.services import Services
from drydock.auth.caller import Access, AnonymousAccess, Caller, Connection
from drydock.clock import Clock, SystemClock
from drydock.config.load import Settings
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


def services(
    *, clock: Clock | None = None, access: Access | None = None, settings: Settings | None = None, **rooms: Any
) -> Services:
    """Services of which only the given rooms exist."""
    absent = cast(Any, None)
    return Services(
        clock=clock or SystemClock(),
        settings=settings or configured(),
        access=access or AnonymousAccess(),
        **{"fleet": absent, "watching": absent, "registries": absent, "audit": absent, **rooms},
    )


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
    async with http_server(build(services, extension), services.streams) as url:
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
