"""API keys limited to watchers or agents, and limits counted by login instead of address (platform.md §13, platform-api.md §1.7)."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from contract.product import PASSWORD, Product, serve_product, user
from drydock.core.model import ImageRegistry
from kit.containers import container, container_id, image

HERE, THERE, EDGE = (container_id(number) for number in (1, 2, 3))
NOWHERE = image(registry=ImageRegistry(name="unknown", url="127.0.0.1:1"))
"""Of a registry that nobody configured: it is never asked."""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Product]:
    sockets = {f"DD_WATCHER_{name}_SOCKET": str(tmp_path / f"{name}.sock") for name in ("HERE", "THERE")}
    async with serve_product(tmp_path, **user("admin"), **sockets, DD_NOTIFICATION_MOCK_ONE_MOCK="ok") as made:
        await made.seed(
            container(1, watcher="here", update="1.1.0", image=NOWHERE),
            container(2, watcher="there", image=NOWHERE),
            container(3, watcher="here", agent="edge"),
        )
        yield made


async def make(server: Product, *scopes: str, **limits: list[str]) -> httpx.AsyncClient:
    admin = await server.signed_in()
    body = {"name": "-".join([*scopes, *limits]), "scopes": scopes, **limits}
    answer = await admin.post("/api/v1/auth/tokens", json=body)
    assert answer.status_code == 201, answer.text
    return server.client(headers={"Authorization": f"Bearer {answer.json()['token']}"})


@pytest.mark.parametrize(
    ("limits", "seen"),
    [
        ({"watchers": ["HERE"]}, [HERE, EDGE]),
        ({"watchers": ["here"], "agents": ["__local__"]}, [HERE]),
        ({"agents": ["__local__"]}, [HERE, THERE]),
        ({"watchers": ["here", "there"]}, [HERE, THERE, EDGE]),
    ],
)
async def test_a_limited_key_sees_its_containers_only(server: Product, limits: Any, seen: list[str]) -> None:
    key = await make(server, "read", **limits)
    found = (await key.get("/api/v1/containers")).json()
    assert [row["id"] for row in found["data"]] == seen
    assert found["total"] == len(seen)
    for id in (HERE, THERE, EDGE):
        for path in ("", "/explain", "/triggers", "/vulnerabilities"):
            answer = await key.get(f"/api/v1/containers/{id}{path}")
            expected = (200, None) if id in seen else (404, "Container not found")
            assert (answer.status_code, answer.json().get("error")) == expected, path
    everybody = (await (await server.signed_in()).get("/api/v1/containers")).json()
    assert everybody["total"] == 3, "the same address and query, another caller"


async def test_fleet_wide_routes_are_closed_to_a_limited_key(server: Product) -> None:
    admin = await server.signed_in()
    paths = (await admin.get("/api/v1/openapi.json")).json()["paths"]
    key = await make(server, "read", "watch", "update", watchers=["here"])
    closed = 0
    for path, operations in paths.items():
        if not path.startswith("/api/v1/") or "{container_id}" in path or "{reference}" in path:
            continue
        for method, operation in operations.items():
            if operation.get("security") == [{}] or path in ("/api/v1/containers", "/api/v1/containers/watch"):
                continue
            filled = path.replace("{", "").replace("}", "")
            answer = await key.request(method.upper(), filled, headers={"X-DD-Confirm-Action": "x"})
            assert answer.status_code == 403, (method, path, answer.status_code)
            closed += 1
    assert closed > 30
    assert (await key.get("/metrics")).status_code == 403
    assert set((await key.get("/health?verbose=1")).json()) == {"uptime"}


async def test_commands_reach_no_further(server: Product) -> None:
    key = await make(server, "read", "watch", "update", watchers=["here"], agents=["__local__"])
    assert (await key.post(f"/api/v1/containers/{HERE}/triggers/mock/one")).status_code == 200
    for path in ("triggers/mock/one", "update", "watch", "restart", "scan"):
        assert (await key.post(f"/api/v1/containers/{THERE}/{path}")).status_code == 404, path
    answer = await key.post("/api/v1/containers/watch", json={"containerIds": [HERE, THERE]})
    assert (answer.status_code, answer.json()["details"]) == (404, {"id": THERE})
    answer = await key.post("/api/v1/containers/watch")
    assert answer.status_code == 200
    assert [row["id"] for row in answer.json()["data"]] == [HERE]
    answer = await key.patch(f"/api/v1/containers/{THERE}/update-policy", json={"action": "clear"})
    assert answer.status_code == 404


async def test_limits_of_a_key_are_shown_and_audited(server: Product) -> None:
    await make(server, "read", watchers=["Here", "here"], agents=["__local__"])
    (row,) = (await (await server.signed_in()).get("/api/v1/auth/tokens")).json()["data"]
    assert (row["watchers"], row["agents"]) == (["here"], ["__local__"])
    (entry,) = await server.audit("api-key-created")
    assert entry["details"].endswith("; watchers=here; agents=__local__")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"watchers": ["nowhere"]}, "Unknown watcher: nowhere"),
        ({"agents": ["edge"]}, "Unknown agent: edge"),
        ({"watchers": ["here"], "scopes": ["admin"]}, "A key with the scope admin cannot be limited"),
        ({"watchers": "here"}, "Invalid request parameters"),
        ({"watchers": [1]}, "Invalid request parameters"),
        ({"agents": [""]}, "Invalid request parameters"),
    ],
)
async def test_limits_that_cannot_be(server: Product, body: dict[str, Any], error: str) -> None:
    admin = await server.signed_in()
    answer = await admin.post("/api/v1/auth/tokens", json={"name": "k", "scopes": ["read"], **body})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(error)


async def test_a_key_from_variables_can_be_limited_too(tmp_path: Path) -> None:
    token = "dd_homeassist_" + "x" * 43
    key = {
        "DD_AUTH_APIKEY_HASS_HASH": hashlib.sha256(token.encode()).hexdigest(),
        "DD_AUTH_APIKEY_HASS_WATCHERS": "Here",
    }
    async with serve_product(tmp_path, **key) as server:
        await server.seed(container(1, watcher="here"), container(2, watcher="there"))
        client = server.client(headers={"Authorization": f"Bearer {token}"})
        assert [row["id"] for row in (await client.get("/api/v1/containers")).json()["data"]] == [HERE]
        assert (await client.get(f"/api/v1/containers/{THERE}")).status_code == 404
    async with serve_product(tmp_path, **key, DD_AUTH_APIKEY_HASS_SCOPES="admin") as server:
        (fault,) = (await server.client().get("/auth/status")).json()["errors"]
        assert "cannot be limited" in fault["error"]


# limits by login


async def left(client: httpx.AsyncClient) -> int:
    """What is left of the budget after one more request that counts."""
    answer = await client.post("/api/v1/no-such-route")
    return int(answer.headers["ratelimit-remaining"])


async def test_each_login_has_its_own_budget_when_asked_for(tmp_path: Path) -> None:
    environ = {**user("admin"), **user("pat"), "DD_SERVER_RATELIMIT_IDENTITYKEYING": "true"}
    async with serve_product(tmp_path, **environ, DD_SERVER_RATELIMIT_MAX="20") as server:
        ada, pat = await server.signed_in("admin"), await server.signed_in("pat")
        assert [await left(ada), await left(ada), await left(pat)] == [19, 18, 19]
        again = await server.signed_in("admin")
        assert await left(again) == 19, "another session"
        basic = [server.client(auth=("pat", PASSWORD)) for _ in range(2)]
        assert [await left(client) for client in basic] == [19, 18], "one user, whatever the connection"
        token = (await ada.post("/api/v1/auth/tokens", json={"name": "k", "scopes": ["read"]})).json()["token"]
        assert await left(server.client(headers={"Authorization": f"Bearer {token}"})) == 19
        strangers = [server.client() for _ in range(2)]
        assert [await left(client) for client in strangers] == [19, 18], "strangers share their address"


async def test_one_address_has_one_budget_otherwise(tmp_path: Path) -> None:
    async with serve_product(tmp_path, **user("admin"), **user("pat"), DD_SERVER_RATELIMIT_MAX="20") as server:
        ada, pat = await server.signed_in("admin"), await server.signed_in("pat")
        assert [await left(ada), await left(pat), await left(server.client())] == [19, 18, 17]


async def test_anonymous_mode_earns_no_budget_of_its_own(tmp_path: Path) -> None:
    environ = {"DD_ANONYMOUS_AUTH_CONFIRM": "true", "DD_SERVER_RATELIMIT_IDENTITYKEYING": "true"}
    async with serve_product(tmp_path, **environ, DD_SERVER_RATELIMIT_MAX="20") as server:
        assert [await left(server.client()), await left(server.client())] == [19, 18]


async def test_a_wrong_password_is_counted_once_although_two_ask_for_the_caller(tmp_path: Path) -> None:
    environ = {**user("admin"), "DD_SERVER_RATELIMIT_IDENTITYKEYING": "true"}
    async with serve_product(tmp_path, **environ, DD_AUTH_ACCOUNT_LOCKOUT_MAX_ATTEMPTS="3") as server:
        client = server.client(auth=("admin", "wrong"))
        seen = [(await client.get("/api/v1/app")).status_code for _ in range(3)]
        assert seen == [401, 401, 423]
        assert len(await server.audit("auth-login")) == 3
