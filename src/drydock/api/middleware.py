"""The outermost ASGI layer: what the framework does not do, in the order of platform-api.md §1.2.

HEAD on GET routes · headers on every answer · CORS · outer rate limit · body guard · compression · 401 instead of 404
for strangers · an HTTP status for a refused WebSocket. It decides nothing about containers.
"""

from __future__ import annotations

import asyncio
import gzip
import re
from typing import Any

import msgspec
from litestar.connection import ASGIConnection

from drydock.api import body, headers
from drydock.api.access import caller_now, limit_key
from drydock.api.asgi import App, Message, Receive, Scope, Send
from drydock.api.envelope import JSON_TYPE, count_removed, translate
from drydock.api.envelope import body as problem
from drydock.api.limits import FixedWindow, Verdict
from drydock.api.network import bucket, client_address, header
from drydock.api.services import Services
from drydock.api.settings import ServerSettings
from drydock.auth.caller import Connection
from drydock.core.errors import BadRequest, DrydockError, TooManyRequests, Unauthorized

WINDOW_S = 900
SIGN_IN_MAX = 100
OFF_LOOP_BYTES = 512 * 1024
"""Bodies from here on are compressed in a thread: it takes more than 5 ms."""

_CLOSE_CODES = {401: 4401, 403: 4403, 404: 4404, 429: 4429}
_API = "/api/v1/"
_SLASHES = re.compile("/{2,}")
"""The router reads several slashes as one; limits and bounds that go by the path must see the same path."""
_STATUS = frozenset({"/api/v1/auth/status", "/api/auth/status"})


