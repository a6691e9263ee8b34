"""API keys over HTTP: shown once, scoped, rotated, revoked; never a session (platform.md §13)."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from contract.product import PASSWORD, Product, serve_product, user


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Product]:
    async with serve_product(tmp_path, **user("admin"), **user("pat", role="operator")) as made:
        yield made


async def make(client: httpx.AsyncClient, *scopes: str, **body: Any) -> dict[str, Any]:
    answer = await client.post("/api/v1/auth/tokens", json={"name": "-".join(scopes), "scopes": scopes, **body})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def bearer(server: Product, token: str) -> httpx.AsyncClient:
    return server.client(headers={"Authorization": f"Bearer {token}"})


async def test_a_key_is_made_listed_and_revoked(server: Product) -> None:
    admin = await server.signed_in()
    made = await make(admin, "read", expiresInDays=30)
    script = bearer(server, made["token"])
    answer = await script.get("/api/v1/containers")
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    (row,) = (await admin.get("/api/v1/auth/tokens")).json()["data"]
    assert set(row) == {"id", "name", "owner", "scopes", "createdAt", "expiresAt", "lastUsedAt", "lastUsedIp"}
    assert (row["owner"], row["lastUsedIp"]) == ("admin", "127.0.0.1")
    assert row["lastUsedAt"] is not None
    assert (await admin.delete(f"/api/v1/auth/tokens/{made['id']}")).status_code == 204
    assert (await script.get("/api/v1/containers")).status_code == 401
    assert (await admin.delete(f"/api/v1/auth/tokens/{made['id']}")).status_code == 404
    for action in ("api-key-created", "api-key-revoked", "api-key-used-first-time"):
        (entry,) = await server.audit(action)
        assert entry["user"] == "admin"
        assert made["token"] not in str(entry)


BEYOND = [
    ("read", "PATCH", "/api/v1/settings", "admin"),
    ("read", "POST", "/api/v1/containers/watch", "watch"),
    ("read", "GET", "/api/v1/debug/dump", "admin"),
    ("watch", "GET", "/api/v1/containers", "read"),
    ("update", "POST", "/api/v1/containers/watch", "watch"),
    ("watch", "GET", "/metrics", "read"),
    ("update", "GET", "/api/v1/auth/tokens", "admin"),
]


@pytest.mark.parametrize(("scope", "method", "path", "needed"), BEYOND)
async def test_a_key_beyond_its_scope_is_refused(
    server: Product, scope: str, method: str, path: str, needed: str
) -> None:
    made = await make(await server.signed_in(), scope)
    answer = await bearer(server, made["token"]).request(method, path)
    assert answer.status_code == 403
    assert answer.json() == {"error": "Permission denied", "details": {"requiredScope": needed}}


async def test_even_an_admin_key_makes_no_keys(server: Product) -> None:
    made = await make(await server.signed_in(), "admin")
    script = bearer(server, made["token"])
    assert (await script.get("/api/v1/debug/dump")).status_code == 200
    assert (await script.post("/api/v1/auth/tokens", json={"name": "x", "scopes": ["read"]})).status_code == 403


async def test_an_operator_makes_no_keys(server: Product) -> None:
    pat = await server.signed_in("pat")
    answer = await pat.post("/api/v1/auth/tokens", json={"name": "x", "scopes": ["read"]})
    assert (answer.status_code, answer.json()["details"]) == (403, {"requiredScope": "admin"})


async def test_making_keys_is_checked_for_its_origin(server: Product) -> None:
    admin = await server.signed_in()
    body = {"name": "x", "scopes": ["admin"]}
    answer = await admin.post("/api/v1/auth/tokens", json=body, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403


async def test_rotation(server: Product) -> None:
    admin = await server.signed_in()
    made = await make(admin, "read")
    path = f"/api/v1/auth/tokens/{made['id']}/rotate"
    second = (await admin.post(path, json={"graceMinutes": 5})).json()
    for token in (made["token"], second["token"]):
        assert (await bearer(server, token).get("/auth/user")).status_code == 200
    server.clock.advance(301)
    assert (await bearer(server, made["token"]).get("/auth/user")).status_code == 401
    assert (await admin.post(path)).status_code == 200
    assert (await bearer(server, second["token"]).get("/auth/user")).status_code == 401
    assert (await admin.post(path, json={"graceMinutes": 1441})).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "x"},
        {"name": "", "scopes": ["read"]},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["root"]},
        {"name": "x", "scopes": ["read"], "expiresInDays": 0},
        {"name": "x", "scopes": ["read"], "expiresInDays": "1"},
        {"name": "x", "scopes": ["read"], "surprise": 1},
        {"name": "a\nb", "scopes": ["read"]},
    ],
)
async def test_bad_wishes_are_refused(server: Product, body: dict[str, Any]) -> None:
    admin = await server.signed_in()
    assert (await admin.post("/api/v1/auth/tokens", json=body)).status_code == 400
    assert (await admin.get("/api/v1/auth/tokens")).json()["total"] == 0


async def test_keys_are_exempt_from_the_origin_check(server: Product) -> None:
    made = await make(await server.signed_in(), "admin")
    headers = {"Cookie": "other=1", "Origin": "https://dashboard.example"}
    answer = await bearer(server, made["token"]).patch(
        "/api/v1/settings", json={"updateMode": "notify"}, headers=headers
    )
    assert answer.status_code == 200
    (entry,) = await server.audit("settings-changed")
    assert (entry["user"], entry["key"]) == ("admin", made["id"])


async def test_unknown_keys_count_against_the_address_and_valid_ones_still_pass(server: Product) -> None:
    admin = await server.signed_in()
    made = await make(admin, "read")
    guesser = server.client()
    codes = []
    for number in range(26):
        headers = {"Authorization": f"Bearer dd_{'a' * 10}_{number:043d}"}
        codes.append((await guesser.get("/api/v1/containers", headers=headers)).status_code)
    assert codes == [401] * 24 + [423, 423]
    assert (await bearer(server, made["token"]).get("/api/v1/containers")).status_code == 200
    assert (await admin.get("/api/v1/containers")).status_code == 200
    assert (await server.client().get("/auth/user", auth=("admin", PASSWORD))).status_code == 423


async def test_a_key_by_configuration(tmp_path: Path) -> None:
    token = "dd_homeassist_" + "k" * 43
    hashed = hashlib.sha256(token.encode()).hexdigest()
    environ = {"DD_AUTH_APIKEY_HASS_HASH": hashed, "DD_AUTH_APIKEY_HASS_SCOPES": "read,watch"}
    async with serve_product(tmp_path, **environ) as server:
        client = bearer(server, token)
        assert (await client.get("/api/v1/containers")).status_code == 200
        assert (await client.get("/auth/user")).json() == {"username": "hass"}
        assert (await client.get("/api/v1/debug/dump")).status_code == 403
        assert (await server.client().get("/health")).status_code == 200
