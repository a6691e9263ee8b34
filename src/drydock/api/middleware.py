"""The layers around the framework, for what it does not do; together they keep the order of platform-api.md §1.2.

From the outside: slashes, HEAD and untrusted proxies · headers, CORS (`api.answers`) · rate limit, text and body · 401
instead of 404 for strangers · compression (`api.answers`), where it is on. A WebSocket has one layer: an HTTP status for
a refused upgrade. Nothing here decides about containers.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from litestar.connection import ASGIConnection

from drydock.api.access import FixedWindow, caller_now, limit_key
from drydock.api.answers import Compression, Headers
from drydock.api.asgi import App, Header, Message, Receive, Scope, Send
from drydock.api.envelope import JSON_TYPE, count_removed, translate
from drydock.api.envelope import body as problem
from drydock.api.network import bucket, client_address, header
from drydock.api.services import Services
from drydock.api.settings import ServerSettings
from drydock.auth.caller import Connection
from drydock.core.errors import (
    BadRequest,
    DrydockError,
    PayloadTooLarge,
    TooManyRequests,
    Unauthorized,
    UnsupportedMediaType,
)

WINDOW_S = 900
SIGN_IN_MAX = 100

API_LIMIT = 256 * 1024
AUTH_LIMIT = 64 * 1024
BODY_S = 30.0
"""How long a body may take: enough for the largest one over a poor line, too short to hold connections with."""
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})

_CLOSE_CODES = {401: 4401, 403: 4403, 404: 4404, 429: 4429}
_API = "/api/v1/"
_SLASHES = re.compile("/{2,}")
"""The router reads several slashes as one; limits and bounds that go by the path must see the same path."""
_STATUS = frozenset({"/api/v1/auth/status", "/api/auth/status"})
_BY_CONTAINER = ("/api/v1/containers/", "/api/containers/")


class BodyTimeout(DrydockError):
    """The body did not arrive in time."""

    status = 408
    code = "body-timeout"
    default = "Request Timeout"


class Middleware:
    """`app` behind all layers. One path for several slashes, and HEAD answered as GET without the body."""

    def __init__(self, app: App, services: Services) -> None:
        server = services.settings[ServerSettings]
        inner = Strangers(Compression(app, server.compression_threshold) if server.compression else app)
        self._http = Headers(Entrance(inner, services, server), server)
        self._sockets = Upgrades(app)
        self._services = services
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        scope["state"] = {**(scope.get("state") or {}), "services": self._services}
        if scope["type"] != "http":
            await self._sockets(scope, receive, send)
            return
        scope["path"] = _SLASHES.sub("/", scope["path"])
        self._services.proxies.notice(scope)

        async def without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        head = scope["method"] == "HEAD"
        if head:
            scope["method"] = "GET"
        await self._http(scope, receive, without_body if head else send)


def _encoded(headers: Mapping[str, str]) -> list[Header]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


async def refuse(send: Send, error: DrydockError) -> None:
    """Answer with the JSON envelope of an error; the outer layers complete it."""
    content = msgspec.json.encode(problem(error))
    found = [(b"content-type", JSON_TYPE.encode())]
    found += _encoded(error.headers)
    found.append((b"content-length", str(len(content)).encode()))
    await send({"type": "http.response.start", "status": error.status, "headers": found})
    await send({"type": "http.response.body", "body": content, "more_body": False})


class Entrance:
    """Counts every request, and refuses what nothing behind it should see: too many, text with a NUL, wrong bodies.

    Outer limits (platform-api.md §1.7): sign-in has a smaller budget than the API. The headers tell of the limit of the
    route where it has one, which `access.spend` leaves in the state.
    """

    def __init__(self, app: App, services: Services, settings: ServerSettings) -> None:
        self._app = app
        self._proxies = services.proxies
        self._by_identity = settings.identity_keying
        self._outer = FixedWindow(services.clock, settings.rate_limit_max, WINDOW_S)
        self._sign_in = FixedWindow(services.clock, SIGN_IN_MAX, WINDOW_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, state = scope["path"], scope["state"]
        sign_in = path.startswith("/auth/") or path in _STATUS
        limiter = self._sign_in if sign_in else self._outer if path.startswith(_API) else None
        key = ""
        if limiter and self._by_identity:
            key = await self._identity(scope)
        elif limiter:
            key = bucket(client_address(scope, self._proxies))
        verdict = limiter.hit(key) if limiter else None

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                # reads of an admitted caller do not count
                if limiter and message["status"] < 400 and "caller" in state and scope["method"] == "GET":
                    limiter.give_back(key)
                told = state.get("rate") or verdict
                if told and not any(name.lower() == b"ratelimit-policy" for name, _ in message["headers"]):
                    message["headers"] = [*message["headers"], *_encoded(told.headers())]
            await send(message)

        try:
            if verdict and not verdict.allowed:
                raise TooManyRequests(headers=verdict.headers())
            # No valid name has a NUL, and databases, programs and files may fail on one. Containers are looked up in
            # memory first: one whose id has a NUL is unknown like any other.
            if ("\0" in path and not path.startswith(_BY_CONTAINER)) or b"%00" in scope["query_string"]:
                raise BadRequest()
            receive = await checked_body(scope, receive)
        except DrydockError as error:
            await refuse(sent, error)
            return
        await self._app(scope, receive, sent)

    async def _identity(self, scope: Any) -> str:
        """The login, which must be looked at before anything is counted then; else the address."""
        connection: Connection = ASGIConnection(scope)
        try:
            return limit_key(connection, await caller_now(connection))
        except DrydockError:
            return limit_key(connection)  # the guard determines it, in its turn


async def checked_body(scope: Scope, receive: Receive, patience_s: float = BODY_S) -> Receive:
    """Read and check the body of a POST, PUT or PATCH; gives a `receive` that replays it.

    Raises `UnsupportedMediaType`, `PayloadTooLarge`, `BadRequest`, or `BodyTimeout` after `patience_s`. Other methods pass untouched.
    """
    length = header(scope, b"content-length") or "0"
    empty = length == "0" and header(scope, b"transfer-encoding") is None
    if scope["method"] not in _WITH_BODY or empty:
        return receive
    if (header(scope, b"content-type") or "").split(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType()
    limit = AUTH_LIMIT if scope["path"].startswith("/auth/") else API_LIMIT
    if length.isdecimal() and int(length) > limit:
        raise PayloadTooLarge()
    try:
        async with asyncio.timeout(patience_s):
            body = await _collect(receive, limit)
    except TimeoutError:
        raise BodyTimeout(headers={"Connection": "close"}) from None
    _check_syntax(body)
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _collect(receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise BadRequest("The request ended before its body was complete")
        parts.append(message.get("body", b""))
        size += len(message.get("body", b""))
        if size > limit:
            raise PayloadTooLarge()
        if not message.get("more_body"):
            return b"".join(parts)


def _check_syntax(body: bytes) -> None:
    if not body:
        return
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadRequest("Invalid JSON body") from None
    except RecursionError:
        raise BadRequest("Invalid JSON body: nested too deeply") from None
    if not isinstance(value, dict | list):
        raise BadRequest("Invalid JSON body: an object or array is expected")


class Strangers:
    """Below the API a 404 or 405 that no guard has seen becomes a 401 for everyone who is not signed in."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope["path"].startswith(_API):
            await self._app(scope, receive, send)
            return
        muted = False

        async def sent(message: Message) -> None:
            nonlocal muted
            if message["type"] == "http.response.start" and message["status"] in (404, 405):
                refusal = None if scope["state"].get("guarded") else await self._refusal(scope)
                if refusal is not None:
                    muted = True
                    await refuse(send, refusal)
            if not muted:
                await send(message)

        await self._app(scope, receive, sent)

    async def _refusal(self, scope: Any) -> DrydockError | None:
        try:
            caller = await caller_now(ASGIConnection(scope))
        except DrydockError as error:
            return error
        return Unauthorized() if caller is None else None


