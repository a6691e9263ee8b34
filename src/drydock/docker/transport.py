"""HTTP to one Engine: session, version pin, time limits, streams (watching.md §1.2).

Written on aiohttp alone: the calls an update manager needs must not drop warnings, share a pool of 100 connections
with streams, or turn documents into objects. What the calls mean is `client.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import msgspec
import structlog
from aiohttp.abc import AbstractResolver
from yarl import URL

from drydock.core.errors import EngineAuthBlocked, EngineError
from drydock.core.secret import Secret
from drydock.docker.errors import refusal, translated

log = structlog.get_logger("docker")

CONNECT_LIMIT_S = 10.0
READ_LIMIT_S = 30.0
CHANGE_LIMIT_S = 120.0
PROBE_LIMIT_S = 5.0
PROBE_BYTES = 64 * 1024

_VERSION = re.compile(r"^[0-9]+(\.[0-9]+)+$")

Params = Mapping[str, str | int | bool | None]


class Transport:
    """Requests to one Engine. Every path is prefixed with the Engine's own API version, found out at the first use."""

    def __init__(
        self,
        *,
        base: str,
        label: str,
        socket: str | None = None,
        tls: ssl.SSLContext | None = None,
        authorization: Secret | None = None,
        blocked: str | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self.label = label
        self._resolver = resolver
        self._base, self._socket, self._tls = base, socket, tls
        self._authorization, self._blocked = authorization, blocked
        self._session: aiohttp.ClientSession | None = None
        self._prefix: str | None = None
        self._probing = asyncio.Lock()

    async def probe(self) -> None:
        """Ask `/version` and pin what it says. No usable answer means no pin; no answer means ask again later."""
        with contextlib.suppress(EngineError), translated(self.label, PROBE_LIMIT_S):
            try:
                document = msgspec.json.decode(await self._probe_bytes())
            except (aiohttp.TooManyRedirects, msgspec.DecodeError):
                document = {}
            self.pin(document if isinstance(document, dict) else {})

    def pin(self, document: Mapping[str, Any]) -> None:
        """Take the version of a `/version` document that was read anyway, as after a reconnect."""
        found = document.get("ApiVersion")
        self._prefix = f"/v{found}" if isinstance(found, str) and _VERSION.match(found) else ""

    async def json(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: object = None,
        limit: float | None = READ_LIMIT_S,
    ) -> Any:
        """The decoded answer, None when it is empty. `limit` is in seconds, None waits indefinitely."""
        with translated(self.label, limit):
            async with self._request(method, path, params=params, body=body, limit=limit) as response:
                data = await response.read()
        try:
            return msgspec.json.decode(data) if data.strip() else None
        except msgspec.DecodeError as error:
            raise EngineError(f"{method} {path}: the answer of {self.label} is not JSON") from error

    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: object = None,
        limit: float | None = CHANGE_LIMIT_S,
    ) -> None:
        """A change whose answer does not matter. 304 (already so) is no error."""
        with translated(self.label, limit):
            async with self._request(method, path, params=params, body=body, limit=limit) as response:
                await response.read()

    @contextlib.asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Chunks of an answer as they come, without time limit; the connection closes on leaving."""
        with translated(self.label):
            async with self._request(method, path, params=params, body=body, limit=None, headers=headers) as response:
                try:
                    yield response.content.iter_any()
                finally:
                    response.close()

    async def close(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @contextlib.asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        *,
        params: Params | None,
        body: object,
        limit: float | None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._blocked is not None:
            raise EngineAuthBlocked(self._blocked)
        if self._prefix is None:
            async with self._probing:
                if self._prefix is None:  # no other task asked meanwhile
                    await self.probe()
        async with self._open().request(
            method,
            self._url(f"{self._prefix or ''}{path}", params),
            data=None if body is None else msgspec.json.encode(body),
            headers=self._headers(headers, body is not None),
            allow_redirects=False,
            timeout=_limits(limit),
        ) as response:
            if response.status >= 300 and response.status != 304:
                raise refusal(response.status, await response.read(), f"{method} {path}")
            yield response

    async def _probe_bytes(self) -> bytes:
        # aiohttp counts the redirect that it refuses: 2 follows one.
        async with self._open().get(
            self._url("/version", None),
            headers=self._headers(None, False),
            timeout=_limits(PROBE_LIMIT_S),
            allow_redirects=self._socket is not None,
            max_redirects=2,
        ) as response:
            data = b""
            while len(data) < PROBE_BYTES and (more := await response.content.read(PROBE_BYTES - len(data))):
                data += more
            return data

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            # No limit: streams would otherwise use up the pool and every other call would hang.
            connector: aiohttp.BaseConnector = (
                aiohttp.UnixConnector(self._socket, limit=0)
                if self._socket is not None
                else aiohttp.TCPConnector(limit=0, ssl=self._tls or True, resolver=self._resolver)
            )
            self._session = aiohttp.ClientSession(connector=connector, read_bufsize=256 * 1024)
        return self._session

    def _url(self, path: str, params: Params | None) -> URL:
        given = {key: value for key, value in (params or {}).items() if value is not None}
        query = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in given.items()}
        return URL(f"{self._base}{path}", encoded=True).with_query(query)

    def _headers(self, extra: Mapping[str, str] | None, has_body: bool) -> dict[str, str]:
        headers = {"User-Agent": "drydock", **(extra or {})}
        if has_body:
            headers["Content-Type"] = "application/json"
        if self._authorization is not None:
            headers["Authorization"] = self._authorization.reveal()
        return headers


def _limits(total: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=total, sock_connect=CONNECT_LIMIT_S)
