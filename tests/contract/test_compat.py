"""The compatibility shim for WUD clients, and what the tombstone counts (platform-api.md §17)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from contract.product import PASSWORD, Product, serve_product, user
from drydock.compat.wud import bare
from kit.containers import container, container_id

ORIGIN = "http://home-assistant.example:8123"
AUTH = ("admin", PASSWORD)
ONE = container_id(1)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Product]:
    async with serve_product(
        tmp_path,
        **user("admin"),
        **user("pat", role="viewer"),
        DD_COMPAT_WUDCARD="true",
        DD_SERVER_CORS_ENABLED="true",
        DD_SERVER_CORS_ORIGIN=ORIGIN,
        DD_NOTIFICATION_MOCK_ONE_MOCK="ok",
    ) as made:
        await made.seed(container(1, update="1.1.0"), container(2))
        yield made


@pytest.fixture
def client(server: Product) -> httpx.AsyncClient:
    return server.client(auth=AUTH, headers={"Accept-Encoding": "identity"})


async def test_lists_are_bare(client: httpx.AsyncClient) -> None:
    for path in ("containers", f"containers/{ONE}/triggers", "watchers", "registries", "triggers"):
        answer = await client.get(f"/api/{path}")
        twin = await client.get(f"/api/v1/{path}")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == twin.headers["content-type"]
        assert int(answer.headers["content-length"]) == len(answer.content)
        assert answer.json() == twin.json()["data"], path


async def test_what_a_widget_counts(client: httpx.AsyncClient) -> None:
    found = (await client.get("/api/containers")).json()
    assert len(found) == 2
    assert sum(one["updateAvailable"] for one in found) == 1
    fields = {"id", "name", "displayName", "watcher", "status", "image", "result", "updateAvailable", "updateKind"}
    assert fields <= set(found[0])


async def test_query_strings_pass_through(client: httpx.AsyncClient) -> None:
    assert [one["name"] for one in (await client.get("/api/containers?limit=1&offset=1")).json()] == ["c002"]
    answer = await client.get("/api/containers?sort=nonsense")
    assert answer.status_code == 400
    assert answer.json()["error"] == "Invalid sort value"


async def test_commands(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/containers/watch", json={"containerIds": ["nobody"]})
    assert (answer.status_code, answer.json()["error"]) == (404, "Container not found")
    answer = await client.post(f"/api/containers/{ONE}/triggers/mock/one")
    twin = await client.post(f"/api/v1/containers/{ONE}/triggers/mock/one")
    assert (answer.status_code, answer.content) == (twin.status_code, twin.content)


async def test_single_things_keep_their_form(client: httpx.AsyncClient) -> None:
    assert (await client.get(f"/api/containers/{ONE}")).json()["id"] == ONE
    assert (await client.get("/api/app")).json()["name"] == "drydock"
    assert (await client.head("/api/containers")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/containers/"),
        ("DELETE", "/api/containers"),
        ("GET", "/api/containers/summary"),
        ("POST", f"/api/containers/{ONE}/watch"),
        ("POST", f"/api/containers/{ONE}/triggers/mock/one/agent"),
        ("POST", f"/api/containers/{ONE}/triggers/mock/one/"),
        ("GET", "/api/containers/web"),
        ("DELETE", f"/api/containers/{ONE}"),
        ("GET", "/api/audit"),
        ("GET", "/api"),
    ],
)
async def test_everything_else_is_gone(client: httpx.AsyncClient, method: str, path: str) -> None:
    assert (await client.request(method, path)).status_code == 410


async def test_the_same_door_and_the_same_budget(server: Product) -> None:
    stranger = server.client()
    assert (await stranger.get("/api/containers")).status_code == 401
    viewer = server.client(auth=("pat", PASSWORD))
    answer = await viewer.get("/api/containers")
    assert answer.status_code == 200
    first = await viewer.post("/api/containers/watch")
    second = await viewer.post("/api/v1/containers/watch")
    assert (first.status_code, second.status_code) == (403, 403)
    assert int(second.headers["ratelimit-remaining"]) == int(first.headers["ratelimit-remaining"]) - 1
    browser = await server.signed_in()
    answer = await browser.post("/api/containers/watch", headers={"Origin": "http://evil.example"})
    assert (answer.status_code, answer.json()["error"]) == (403, "CSRF validation failed")
    assert (await viewer.post("/api/containers/watch", content=b"x")).status_code == 415


async def test_a_card_calls_from_another_origin(server: Product) -> None:
    card = server.client(headers={"Origin": ORIGIN})
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    preflight = await card.options("/api/containers", headers=asked)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert preflight.headers["access-control-allow-headers"] == "authorization"
    answer = await card.get("/api/containers", auth=AUTH)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert "access-control-allow-credentials" not in answer.headers
    path = f"/api/containers/{ONE}/triggers/mock/one"
    assert (await card.post(path, auth=AUTH)).status_code != 403, "no cookie, so no origin check"


async def test_an_api_key_is_a_bearer_token_here_too(server: Product) -> None:
    admin = await server.signed_in()
    made = await admin.post("/api/v1/auth/tokens", json={"name": "card", "scopes": ["read"]})
    client = server.client(headers={"Authorization": f"Bearer {made.json()['token']}"})
    assert isinstance((await client.get("/api/containers")).json(), list)


async def test_without_the_flag_hits_are_counted_by_pattern(tmp_path: Path) -> None:
    async with serve_product(tmp_path, **user("admin")) as server:
        client = await server.signed_in()
        for path in ("containers", f"containers/{ONE}", "containers/secret-name/triggers", "nothing/here"):
            assert (await client.get(f"/api/{path}")).status_code == 410
        found = (await client.get("/api/v1/server")).json()["compatibility"]["legacyInputs"]["api"]
        keys = ["/api/containers", "/api/containers/{container_id}", "/api/containers/{container_id}/triggers"]
        assert found == {"total": 4, "keys": [*keys, "unmatched"]}
        text = (await client.get("/metrics")).text
        for key in found["keys"]:
            assert f'dd_legacy_input_total{{source="api",key="{key}"}} 1' in text
        assert "secret-name" not in text


@pytest.mark.parametrize(
    ("body", "is_page"),
    [
        ({"data": [], "total": 0}, True),
        ({"data": [1], "total": 1, "limit": 0, "offset": 0, "hasMore": False, "_links": {}}, True),
        ({"data": [], "total": 0, "counts": {}}, False),
        ({"data": {}, "total": 0}, False),
        ({"data": [], "total": "0"}, False),
        ({"data": []}, False),
        ({"error": "x"}, False),
        ([1, 2], False),
    ],
)
def test_only_pages_are_reshaped(body: object, is_page: bool) -> None:
    content = json.dumps(body).encode()
    assert json.loads(bare(content)) == (body["data"] if is_page else body)  # type: ignore[index]  # a page is a dict


def test_what_is_no_json_stays() -> None:
    assert bare(b"") == b""
    assert bare(b"event: x\n\n") == b"event: x\n\n"
