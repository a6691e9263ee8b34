"""Rules for all endpoints (container-api.md §1, platform-api.md §1): order of refusals, envelope, headers, limits."""

from __future__ import annotations

import asyncio
import gzip
import socket
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from litestar.routes import HTTPRoute

from contract.http_app import Door, HttpApp, serve_app
from drydock.api.application import handlers, litestar_app, open_to_all
from drydock.auth.caller import Caller
from kit.containers import container, container_id

ONE = container_id(1)
SIGNED_IN = Caller(kind="session", name="ann", session_id="s1")


@pytest.fixture
def door(http_app: HttpApp) -> Door:
    """Nobody is signed in until the test says so."""
    http_app.door.caller_now = None
    return http_app.door


def problem(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    return str(answer.json()["error"])


@pytest.mark.rows("C-296")
async def test_nothing_without_credentials(http_app: HttpApp, door: Door) -> None:
    await http_app.seed(container(1))
    for method, path in (
        ("GET", "/containers"),
        ("GET", "/containers/summary"),
        ("GET", f"/containers/{ONE}"),
        ("GET", "/containers/nope"),
        ("POST", "/containers/watch"),
        ("DELETE", f"/containers/{ONE}"),
        ("POST", f"/containers/{ONE}/env/reveal"),
        ("PATCH", f"/containers/{ONE}/update-policy"),
        ("GET", "/no-such-route"),
        ("POST", "/no-such-route"),
        ("POST", "/app"),
        ("GET", "/audit"),
    ):
        answer = await http_app.api.request(method, path)
        assert problem(answer, 401) == "Unauthorized", path
        assert "www-authenticate" not in answer.headers
    assert (await http_app.api.get("/openapi.json")).status_code == 200


async def test_body_checks_come_before_authentication(http_app: HttpApp, door: Door) -> None:
    json = {"content-type": "application/json; charset=utf-8"}
    post = http_app.api.post
    assert (
        problem(await post("/containers/watch", content=b"a=b", headers={"content-type": "text/plain"}), 415)
        == "Content-Type must be application/json"
    )
    assert problem(await post("/containers/watch", content=b"a=b"), 415)
    assert problem(await post("/containers/watch", content=b"{", headers=json), 400) == "Invalid JSON body"
    assert problem(await post("/containers/watch", content=b"3", headers=json), 400)
    assert problem(await post("/containers/watch", content=b"[" * 100_000, headers=json), 400)
    big = b'{"a":"' + b"x" * 262_144 + b'"}'
    assert problem(await post("/containers/watch", content=big, headers=json), 413) == "Request body too large"

    async def chunks() -> Any:
        for _ in range(300):
            yield b" " * 1024

    assert problem(await post("/containers/watch", content=chunks(), headers=json), 413)
    assert problem(await post("/containers/watch"), 401)


@pytest.mark.rows("C-295")
async def test_unknown_paths_and_methods(http_app: HttpApp) -> None:
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
        assert problem(await http_app.api.request(method, "/no-such-route"), 404) == "Route not found"
    answer = await http_app.api.put("/containers/summary")
    assert problem(answer, 405) == "Method not allowed"
    assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/containers", "/api/v2/containers", "/api/v1x"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_the_unversioned_api_is_gone(http_app: HttpApp, method: str, path: str) -> None:
    answer = await http_app.api.request(method, http_app.url + path)
    assert problem(answer, 410) == "The unversioned /api path has been removed; use /api/v1."
    assert answer.json()["details"]["canonicalBasePath"] == "/api/v1"
    legacy = (await http_app.api.get("/server")).json()["compatibility"]["legacyInputs"]
    key = path if path == "/api/containers" else "unmatched"
    assert legacy["api"] == {"total": 1, "keys": [key]}


async def test_head_and_trailing_slash(http_app: HttpApp) -> None:
    await http_app.seed(container(1))
    got = await http_app.api.get("/containers/summary")
    head = await http_app.api.head("/containers/summary/")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]
    assert (await http_app.api.head("/containers/nope")).status_code == 404
    assert (await http_app.api.head("/containers/watch")).status_code == 405
    assert (await http_app.api.get(f"/containers/{ONE}/")).json()["id"] == ONE


async def test_headers(http_app: HttpApp) -> None:
    headers = (await http_app.api.get("/app")).headers
    assert headers["cache-control"] == "no-store, no-cache, must-revalidate, proxy-revalidate"
    assert (headers["pragma"], headers["expires"], headers["surrogate-control"]) == ("no-cache", "0", "no-store")
    assert headers["x-content-type-options"] == "nosniff"
    assert "unsafe-inline" not in headers["content-security-policy"]
    assert not {"server", "x-powered-by", "strict-transport-security"} & set(headers)


