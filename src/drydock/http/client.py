"""One HTTP exchange with one server, and its redirects: pooled connections, address rules, caps, readable failures.

Connections are pooled for each address rule. A rule is applied to the very address of the socket, so a name that is
answered differently a moment later changes nothing (registries.md §6.6, notifications.md §12.5).
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, Literal, Self

import aiohttp
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from drydock import __version__
from drydock.config.load import Settings
from drydock.http.addresses import AddressRule, OrderedResolver, is_local_name, parse_address
from drydock.http.settings import DnsMode, HttpSettings
from drydock.http.tls import SYSTEM_ROOTS, TlsContexts, TlsFiles

KEEPALIVE_S = 30.0
CONNECT_S = 10.0
ERROR_CAP = 64 * 1024
"""Bytes that are read of an error's body; the rest is left."""
REPEATED = frozenset({301, 302, 307, 308})
"""Redirects after which the same method and body are sent again."""
REDIRECTS = REPEATED | {303}

Reason = Literal["dns", "refused", "reset", "timeout", "tls", "address", "size", "redirect"]

_REFUSED = re.compile(r"refused address: ([^\s\],]+)")
_NUMERIC = re.compile(r"(?:0[xX][0-9a-fA-F]+|[0-9]+)(?:\.(?:0[xX][0-9a-fA-F]+|[0-9]+)){0,3}")
"""Spellings of an IPv4 address that the system understands: decimal, octal, hexadecimal, shortened."""


@dataclass(frozen=True)
class Proxies:
    """The proxy of each scheme, and the hosts that go without (registries.md §1.6)."""

    http: str | None = None
    https: str | None = None
    no_proxy: str = ""

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Proxies:
        """From HTTP_PROXY, HTTPS_PROXY and NO_PROXY, either case."""

        def read(name: str) -> str:
            return variables.get(name.lower()) or variables.get(name) or ""

        return cls(read("HTTP_PROXY") or None, read("HTTPS_PROXY") or None, read("NO_PROXY"))

    def for_url(self, url: URL) -> str | None:
        """The proxy for a request to this URL."""
        proxy = self.https if url.scheme == "https" else self.http
        if proxy is None:
            return None
        # NO_PROXY: names with or without leading dot (their sub-domains too), optionally with a port, or `*`
        host, port = (url.host or "").lower(), str(url.port)
        for entry in self.no_proxy.lower().replace(" ", "").split(","):
            name, colon, wanted = entry.rpartition(":") if entry.count(":") == 1 else (entry, "", "")
            name = name.strip("[]").removeprefix("*").removeprefix(".")
            if entry == "*" or (name and (host == name or host.endswith(f".{name}")) and (not colon or wanted == port)):
                return None
        return proxy


@dataclass(frozen=True)
class HttpRequest:
    """One request. `timeout_s` None: DD_OUTBOUND_HTTP_TIMEOUT_MS.

    `cap`: the largest accepted body in bytes, unpacked; a larger one of a successful answer is a failure, or with `cut`
    is cut there. `proxy`: in place of that of the process. `rule`: where it may go. `redirects`: how many `send` follows.
    `sent` is called for each time the request really goes out, silent repetitions by the HTTP library included.
    """

    method: str
    url: URL
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    cap: int = 1024 * 1024
    cut: bool = False
    timeout_s: float | None = None
    tls: TlsFiles = SYSTEM_ROOTS
    proxy: str | None = None
    rule: AddressRule | None = None
    redirects: int = 0
    sent: Callable[[], None] | None = None


