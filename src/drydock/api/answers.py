"""What every answer gets on its way out.

Headers for security (platform.md §6.4), no-store for JSON (platform-api.md §1.6), CORS, and gzip for clients that take
it (platform-api.md §1.2).
"""

from __future__ import annotations

import asyncio
import gzip

from drydock.api.asgi import App, Header, Message, Receive, Scope, Send
from drydock.api.envelope import JSON_TYPE
from drydock.api.network import header
from drydock.api.settings import ServerSettings

NO_STORE: tuple[Header, ...] = (
    (b"cache-control", b"no-store, no-cache, must-revalidate, proxy-revalidate"),
    (b"pragma", b"no-cache"),
    (b"expires", b"0"),
    (b"surrogate-control", b"no-store"),
)

_POLICY = (
    "default-src 'self'",
    "script-src 'self'",
    "script-src-attr 'none'",
    "style-src 'self'",
    "img-src 'self' data:",
    "font-src 'self' data:",
    "connect-src 'self'",
    "object-src 'none'",
    "base-uri 'self'",
    "form-action 'self'",
    "frame-ancestors 'self'",
)
_FIXED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Origin-Agent-Cluster": "?1",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-DNS-Prefetch-Control": "off",
    "X-Download-Options": "noopen",
    "X-Frame-Options": "SAMEORIGIN",
    "X-Permitted-Cross-Domain-Policies": "none",
    "X-XSS-Protection": "0",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=(), magnetometer=(), "
    "gyroscope=(), accelerometer=()",
}


def security(settings: ServerSettings) -> list[Header]:
    """The security headers of this server, encoded once. The resource policy is added per answer (CORS)."""
    policy = [*_POLICY, "upgrade-insecure-requests"] if settings.tls else list(_POLICY)
    found = {"Content-Security-Policy": "; ".join(policy), **_FIXED}
    if settings.tls:
        found["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
    return [(name.lower().encode(), value.encode()) for name, value in found.items()]


class Headers:
    """Completes every answer, refusals included, and answers CORS preflights before anything else looks at them."""

    def __init__(self, app: App, settings: ServerSettings) -> None:
        self._app = app
        self._security = security(settings)
        self._allowed = settings.allowed_origin
        self._methods = settings.cors_methods.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = self._complete(scope, path, list(message["headers"]))
            await send(message)

        if self._allowed and scope["method"] == "OPTIONS" and header(scope, b"access-control-request-method"):
            wanted = (header(scope, b"access-control-request-headers") or "").encode("latin-1")
            granted = [(b"access-control-allow-methods", self._methods), (b"access-control-allow-headers", wanted)]
            start = {"status": 204, "headers": [*granted, (b"content-length", b"0")]}
            await sent({"type": "http.response.start", **start})
            await sent({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await self._app(scope, receive, sent)

    def _complete(self, scope: Scope, path: str, found: list[Header]) -> list[Header]:
        given = {name.lower(): value for name, value in found}
        if given.get(b"content-type") == b"application/json":
            found = [pair for pair in found if pair[0].lower() != b"content-type"]
            found.append((b"content-type", JSON_TYPE.encode()))
        if b"cache-control" not in given and path.startswith(("/api/", "/auth/")):
            found += NO_STORE
        found += [pair for pair in self._security if pair[0] not in given]
        if not self._allowed or header(scope, b"origin") is None:
            found.append((b"cross-origin-resource-policy", b"same-origin"))
            return found
        found.append((b"cross-origin-resource-policy", b"cross-origin"))
        found.append((b"access-control-allow-origin", self._allowed.encode()))
        if self._allowed != "*":
            found.append((b"vary", b"Origin"))
        return found


OFF_LOOP_BYTES = 512 * 1024
"""Bodies from here on are compressed in a thread: it takes more than 5 ms."""


def offers_gzip(accept_encoding: str | None) -> bool:
    """Whether `Accept-Encoding` names gzip (or `*`) with a weight above zero; gzip by name wins over `*`."""
    weights: dict[str, float] = {}
    for part in (accept_encoding or "").lower().split(","):
        name, _, parameters = part.partition(";")
        key, _, value = parameters.strip().partition("=")
        weight = 1.0
        if key.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                weight = 0.0
        weights[name.strip()] = weight
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


async def compressed(content: bytes, level: int = 4, *, off_loop: int = OFF_LOOP_BYTES) -> bytes:
    """`content` as gzip; in a thread from `off_loop` bytes on."""
    if len(content) < off_loop:
        return gzip.compress(content, level, mtime=0)
    return await asyncio.to_thread(gzip.compress, content, level, mtime=0)


class Compression:
    """Compresses answers of text and JSON that are complete and large enough; streams pass as they are."""

    def __init__(self, app: App, threshold: int) -> None:
        self._app = app
        self._threshold = max(threshold, 1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not offers_gzip(header(scope, b"accept-encoding")):
            await self._app(scope, receive, send)
            return
        held: Message | None = None

        async def sent(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and self._fits(dict(message["headers"])):
                held = message  # until the body shows whether it is complete
                return
            if message["type"] == "http.response.body" and held is not None:
                start, held = held, None
                if not message.get("more_body"):
                    message = {**message, "body": await compressed(message["body"])}
                    start["headers"] = [
                        *(pair for pair in start["headers"] if pair[0] != b"content-length"),
                        (b"content-length", str(len(message["body"])).encode()),
                        (b"content-encoding", b"gzip"),
                        (b"vary", b"Accept-Encoding"),
                    ]
                await send(start)
            await send(message)

        await self._app(scope, receive, sent)

    def _fits(self, given: dict[bytes, bytes]) -> bool:
        length = given.get(b"content-length", b"")
        return (
            length.isdigit()
            and int(length) >= self._threshold
            and b"content-encoding" not in given
            and given.get(b"content-type", b"").startswith((b"application/", b"text/"))
        )
