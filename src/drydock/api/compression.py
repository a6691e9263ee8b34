"""Answers compressed for clients that take gzip (platform-api.md §1.2)."""

from __future__ import annotations

import asyncio
import gzip

from drydock.api.asgi import App, Header, Message, Receive, Scope, Send
from drydock.api.network import header
from drydock.api.settings import ServerSettings

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

    def __init__(self, app: App, settings: ServerSettings) -> None:
        self._app = app
        self._enabled = settings.compression
        self._threshold = max(settings.compression_threshold, 1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._enabled or not offers_gzip(header(scope, b"accept-encoding")):
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
                    start["headers"] = _recoded(start["headers"], len(message["body"]))
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


def _recoded(found: list[Header], length: int) -> list[Header]:
    return [
        *(pair for pair in found if pair[0] != b"content-length"),
        (b"content-length", str(length).encode()),
        (b"content-encoding", b"gzip"),
        (b"vary", b"Accept-Encoding"),
    ]
