"""The layers around the framework, for what it does not do; together they keep the order of platform-api.md §1.2.

From the outside: slashes, HEAD and untrusted proxies · headers, CORS (`api.headers`) · rate limit · text and body
(`api.body`) · 401 instead of 404 for strangers · compression (`api.compression`). A WebSocket has one layer: an HTTP
status for a refused upgrade. Nothing here decides about containers.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from litestar.connection import ASGIConnection

from drydock.api import body
from drydock.api.access import caller_now, limit_key
from drydock.api.asgi import App, Message, Receive, Scope, Send
from drydock.api.compression import Compression
from drydock.api.envelope import JSON_TYPE, count_removed, translate
from drydock.api.envelope import body as problem
from drydock.api.headers import Headers
from drydock.api.limits import FixedWindow
from drydock.api.network import Proxies, bucket, client_address
from drydock.api.services import Services
from drydock.api.settings import ServerSettings
from drydock.auth.caller import Connection
from drydock.core.errors import BadRequest, DrydockError, TooManyRequests, Unauthorized

WINDOW_S = 900
SIGN_IN_MAX = 100

_CLOSE_CODES = {401: 4401, 403: 4403, 404: 4404, 429: 4429}
_API = "/api/v1/"
_SLASHES = re.compile("/{2,}")
"""The router reads several slashes as one; limits and bounds that go by the path must see the same path."""
_STATUS = frozenset({"/api/v1/auth/status", "/api/auth/status"})
_BY_CONTAINER = ("/api/v1/containers/", "/api/containers/")


class Middleware:
    """`app` behind all layers."""

    def __init__(self, app: App, services: Services) -> None:
        server = services.settings[ServerSettings]
        inner = Strangers(Compression(app, server))
        self._http = Requests(Headers(RateLimit(Input(inner), services, server), server), services.proxies)
        self._sockets = Upgrades(app)
        self._services = services
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        scope["state"] = {**(scope.get("state") or {}), "services": self._services}
        await (self._http if scope["type"] == "http" else self._sockets)(scope, receive, send)


async def refuse(send: Send, error: DrydockError) -> None:
    """Answer with the JSON envelope of an error; the outer layers complete it."""
    content = msgspec.json.encode(problem(error))
    found = [(b"content-type", JSON_TYPE.encode())]
    found += [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    found.append((b"content-length", str(len(content)).encode()))
    await send({"type": "http.response.start", "status": error.status, "headers": found})
    await send({"type": "http.response.body", "body": content, "more_body": False})


class Requests:
    """One path for several slashes, HEAD answered as GET without the body, and a word about an untrusted proxy."""

    def __init__(self, app: App, proxies: Proxies) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["path"] = _SLASHES.sub("/", scope["path"])
        self._proxies.notice(scope)
        if scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        scope["method"] = "GET"

        async def without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app(scope, receive, without_body)


class RateLimit:
    """The outer limits (platform-api.md §1.7): sign-in has a smaller budget than the API.

    The headers tell of the limit of the route where it has one, which `access.spend` leaves in the state.
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
        key = await self._key(scope) if limiter else ""
        verdict = limiter.hit(key) if limiter else None

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                # reads of an admitted caller do not count
                if limiter and message["status"] < 400 and "caller" in state and scope["method"] == "GET":
                    limiter.give_back(key)
                told = state.get("rate") or verdict
                if told and not any(name.lower() == b"ratelimit-policy" for name, _ in message["headers"]):
                    message["headers"] = [*message["headers"], *told.encoded()]
            await send(message)

        if verdict and not verdict.allowed:
            await refuse(sent, TooManyRequests(headers=verdict.headers()))
        else:
            await self._app(scope, receive, sent)

    async def _key(self, scope: Any) -> str:
        """The address; with identity keying the login, which must be looked at before anything is counted then."""
        if not self._by_identity:
            return bucket(client_address(scope, self._proxies))
        connection: Connection = ASGIConnection(scope)
        try:
            return limit_key(connection, await caller_now(connection))
        except DrydockError:
            return limit_key(connection)  # the guard determines it, in its turn


class Input:
    """Refuses text and bodies that nothing behind it should see.

    No valid name has a NUL, and databases, programs and files may fail on one. Containers are looked up in memory first:
    one whose id has a NUL is unknown like any other.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        try:
            if ("\0" in path and not path.startswith(_BY_CONTAINER)) or b"%00" in scope["query_string"]:
                raise BadRequest()
            receive = await body.read(scope, receive)
        except DrydockError as error:
            await refuse(send, error)
            return
        await self._app(scope, receive, send)


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
                found += [(name.lower().encode(), value.encode()) for name, value in refused.headers.items()]
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
