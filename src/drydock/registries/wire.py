"""One HTTP exchange: pooled connections, address guard, size caps, time-outs (registries.md §4.1, §6.5–6.7).

No redirects, retries or credentials here: a `Hop` in, an `Answer` out, or `NoAnswer` with what went wrong. Two pools
exist: one for hosts that the operator named, one guarded pool whose sockets refuse addresses that are not public.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from drydock import __version__
from drydock.http.proxies import Proxies
from drydock.registries.hosts import is_local_name, is_public_address

KEEPALIVE_S = 30.0
CONNECT_S = 10.0
USER_AGENT = f"drydock/{__version__}"
ERROR_CAP = 64 * 1024
_FORBIDDEN = "address is not public"


@dataclass(frozen=True)
class Hop:
    """One request to one server. `cap`: largest accepted body in bytes; `guarded`: only public addresses, and only
    the ports in `ports`. `sent` is called for each time the request really goes out."""

    method: str
    url: URL
    headers: Mapping[str, str]
    cap: int
    tls: ssl.SSLContext
    guarded: bool = False
    ports: frozenset[int] = frozenset()
    body: bytes | None = None
    sent: Callable[[], None] = field(default=lambda: None)


@dataclass(frozen=True)
class Answer:
    """Status, headers and the whole decompressed body."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes
    url: URL

    def all(self, name: str) -> list[str]:
        """Every header of this name."""
        return self.headers.getall(name, [])


class NoAnswer(Exception):
    """The exchange failed. `transient`: asking again may help. `reason`: timeout, reset, dns, refused, tls, address, size."""

    def __init__(self, reason: str, text: str, *, transient: bool) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text
        self.transient = transient


class Wire:
    """The two connection pools. Use as an async context manager."""

    def __init__(
        self,
        *,
        timeout_s: float,
        proxies: Proxies,
        resolver: AbstractResolver | None = None,
        public: Callable[[str], bool] = is_public_address,
    ) -> None:
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_S)
        self._proxies = proxies
        self._resolver = resolver
        self._public = public
        self._open: aiohttp.ClientSession | None = None
        self._guarded: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Wire:
        self._open = self._session(None)
        self._guarded = self._session(self._public_socket)
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in (self._open, self._guarded):
            if session is not None:
                await session.close()

    async def send(self, hop: Hop) -> Answer:
        """Perform one exchange. Raises `NoAnswer`."""
        proxy = self._proxies.for_url(hop.url)
        if hop.guarded:
            self._check_port_and_name(hop, by_proxy=proxy is not None)
        session = self._guarded if hop.guarded and proxy is None else self._open
        assert session is not None, "used outside its context"
        try:
            return await self._exchange(session, hop, proxy)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise _no_answer(error) from error

    async def _exchange(self, session: aiohttp.ClientSession, hop: Hop, proxy: str | None) -> Answer:
        async with session.request(
            hop.method,
            hop.url,
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "gzip", **hop.headers},
            data=hop.body,
            ssl=hop.tls,
            proxy=proxy,
            allow_redirects=False,
            trace_request_ctx=hop.sent,
        ) as response:
            cap = hop.cap if response.status < 400 else ERROR_CAP
            body = await _read(response, cap, fail=response.status < 400)
            return Answer(response.status, CIMultiDictProxy(CIMultiDict(response.headers)), body, hop.url)

    def _session(self, factory: Callable[[Any], socket.socket] | None) -> aiohttp.ClientSession:
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_count)
        connector = aiohttp.TCPConnector(
            limit=0, keepalive_timeout=KEEPALIVE_S, resolver=self._resolver, socket_factory=factory
        )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=self._timeout,
            trace_configs=[trace],
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    def _public_socket(self, info: Any) -> socket.socket:
        """Called with the very address that will be connected to, so a name cannot change its mind in between."""
        family, kind, protocol, _, address = info
        if not self._public(address[0]):
            raise OSError(errno.EACCES, f"{_FORBIDDEN}: {address[0]}")
        return socket.socket(family=family, type=kind, proto=protocol)

    def _check_port_and_name(self, hop: Hop, *, by_proxy: bool) -> None:
        if hop.url.port not in hop.ports | {80, 443}:
            raise NoAnswer("address", f"port {hop.url.port} is not allowed here", transient=False)
        if by_proxy and (is_local_name(hop.url.host_subcomponent or "") or hop.url.host == "localhost"):
            raise NoAnswer("address", f"{_FORBIDDEN}: {hop.url.host}", transient=False)


async def _count(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: Any) -> None:
    context.trace_request_ctx()


async def _read(response: aiohttp.ClientResponse, cap: int, *, fail: bool) -> bytes:
    chunks = bytearray()
    async for chunk in response.content.iter_any():
        chunks += chunk
        if len(chunks) > cap:
            if fail:
                raise NoAnswer("size", "response too large", transient=False)
            return bytes(chunks[:cap])
    return bytes(chunks)


def _no_answer(error: Exception) -> NoAnswer:
    if _FORBIDDEN in str(error):
        return NoAnswer("address", _FORBIDDEN, transient=False)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return _dns(error)
    if isinstance(error, (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError, ssl.SSLError)):
        return NoAnswer("tls", f"certificate or TLS error: {error}", transient=False)
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return NoAnswer("timeout", "timed out", transient=True)
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionRefusedError):
        return NoAnswer("refused", "connection refused", transient=False)
    if isinstance(error, (aiohttp.InvalidURL, ValueError)):
        return NoAnswer("reset", f"unusable address or answer: {type(error).__name__}", transient=False)
    return NoAnswer("reset", f"connection failed: {type(error).__name__}", transient=True)


def _dns(error: aiohttp.ClientConnectorDNSError) -> NoAnswer:
    temporary = error.os_error.errno == socket.EAI_AGAIN
    text = "temporary name resolution failure" if temporary else "unknown host"
    return NoAnswer("dns", text, transient=temporary)