class Upgrades:
    """A refusal before `accept` becomes an HTTP answer with the API's error envelope.

    After `accept` an uncaught error closes with a code that says why: 4401, 4403, 4404, 4429, else 1011.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        accepted = False

        async def sent(message: Message) -> None:
            nonlocal accepted
            accepted = accepted or message["type"] == "websocket.accept"
            refused: DrydockError | None = scope["state"].get("refused")
            if message["type"] != "websocket.close" or refused is None:
                await send(message)
            elif not accepted and "websocket.http.response" in (scope.get("extensions") or {}):
                found = [(b"content-type", JSON_TYPE.encode()), (b"connection", b"close")]
                found += _encoded(refused.headers)
                start = {"type": "websocket.http.response.start", "status": refused.status, "headers": found}
                await send(start)
                await send({"type": "websocket.http.response.body", "body": msgspec.json.encode(problem(refused))})
            elif accepted and message["code"] == 4500:
                await send({**message, "code": _CLOSE_CODES.get(refused.status, 1011)})
            else:
                await send(message)

        await self._app(scope, receive, sent)


async def remember(exc: Exception, scope: Any) -> None:
    """Litestar's `after_exception`: keep what refused an upgrade for `Upgrades`."""
    if scope["type"] == "websocket":
        error = scope["state"]["refused"] = translate(exc, scope["path"])
        count_removed(scope["litestar_app"], scope, error)