@dataclass(frozen=True)
class Answer:
    """Status, headers and the whole decompressed body; `url` is the one that was asked."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes
    url: URL

    def all(self, name: str) -> list[str]:
        """Every header of this name."""
        return self.headers.getall(name, [])


class TransportError(Exception):
    """There is no answer. `text`: the cause in a few words; `url`: what was asked; `address`: the refused one, if any.

    `transient`: asking again may help. `connected`: the server may have received the request.
    """

    def __init__(
        self, reason: Reason, text: str, url: URL, *, transient: bool = False, connected: bool = True, address: str = ""
    ) -> None:
        super().__init__(f"{url.host}: {text}")
        self.reason = reason
        self.text = text
        self.url = url
        self.transient = transient
        self.connected = connected
        self.address = address


class HttpClient:
    """All outbound connections of a process. `close` it, or use it as an async context manager.

    `resolver` turns names into addresses; `roots` makes a TLS context that trusts the system's authorities.
    """

    def __init__(
        self,
        *,
        timeout_s: float = 30.0,
        proxies: Proxies | None = None,
        dns_mode: DnsMode = "ipv4first",
        resolver: AbstractResolver | None = None,
        roots: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        self.timeout_s = timeout_s
        self._proxies = proxies or Proxies()
        self._resolver = OrderedResolver(dns_mode, resolver)
        self._contexts = TlsContexts(roots)
        self._sessions: dict[AddressRule | None, aiohttp.ClientSession] = {}

    @classmethod
    def build(cls, settings: Settings, environ: Mapping[str, str]) -> Self:
        """The client of a process; the proxies are those of its environment."""
        http = settings[HttpSettings]
        return cls(timeout_s=http.timeout_s, proxies=Proxies.of(environ), dns_mode=http.dns_mode)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    async def send(self, request: HttpRequest) -> Answer:
        """The answer after at most `request.redirects` redirects. Raises `TransportError`.

        Method and body stay the same. `Authorization` goes to the origin that it was meant for only, and no redirect
        leads from https to http.
        """
        for _ in range(request.redirects + 1):
            answer = await self.exchange(request)
            target = redirect_target(answer) if answer.status in REPEATED and request.redirects else None
            if target is None:
                return answer
            headers = request.headers
            if target.origin() != request.url.origin():
                headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
            request = replace(request, url=target, headers=headers)
        raise TransportError("redirect", "too many redirects", request.url)

    async def exchange(self, request: HttpRequest) -> Answer:
        """One request to one server, a redirect is an answer like another. Raises `TransportError`."""
        url = request.url
        proxy = request.proxy or self._proxies.for_url(url)
        try:
            tls = self._contexts.get(request.tls) if url.scheme == "https" else True
        except OSError as error:
            files = ", ".join(request.tls.paths)
            text = f"TLS files cannot be used ({files}): {error.strerror or error}"
            raise TransportError("tls", text, url, connected=False) from error
        try:
            if request.rule is not None and (proxy is not None or _NUMERIC.fullmatch(url.host or "")):
                await self._judge_name(url, request.rule)
            async with self._session(None if proxy else request.rule).request(
                request.method,
                url,
                headers=request.headers,
                data=request.body,
                ssl=tls,
                proxy=proxy,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=request.timeout_s or self.timeout_s, sock_connect=CONNECT_S),
                trace_request_ctx=request.sent,
            ) as response:
                cap = request.cap if response.status < 400 else min(request.cap, ERROR_CAP)
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > cap:
                        break
                if len(body) > cap and response.status < 400 and not request.cut:
                    raise TransportError("size", "response too large", url)
                headers = CIMultiDictProxy(CIMultiDict(response.headers))
                return Answer(response.status, headers, bytes(body[:cap]), url)
        except (aiohttp.ClientError, OSError, ValueError) as error:  # a TimeoutError is an OSError
            raise _explained(error, request) from error

    def _session(self, rule: AddressRule | None) -> aiohttp.ClientSession:
        """The pool of a rule. No cookies are kept, and neither the environment nor .netrc is looked at."""
        if rule not in self._sessions:
            trace = aiohttp.TraceConfig()
            trace.on_request_headers_sent.append(_tell)
            connector = aiohttp.TCPConnector(
                limit=0,
                keepalive_timeout=KEEPALIVE_S,
                resolver=self._resolver,
                socket_factory=_guarded_socket(rule) if rule else None,
            )
            self._sessions[rule] = aiohttp.ClientSession(
                connector=connector,
                headers={"User-Agent": f"drydock/{__version__}", "Accept-Encoding": "gzip"},
                trace_configs=[trace],
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._sessions[rule]

    async def _judge_name(self, url: URL, rule: AddressRule) -> None:
        """What the resolver does not see: a proxy connects instead; some spellings are no address to the library."""
        host = url.host or ""
        local = rule.public_names and is_local_name(url.host_subcomponent or "")
        addresses = [host] if parse_address(host) else []
        if not addresses and (rule.resolve or _NUMERIC.fullmatch(host)):
            addresses = [found["host"] for found in await self._resolver.resolve(host)]
        refused = next((one for one in addresses if not rule.allows(one)), host if local else None)
        if refused is not None:
            raise TransportError("address", rule.text, url, connected=False, address=refused)


def redirect_target(answer: Answer) -> URL | None:
    """Where an answer redirects to; None without `Location`. Raises `TransportError` for what must not be followed."""
    text = answer.headers.get("Location")
    if not text:
        return None
    try:
        target = answer.url.join(URL(text, encoded=True))
    except ValueError:
        target = URL()
    if target.scheme not in ("http", "https") or not target.host or target.user is not None:
        raise TransportError("redirect", "redirect to an unusable address", answer.url)
    if target.scheme == "http" and answer.url.scheme == "https":
        raise TransportError("redirect", f"refused a redirect from https to http ({target.host})", answer.url)
    return target


def _guarded_socket(rule: AddressRule) -> Callable[[Any], socket.socket]:
    def make(info: Any) -> socket.socket:
        family, kind, protocol, _, address = info
        if not rule.allows(address[0]):
            raise OSError(errno.EACCES, f"refused address: {address[0]}")
        return socket.socket(family=family, type=kind, proto=protocol)

    return make


async def _tell(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: Any) -> None:
    if context.trace_request_ctx is not None:
        context.trace_request_ctx()


def _explained(error: Exception, request: HttpRequest) -> TransportError:
    """What went wrong, in the order from the most to the least specific class."""
    url = request.url
    connected = not isinstance(
        error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | aiohttp.InvalidURL
    )
    if request.rule is not None and (refused := _REFUSED.search(str(error))):
        return TransportError("address", request.rule.text, url, connected=False, address=refused[1])
    if isinstance(error, aiohttp.ClientConnectorDNSError | socket.gaierror):
        temporary = (
            error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        ).errno == socket.EAI_AGAIN
        text = "temporary name resolution failure" if temporary else "unknown host"
        return TransportError("dns", text, url, transient=temporary, connected=False)
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        fault = error.certificate_error if isinstance(error, aiohttp.ClientConnectorCertificateError) else error
        said = getattr(fault, "verify_message", "") or getattr(fault, "strerror", "") or fault  # what OpenSSL said
        return TransportError("tls", str(said), url, connected=False)
    if isinstance(error, TimeoutError):
        return TransportError("timeout", "timed out", url, transient=True, connected=connected)
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionRefusedError):
        return TransportError("refused", "connection refused", url, connected=False)
    if isinstance(error, ValueError):
        return TransportError("reset", f"unusable address or answer: {type(error).__name__}", url, connected=connected)
    return TransportError(
        "reset", f"connection failed: {type(error).__name__}", url, transient=True, connected=connected
    )
