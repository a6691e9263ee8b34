"""The one place where messages leave over HTTP: time limits, redirects, retries, guarded addresses, readable errors.

Common wire rules: notifications.md §12. A request is tried again only when it certainly was not accepted: nobody
answered the connection, or the service said 429 or 503.
"""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import aiohttp
import structlog
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from drydock.clock import Clock
from drydock.core.scrub import printable, scrub
from drydock.notify.addresses import is_blocked
from drydock.notify.model import DeliveryFailed
from drydock.notify.request import Request

log = structlog.get_logger("notify.sender")

RETRIES_S = (1.0, 3.0)
LONGEST_WAIT_S = 10.0
SHOWN = 500
LARGEST_ANSWER = 64 * 1024
_REPEATED = frozenset({301, 302, 307, 308})
_BUSY = frozenset({429, 503})
_NUMERIC = re.compile(r"(?:0[xX][0-9a-fA-F]+|[0-9]+)(?:\.(?:0[xX][0-9a-fA-F]+|[0-9]+)){0,3}")
"""Spellings of an IPv4 address that the system understands: decimal, octal, hexadecimal, shortened."""

Proxy = Callable[[URL], str | None]


class _Unreachable(Exception):
    """Nobody answered the connection."""


@dataclass(frozen=True)
class _Answer:
    status: int
    location: str | None
    retry_after: str | None
    text: str


class Sender:
    """Sends requests. `proxy` tells the proxy of the process for a URL; a request may name its own."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        guarded: aiohttp.ClientSession,
        clock: Clock,
        *,
        timeout_s: float = 30.0,
        proxy: Proxy = lambda _: None,
        retries_s: Sequence[float] = RETRIES_S,
    ) -> None:
        self._session = session
        self._guarded = guarded
        self._clock = clock
        self._timeout_s = timeout_s
        self._proxy = proxy
        self._retries_s = tuple(retries_s)

    async def send(self, request: Request, secrets: Sequence[str] = ()) -> str:
        """Send until it is accepted; the answer's text. Raises `DeliveryFailed` without any of `secrets` in it."""
        try:
            return await self._persistently(request)
        except DeliveryFailed as error:
            raise DeliveryFailed(conceal(error.message, secrets)) from None

    async def _persistently(self, request: Request) -> str:
        for delay in self._retries_s:
            try:
                answer = await self._once(request)
            except _Unreachable:
                await self._clock.sleep(delay)
                continue
            if answer.status not in _BUSY:
                return _accepted(request, answer)
            await self._clock.sleep(_wait(answer, delay))
        try:
            return _accepted(request, await self._once(request))
        except _Unreachable as error:
            raise DeliveryFailed(str(error)) from None

    async def _once(self, request: Request) -> _Answer:
        """One attempt, redirects included: the same method and body again, credentials to the same origin only."""
        for _ in range(request.redirects + 1):
            answer = await self._exchange(request)
            if answer.status not in _REPEATED or answer.location is None or not request.redirects:
                return answer
            request = _redirected(request, answer.location)
        raise DeliveryFailed(f"Too many redirects from {_host(request)}")

    async def _exchange(self, request: Request) -> _Answer:
        url = URL(request.url)
        session = self._guarded if request.guarded else self._session
        try:
            if request.guarded:
                await _check_target(request)
            async with session.request(
                request.method,
                url,
                data=request.body,
                headers=request.headers,
                proxy=request.proxy or self._proxy(url),
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
                allow_redirects=False,
            ) as answer:
                text = (await answer.content.read(LARGEST_ANSWER)).decode("utf-8", "replace")
                headers = answer.headers
                return _Answer(answer.status, headers.get("Location"), headers.get("Retry-After"), text)
        except aiohttp.ClientSSLError as error:
            raise DeliveryFailed(f"No trusted TLS connection to {_host(request)}: {_tls_reason(error)}") from None
        except aiohttp.ClientConnectorError as error:
            raise _Unreachable(f"Could not reach {_host(request)}: {error.strerror or 'unknown host'}") from None
        except TimeoutError:
            raise DeliveryFailed(f"No answer from {_host(request)} within {self._timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise DeliveryFailed(f"Could not talk to {_host(request)}: {type(error).__name__}") from None


def _accepted(request: Request, answer: _Answer) -> str:
    if 200 <= answer.status < 300:
        return answer.text
    said = f": {answer.text}" if answer.text.strip() else ""
    raise DeliveryFailed(f"HTTP {answer.status} from {_host(request)}{said}")


def _tls_reason(error: aiohttp.ClientSSLError) -> str:
    """What OpenSSL said."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(getattr(error.certificate_error, "verify_message", "") or error.certificate_error)
    return error.strerror or type(error).__name__


def _wait(answer: _Answer, delay: float) -> float:
    asked = answer.retry_after or ""
    return min(float(asked), LONGEST_WAIT_S) if asked.isdecimal() else delay


def _redirected(request: Request, location: str) -> Request:
    before, after = URL(request.url), URL(request.url).join(URL(location))
    if after.scheme not in ("http", "https") or (before.scheme == "https" and after.scheme == "http"):
        raise DeliveryFailed(f"Refused to follow a redirect from {before.host} to {after.scheme}://{after.host}")
    headers = request.headers
    if before.origin() != after.origin():
        headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
    return replace(request, url=str(after), headers=headers)


def _host(request: Request) -> str:
    return URL(request.url).host or "unknown host"


def conceal(text: str, secrets: Sequence[str]) -> str:
    """At most 500 characters of `text` in one line, without credentials and without any of `secrets`."""
    clean = scrub(text)
    for secret in sorted((one for one in secrets if len(one) > 2), key=len, reverse=True):
        clean = clean.replace(secret, "[REDACTED]")
    return printable(clean.strip(), SHOWN)


async def _check_target(request: Request) -> None:
    """What the resolver of the connection does not see: literal addresses in any spelling, and names behind a proxy."""
    host = _host(request)
    if is_blocked(host):
        raise _refusal(host, host)
    if request.proxy is not None or _NUMERIC.fullmatch(host):
        await GuardedResolver().resolve(host)


def _refusal(host: str, address: str) -> DeliveryFailed:
    return DeliveryFailed(
        f"Refused to send to {host} ({address}): link-local and metadata addresses are blocked; "
        "set allowmetadata=true if this is intended"
    )


class GuardedResolver(AbstractResolver):
    """Resolves a name once and gives its addresses only when none of them is blocked; the connection uses these."""

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """All addresses. Raises `DeliveryFailed` when one is blocked, OSError when the name is unknown."""
        try:
            found = await self._resolver.resolve(host, port, family)
        except UnicodeError as error:
            raise OSError(f"{host} is no host name") from error
        for one in found:
            if is_blocked(one["host"]):
                raise _refusal(host, one["host"])
        return found

    async def close(self) -> None:
        """Nothing to close."""
        await self._resolver.close()


@asynccontextmanager
async def open_sender(version: str, clock: Clock, *, timeout_s: float, proxy: Proxy) -> AsyncIterator[Sender]:
    """A sender with its connections."""
    headers = {"User-Agent": f"drydock/{version}"}
    direct = aiohttp.TCPConnector(resolver=GuardedResolver(), use_dns_cache=False)
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        aiohttp.ClientSession(headers=headers, connector=direct) as guarded,
    ):
        yield Sender(session, guarded, clock, timeout_s=timeout_s, proxy=proxy)