class Edge:
    """Wraps the Litestar application."""

    def __init__(self, app: App, services: Services) -> None:
        self.app = app
        self.services = services
        self.server = services.settings[ServerSettings]
        self.security = headers.security(self.server)
        self.outer = FixedWindow(services.clock, self.server.rate_limit_max, WINDOW_S)
        self.signing_in = FixedWindow(services.clock, SIGN_IN_MAX, WINDOW_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {**(scope.get("state") or {}), "services": self.services}
        scope["path"] = _SLASHES.sub("/", scope["path"])
        answer = Answer(self, scope, send)
        self.services.proxies.notice(scope)
        if scope["method"] == "HEAD":
            scope["method"] = "GET"
        try:
            if answer.preflight():
                await answer.whole(204, answer.preflight_headers(), b"")
                return
            await self._spend(answer)
            _check_text(scope)
            receive = await body.read(scope, receive)
        except DrydockError as error:
            await answer.refuse(error)
            return
        await self.app(scope, receive, answer.send)

    async def _spend(self, answer: Answer) -> None:
        answer.limiter = self._limiter(answer.path)
        if answer.limiter is not None:
            answer.key = await self._client_key(answer.scope)
            answer.verdict = answer.limiter.hit(answer.key)
            if not answer.verdict.allowed:
                raise TooManyRequests(headers=answer.verdict.headers())

    async def _client_key(self, scope: Any) -> str:
        """The address; with identity keying the login, which must be looked at before anything is counted then."""
        if not self.server.identity_keying:
            return bucket(client_address(scope, self.services.proxies))
        connection: Connection = ASGIConnection(scope)
        try:
            return limit_key(connection, await caller_now(connection))
        except DrydockError:
            return limit_key(connection)  # the guard tells it, in its turn

    def _limiter(self, path: str) -> FixedWindow | None:
        """The limiter of a path: sign-in has a smaller budget than the API (platform-api.md §1.7)."""
        if path.startswith("/auth/") or path in _STATUS:
            return self.signing_in
        return self.outer if path.startswith(_API) else None

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {**(scope.get("state") or {}), "services": self.services}
        await self.app(scope, receive, Upgrade(scope, send).send)


class Answer:
    """One HTTP answer on its way out."""

    def __init__(self, edge: Edge, scope: Scope, send: Send) -> None:
        self.edge = edge
        self.scope = scope
        self.path = scope["path"]
        self.head = scope["method"] == "HEAD"
        self.key = ""
        self.limiter: FixedWindow | None = None
        self.verdict: Verdict | None = None
        self._send = send
        self._held: Any = None
        self._muted = False

    async def send(self, message: Message) -> None:
        """The `send` of the application."""
        if message["type"] == "http.response.start":
            await self._start(message)
        elif message["type"] == "http.response.body" and not self._muted:
            await self._body(message)

    async def _start(self, message: Any) -> None:
        refusal = await self._stranger(message["status"])
        if refusal is not None:
            self._muted = True
            await self.refuse(refusal)
            return
        message["headers"] = self._complete(message["status"], list(message["headers"]))
        if self._compressible(message["headers"]):
            self._held = message
        else:
            await self._send(message)

    async def _body(self, message: Any) -> None:
        if self._held is not None:
            start, self._held = self._held, None
            if not message.get("more_body"):
                message = {**message, "body": await _gzip(message["body"])}
                start["headers"] = _recoded(start["headers"], len(message["body"]))
            await self._send(start)
        await self._send({**message, "body": b""} if self.head else message)

    async def _stranger(self, status: int) -> DrydockError | None:
        """What a 404 or 405 that no guard has seen, below the API, becomes for a caller who is not signed in."""
        if status not in (404, 405) or self.scope["state"].get("guarded") or not self.path.startswith(_API):
            return None
        scope: Any = self.scope
        try:
            caller = await caller_now(ASGIConnection(scope))
        except DrydockError as error:
            return error
        return Unauthorized() if caller is None else None

    async def refuse(self, error: DrydockError) -> None:
        """Answer with the JSON envelope of an error."""
        found = [(b"content-type", JSON_TYPE.encode())]
        found += [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
        content = msgspec.json.encode(problem(error))
        found.append((b"content-length", str(len(content)).encode()))
        await self.whole(error.status, self._complete(error.status, found), content)

    async def whole(self, status: int, found: list[headers.Header], content: bytes) -> None:
        """Send a complete answer."""
        await self._send({"type": "http.response.start", "status": status, "headers": found})
        await self._send({"type": "http.response.body", "body": b"" if self.head else content, "more_body": False})

    def _complete(self, status: int, found: list[headers.Header]) -> list[headers.Header]:
        given = {name.lower(): value for name, value in found}
        kind = given.get(b"content-type", b"")
        if kind == b"application/json":
            found = [pair for pair in found if pair[0].lower() != b"content-type"]
            found.append((b"content-type", JSON_TYPE.encode()))
        if b"cache-control" not in given and self.path.startswith(("/api/", "/auth/")):
            found += headers.NO_STORE
        found += self._limits(status, given)
        found += [pair for pair in self.edge.security if pair[0] not in given]
        found += self._origin()
        return found

    def _limits(self, status: int, given: dict[bytes, bytes]) -> list[headers.Header]:
        verdict: Verdict | None = self.scope["state"].get("rate") or self.verdict
        if self.limiter is not None and self._excused(status):
            self.limiter.give_back(self.key)
        if verdict is None or b"ratelimit-policy" in given:
            return []
        return verdict.encoded()

    def _excused(self, status: int) -> bool:
        """Reads of an admitted caller do not count (platform-api.md §1.7)."""
        admitted = "caller" in self.scope["state"]
        return bool(self.key) and admitted and status < 400 and self.scope["method"] == "GET"

    def _compressible(self, found: list[headers.Header]) -> bool:
        settings = self.edge.server
        if not settings.compression or not headers.offers_gzip(header(self.scope, b"accept-encoding")):
            return False
        given = dict(found)
        length = given.get(b"content-length", b"")
        return (
            length.isdigit()
            and int(length) >= max(settings.compression_threshold, 1)
            and b"content-encoding" not in given
            and given.get(b"content-type", b"").startswith((b"application/", b"text/"))
        )

    def preflight(self) -> bool:
        """A CORS preflight that is answered here."""
        asked = header(self.scope, b"access-control-request-method")
        return bool(self.edge.server.allowed_origin and asked and self.scope["method"] == "OPTIONS")

    def preflight_headers(self) -> list[headers.Header]:
        """The answer to a preflight: the configured methods, and the headers it requested."""
        methods = self.edge.server.cors_methods.encode()
        wanted = (header(self.scope, b"access-control-request-headers") or "").encode("latin-1")
        found = [(b"access-control-allow-methods", methods), (b"access-control-allow-headers", wanted)]
        return self._complete(204, [*found, (b"content-length", b"0")])

    def _origin(self) -> list[headers.Header]:
        allowed = self.edge.server.allowed_origin
        if not allowed or header(self.scope, b"origin") is None:
            return [(b"cross-origin-resource-policy", b"same-origin")]
        found = [
            (b"cross-origin-resource-policy", b"cross-origin"),
            (b"access-control-allow-origin", allowed.encode()),
        ]
        return found if allowed == "*" else [*found, (b"vary", b"Origin")]


_BY_CONTAINER = ("/api/v1/containers/", "/api/containers/")


def _check_text(scope: Scope) -> None:
    """No valid name has a NUL, and databases, programs and files may fail on one.

    Containers are looked up in memory first: one whose id has a NUL is unknown like any other.
    """
    path = scope["path"]
    if ("\0" in path and not path.startswith(_BY_CONTAINER)) or b"%00" in scope["query_string"]:
        raise BadRequest()


async def _gzip(content: bytes) -> bytes:
    if len(content) < OFF_LOOP_BYTES:
        return gzip.compress(content, 4, mtime=0)
    return await asyncio.to_thread(gzip.compress, content, 4)


def _recoded(found: list[headers.Header], length: int) -> list[headers.Header]:
    kept = [pair for pair in found if pair[0] != b"content-length"]
    return [
        *kept,
        (b"content-length", str(length).encode()),
        (b"content-encoding", b"gzip"),
        (b"vary", b"Accept-Encoding"),
    ]


class Upgrade:
    """One WebSocket upgrade on its way out: a refusal before `accept` becomes an HTTP answer with the API's error envelope.

    After `accept` an uncaught error closes with a code that tells: 4401, 4403, 4404, 4429, else 1011.
    """

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._accepted = False

    async def send(self, message: Message) -> None:
        if message["type"] == "websocket.accept":
            self._accepted = True
        refused: DrydockError | None = self._scope["state"].get("refused")
        if message["type"] != "websocket.close" or refused is None:
            await self._send(message)
        elif not self._accepted and "websocket.http.response" in (self._scope.get("extensions") or {}):
            await self._refuse(refused)
        elif self._accepted and message["code"] == 4500:
            await self._send({**message, "code": _CLOSE_CODES.get(refused.status, 1011)})
        else:
            await self._send(message)

    async def _refuse(self, error: DrydockError) -> None:
        found = [(b"content-type", JSON_TYPE.encode()), (b"connection", b"close")]
        found += [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
        start: Any = {"type": "websocket.http.response.start", "status": error.status, "headers": found}
        await self._send(start)
        content: Any = {"type": "websocket.http.response.body", "body": msgspec.json.encode(problem(error))}
        await self._send(content)


async def remember(exc: Exception, scope: Any) -> None:
    """Litestar's `after_exception`: keep what refused an upgrade for `Upgrade`."""
    if scope["type"] == "websocket":
        error = scope["state"]["refused"] = translate(exc, scope["path"])
        count_removed(scope["litestar_app"], scope, error)
