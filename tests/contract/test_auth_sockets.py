"""WebSocket upgrades: the cookie alone on container logs, one budget per client (container-api.md §9.3, checklist K)."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import websockets

from contract.product import PASSWORD, Product, serve_product, user
from kit.containers import container_id

LOGS = f"/api/v1/containers/{container_id(1)}/logs/stream"
STREAMS = [LOGS, "/api/v1/log/stream"]
BUDGET = 1000


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Product]:
    environ = {**user("ann"), **user("bob"), "DD_SERVER_RATELIMIT_IDENTITYKEYING": "true"}
    async with serve_product(tmp_path, **environ) as made:
        yield made


def cookie(client: httpx.AsyncClient) -> str:
    return f"drydock.sid={client.cookies['drydock.sid']}"


async def upgrade(server: Product, path: str, **headers: str) -> int:
    """The status of the handshake."""
    url = server.url.replace("http", "ws") + path
    try:
        async with websockets.connect(url, additional_headers=headers):
            return 101
    except websockets.InvalidStatus as refused:
        return refused.response.status_code


@pytest.mark.rows("C-208", "C-209")
async def test_container_logs_take_the_cookie_alone(server: Product) -> None:
    client = await server.signed_in("ann")
    basic = base64.b64encode(f"ann:{PASSWORD}".encode()).decode()
    assert await upgrade(server, LOGS, Cookie=cookie(client)) == 101
    assert await upgrade(server, LOGS) == 401
    assert await upgrade(server, LOGS, Cookie="drydock.sid=invented.signature") == 401
    assert await upgrade(server, LOGS, Authorization=f"Basic {basic}") == 401


async def test_the_server_log_takes_header_credentials_too(server: Product) -> None:
    basic = base64.b64encode(f"ann:{PASSWORD}".encode()).decode()
    assert await upgrade(server, STREAMS[1], Authorization=f"Basic {basic}") == 101


@pytest.mark.parametrize("path", STREAMS)
async def test_pages_of_other_sites_cannot_listen(server: Product, path: str) -> None:
    client = await server.signed_in("ann")
    assert await upgrade(server, path, Cookie=cookie(client), Origin="https://evil.example") == 403


@pytest.mark.rows("C-211")
@pytest.mark.parametrize("path", STREAMS)
async def test_each_login_has_a_budget_of_its_own(server: Product, path: str) -> None:
    ann, bob = await server.signed_in("ann"), await server.signed_in("bob")
    assert await upgrade(server, path, Cookie=cookie(ann)) == 101
    limiter = server.application.http.app.state.limiters["websocket-upgrades"]  # type: ignore[attr-defined]  # Middleware
    (key,) = [name for name in limiter._windows if name.startswith("session:")]
    for _ in range(BUDGET - 1):
        limiter.hit(key)
    assert await upgrade(server, path, Cookie=cookie(ann)) == 429
    assert await upgrade(server, path, Cookie=cookie(bob)) == 101
    server.clock.advance(901)
    assert await upgrade(server, path, Cookie=cookie(ann)) == 101
