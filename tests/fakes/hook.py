"""A local HTTP endpoint that records the exact bytes it is sent, and answers what a test says."""

from __future__ import annotations

import json
import ssl
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Received:
    """One request as it came over the wire."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Hook:
    """`received` in order; `answers` are given first, then 200."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    answers: deque[web.Response] = field(default_factory=deque)

    def answer(self, status: int, text: str = "", headers: Mapping[str, str] | None = None) -> None:
        """Answer one coming request so."""
        self.answers.append(web.Response(status=status, text=text, headers=headers))

    def take(self) -> list[Received]:
        """What came since the last time."""
        found, self.received = self.received, []
        return found

    async def handle(self, request: web.Request) -> web.Response:
        """Record and answer."""
        body = await request.read()
        self.received.append(Received(request.method, request.raw_path, dict(request.headers), body))
        return self.answers.popleft() if self.answers else web.json_response({"id": "1"})


@asynccontextmanager
async def hook(tls: ssl.SSLContext | None = None) -> AsyncIterator[Hook]:
    """Listen on a free port of loopback until the end of the block."""
    made = Hook()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    made.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()
