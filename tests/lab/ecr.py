"""The control API of ECR, as far as a registry client needs it: one POST that answers with an authorization token."""

from __future__ import annotations

import base64
import json
import ssl as tls_library
import time
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class EcrApi:
    """Answers `GetAuthorizationToken`. `password` is in the token; `error` (type, message) answers 400 instead."""

    password: str = "ecr-password"
    expires_in: float = 43_200
    token: str | None = None
    error: tuple[str, str] | None = None
    asked: list[dict[str, str]] = field(default_factory=list)

    async def start(self, ssl: tls_library.SSLContext | None = None) -> EcrApi:
        """Listen on the loopback."""
        app = web.Application()
        app.router.add_post("/", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=ssl).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        self.asked.append(dict(request.headers))
        if self.error is not None:
            return self._json({"__type": self.error[0], "message": self.error[1]}, 400)
        token = self.token if self.token is not None else base64.b64encode(f"AWS:{self.password}".encode()).decode()
        data = {"authorizationToken": token, "expiresAt": time.time() + self.expires_in}
        return self._json({"authorizationData": [data]}, 200)

    @staticmethod
    def _json(document: dict[str, Any], status: int) -> web.Response:
        return web.Response(body=json.dumps(document), status=status, content_type="application/x-amz-json-1.1")