@pytest.mark.parametrize(("accepted", "encoded"), [("gzip", True), ("identity", False), ("br", False)])
async def test_compression(http_app: HttpApp, accepted: str, encoded: bool) -> None:
    await http_app.seed(*(container(n) for n in range(1, 20)))
    async with http_app.api.stream("GET", "/containers", headers={"accept-encoding": accepted}) as answer:
        raw = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert (answer.headers.get("content-encoding") == "gzip") is encoded
    assert int(answer.headers["content-length"]) == len(raw)
    assert msgspec.json.decode(gzip.decompress(raw) if encoded else raw)["total"] == 19
    small = await http_app.api.get("/app", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in small.headers


# cross-site protection


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://HOST"}, 200),
        ({"referer": "http://HOST/ui"}, 200),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "https://HOST"}, 403),
        ({"origin": "null"}, 403),
        ({"referer": "http://evil.example/"}, 403),
        ({"sec-fetch-site": "cross-site", "origin": "http://HOST"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
async def test_same_origin(http_app: HttpApp, headers: dict[str, str], status: int) -> None:
    await http_app.seed(container(1))
    host = http_app.url.removeprefix("http://")
    sent = {name: value.replace("HOST", host) for name, value in headers.items()}
    path = f"/containers/{ONE}/update-policy"
    answer = await http_app.api.patch(path, json={"action": "clear"}, headers={"cookie": "drydock.sid=x", **sent})
    assert answer.status_code == status, answer.text
    # Without a cookie only a browser that says so is refused: in anonymous mode any page could act otherwise.
    bare = 403 if sent.get("sec-fetch-site") == "cross-site" else 200
    assert (await http_app.api.patch(path, json={"action": "clear"}, headers=sent)).status_code == bare
    assert (await http_app.api.get("/app", headers={"cookie": "a=b", **sent})).status_code == 200


async def test_a_proxy_that_is_not_trusted_is_named(http_app: HttpApp) -> None:
    headers = {"cookie": "a=b", "origin": "https://drydock.example", "x-forwarded-proto": "https"}
    answer = await http_app.api.post("/containers/watch", headers=headers)
    assert "DD_SERVER_TRUSTPROXY" in problem(answer, 403)


# scopes


@pytest.mark.parametrize(
    ("scopes", "method", "path", "needed"),
    [
        ({"read"}, "POST", "/containers/watch", "watch"),
        ({"read", "watch"}, "PATCH", f"/containers/{ONE}/update-policy", "update"),
        ({"read", "watch", "update"}, "POST", f"/containers/{ONE}/env/reveal", "admin"),
        ({"read", "watch", "update"}, "DELETE", f"/containers/{ONE}", "admin"),
        ({"watch"}, "GET", "/containers", "read"),
        ({"read"}, "GET", f"/containers/{ONE}/explain?fresh=true", "watch"),
    ],
)
async def test_scopes(http_app: HttpApp, door: Door, scopes: set[str], method: str, path: str, needed: str) -> None:
    door.caller_now = Caller(kind="key", name="dashboard", scopes=frozenset(scopes))
    answer = await http_app.api.request(method, path)
    assert problem(answer, 403) == "Permission denied"
    assert answer.json()["details"] == {"requiredScope": needed}


# rate limits


async def test_the_outer_limit_spares_reads_of_admitted_callers(tmp_path: Path) -> None:
    async with serve_app(tmp_path, rate_limit_max=3) as http_app:
        for _ in range(10):
            assert (await http_app.api.get("/app")).status_code == 200
        for _ in range(3):
            assert (await http_app.api.get("/no-such-route")).status_code == 404
        answer = await http_app.api.get("/app")
        assert problem(answer, 429) == "Too many requests, please try again later."
        assert (answer.headers["ratelimit-policy"], answer.headers["retry-after"]) == ("3;w=900", "900")
        assert (await http_app.api.get(f"{http_app.url}/health")).status_code == 200
        http_app.clock.advance(900)
        assert (await http_app.api.get("/app")).status_code == 200


async def test_identity_keying(tmp_path: Path) -> None:
    async with serve_app(tmp_path, identity_keying=True) as http_app:
        await http_app.seed(container(1))
        door = http_app.door
        door.caller_now = SIGNED_IN
        reveal = f"/containers/{ONE}/env/reveal"
        for _ in range(10):
            assert (await http_app.api.post(reveal)).status_code == 200
        assert (await http_app.api.post(reveal)).status_code == 429
        door.caller_now = Caller(kind="basic", name="bob")
        assert (await http_app.api.post(reveal)).status_code == 200


# probes and documents


async def test_health(http_app: HttpApp) -> None:
    http_app.clock.advance(12.3)
    assert (await http_app.api.get(f"{http_app.url}/health")).json() == {"uptime": 12.3}
    assert (await http_app.api.head(f"{http_app.url}/health")).status_code == 200
    http_app.door.ready = False
    answer = await http_app.api.get(f"{http_app.url}/health")
    body = {"status": "starting", "reason": "auth strategies not yet registered"}
    assert (answer.status_code, answer.json()) == (503, body)


async def test_system_routes(http_app: HttpApp) -> None:
    assert (await http_app.api.get("/app")).json() == {"name": "drydock", "version": "9.9.9"}
    server = (await http_app.api.get("/server")).json()
    assert server["configuration"]["feature"] == {"delete": True, "containeractions": True}
    assert server["compatibility"]["legacyInputs"]["total"] == 0
    assert (await http_app.api.get("/store")).json() == {"configuration": {"path": "/store", "file": "drydock.db"}}


async def test_components(http_app: HttpApp) -> None:
    await http_app.seed(
        container(1), container(2, status="exited", update="1.1.0"), container(3, agent="edge", watcher="prod")
    )
    body = (await http_app.api.get("/watchers")).json()
    assert (body["total"], body["limit"], body["offset"], body["hasMore"]) == (2, 0, 0, False)
    local, edge = body["data"]
    assert local["agent"] is None
    assert local["metadata"]["containers"] == {"total": 2, "running": 1, "stopped": 1, "updatesAvailable": 1}
    assert (edge["id"], edge["metadata"]["containers"]["total"], edge["metadata"]["images"]) == (
        "edge.docker.prod",
        1,
        1,
    )
    assert (await http_app.api.get("/watchers/docker/LOCAL")).json() == local
    assert (await http_app.api.get("/watchers/docker/prod/edge")).json() == edge
    for unknown in ("/watchers/docker/prod", "/watchers/docker/local/edge", "/registries/hub/private"):
        assert problem(await http_app.api.get(unknown), 404) == "Component not found"
    registries = (await http_app.api.get("/registries?limit=1")).json()
    assert ([item["id"] for item in registries["data"]], registries["hasMore"]) == (["ghcr.public"], True)
    assert "metadata" not in registries["data"][0]


async def test_audit(http_app: HttpApp) -> None:
    await http_app.seed(container(1, "web"), container(2, "db"))
    for number in (1, 2, 1):
        http_app.clock.advance(1)
        await http_app.api.post(f"/containers/{container_id(number)}/env/reveal")
    body = (await http_app.api.get("/audit?limit=2&action=env-reveal")).json()
    assert ([row["containerName"] for row in body["data"]], body["total"], body["hasMore"]) == (["web", "db"], 3, True)
    assert body["_links"]["next"] == "/api/v1/audit?action=env-reveal&limit=2&offset=2"
    assert body["data"][0]["ip"] == "127.0.0.1"
    assert (await http_app.api.get("/audit?container=db")).json()["total"] == 1
    assert (await http_app.api.get("/audit?actions=,x,env-reveal,")).json()["total"] == 3
    at = body["data"][1]["timestamp"]
    assert (await http_app.api.get(f"/audit?from={at}&to={at}")).json()["total"] == 1
    default = (await http_app.api.get("/audit?limit=0")).json()
    assert (default["limit"], (await http_app.api.get("/audit")).json()["limit"]) == (1, 50)
    for query, name in (
        ("action=a b", "action"),
        ("actions=a,b/c", "actions"),
        ("container=$", "container"),
        ("from=x", "from"),
    ):
        assert problem(await http_app.api.get(f"/audit?{query}"), 400) == f"Invalid {name} query parameter"


async def test_every_route_says_who_may_call_it(http_app: HttpApp) -> None:
    found = list(handlers(litestar_app(http_app.services)))
    assert len(found) > 20
    assert not [handler for handler in found if open_to_all(handler)]


async def test_openapi_lists_every_route(http_app: HttpApp) -> None:
    document = (await http_app.api.get("/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    assert (document["info"]["title"], document["info"]["version"]) == ("Drydock API", "9.9.9")
    app = litestar_app(http_app.services)
    routes = {
        (route.path_format, method)
        for route in app.routes
        if isinstance(route, HTTPRoute) and not route.path.startswith("/-/")
        for method, (handler, _) in route.route_handler_map.items()
        if method != "OPTIONS" and handler.resolve_include_in_schema()
    }
    listed = {(path, method.upper()) for path, item in document["paths"].items() for method in item}
    assert listed == routes
    parameters = document["paths"]["/api/v1/containers"]["get"]["parameters"]
    kinds = next(p["schema"]["enum"] for p in parameters if p["name"] == "kind")
    assert kinds == ["major", "minor", "patch", "digest", "watched", "unwatched", "all"]


async def test_an_unexpected_exception_leaks_nothing(http_app: HttpApp) -> None:
    def explode() -> None:
        raise RuntimeError("secret detail at /some/path")

    http_app.fleet.summary = explode  # type: ignore[method-assign]  # a fault that cannot be made from outside
    assert (await http_app.api.get("/containers/summary")).json() == {"error": "Internal server error"}


async def test_a_body_that_never_ends_is_dropped(http_app: HttpApp) -> None:
    def half() -> None:
        host, port = http_app.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as raw:
            raw.sendall(
                b"POST /api/v1/containers/watch HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"
            )

    await asyncio.to_thread(half)
    assert (await http_app.api.get("/app")).status_code == 200
    assert http_app.watchers.asked == []
