"""The whole application from `DD_*` variables, as `drydock serve` builds it, behind a real HTTP server on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from argon2.low_level import Type, hash_secret

from drydock.api.http_protocol import BoundedProtocol
from drydock.app import server as app
from drydock.app.settings import SCHEMA
from drydock.config.load import load
from drydock.core.model import Container
from drydock.logs.server_log import LogBuffer
from kit.clock import ManualClock
from kit.http_server import http_server

PASSWORD = "correct: horse"
HASH = hash_secret(PASSWORD.encode(), b"a salt of tests!", 2, 19_456, 1, 32, Type.ID).decode()
"""As light as the product accepts: hundreds of tests sign in."""


def user(name: str, *, role: str | None = None, hash: str = HASH) -> dict[str, str]:
    """Variables of one user whose password is `PASSWORD`."""
    prefix = f"DD_AUTH_BASIC_{name.upper()}_"
    found = {prefix + "USER": name, prefix + "HASH": hash}
    return {**found, prefix + "ROLE": role} if role else found


@dataclass
class Product:
    """A running server and everything behind it."""

    url: str
    application: app.Application
    clock: Any
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    @property
    def services(self) -> Any:
        return self.application.services

    def client(self, **options: Any) -> httpx.AsyncClient:
        """A new browser or script; closed with the server."""
        made = httpx.AsyncClient(base_url=self.url, **options)
        self.clients.append(made)
        return made

    async def signed_in(self, name: str = "admin", password: str = PASSWORD, **options: Any) -> httpx.AsyncClient:
        """A browser that has signed in with a name and password."""
        client = self.client(**options)
        answer = await client.post("/auth/login", auth=(name, password))
        assert answer.status_code == 200, answer.text
        return client

    async def seed(self, *containers: Container) -> None:
        """Put containers into the fleet."""
        await self.application.fleet.put_many([(container, None) for container in containers])

    async def audit(self, action: str) -> list[dict[str, Any]]:
        """Entries of one action, newest first, as they are stored."""
        from drydock.core.audit import AuditFilter

        found, _ = await self.services.audit.records.query(AuditFilter(actions=(action,)), 100, 0)
        return [
            {name: getattr(entry, name) for name in entry.__struct_fields__ if getattr(entry, name) is not None}
            for entry in found
        ]


@asynccontextmanager
async def serve_product(
    folder: Path, clock: Any = None, *, protocol: type[BoundedProtocol] = BoundedProtocol, **environ: str
) -> AsyncIterator[Product]:
    """Start the application with these variables; nothing is watched."""
    variables = {"DD_STORE_PATH": str(folder / "store"), "DD_LOCAL_WATCHER": "false", **environ}
    loaded = load(variables, SCHEMA)
    assert loaded.settings is not None, [str(problem) for problem in loaded.problems]
    clock = clock or ManualClock()
    buffer = LogBuffer(clock.now_ms, "info")
    async with (
        app.run(loaded.settings, variables, clock, buffer) as application,
        http_server(application.http, application.services.live.streams, http=protocol) as url,
    ):
        made = Product(url, application, clock)
        try:
            yield made
        finally:
            for client in made.clients:
                await client.aclose()
