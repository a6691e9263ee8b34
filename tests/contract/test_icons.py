"""The icon proxy over HTTP, with a content delivery network of the test's own (platform-api.md §15)."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from contract.product import Product, serve_product, user
from kit.clock import ManualClock
from kit.wait import until

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>x</script><path d="M1 1"/></svg>'
CLEAN = b'<svg xmlns="http://www.w3.org/2000/svg"><path d="M1 1" /></svg>'
FOREVER = "public, max-age=31536000, immutable"
IMAGE = {"Accept": "image/avif,image/webp,*/*;q=0.8"}


@dataclass
class Network:
    """Answers by the last part of the path; keeps every request."""

    url: str = ""
    answers: dict[str, web.Response] = field(default_factory=dict)
    asked: list[web.Request] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, file: str, body: bytes, status: int = 200, **headers: str) -> None:
        """What this file name answers."""
        self.answers[file] = web.Response(body=body, status=status, headers=headers)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        await self.gate.wait()
        found = self.answers.get(request.path.rsplit("/", 1)[-1])
        if found is None:
            return web.Response(status=404)
        return web.Response(body=found.body, status=found.status, headers=found.headers)


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    made = Network()
    made.gate.set()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()


class Site:
    """Starts servers on one store."""

    def __init__(self, folder: Path, network: Network, stack: AsyncExitStack) -> None:
        self.folder = folder
        self._network = network
        self._stack = stack

    async def start(self, clock: ManualClock | None = None, **variables: str) -> tuple[Product, httpx.AsyncClient]:
        """A server and a browser that is signed in."""
        found = {"DD_ICON_CDN_URL": self._network.url, **user("admin"), **variables}
        made = await self._stack.enter_async_context(serve_product(self.folder, clock, **found))
        return made, await made.signed_in()

    def files(self) -> list[str]:
        """Kept icons."""
        folder = self.folder / "store" / "icons"
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
async def site(tmp_path: Path, network: Network) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        yield Site(tmp_path, network, stack)


async def test_an_icon_is_fetched_once_checked_and_kept(site: Site, network: Network) -> None:
    _, client = await site.start()
    network.offer("redis.png", PNG)
    for slug in ("redis", "REDIS.png", "redis.png"):
        answer = await client.get(f"/api/v1/icons/homarr/{slug}")
        assert (answer.status_code, answer.content) == (200, PNG)
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["cache-control"] == FOREVER
        assert answer.headers["x-content-type-options"] == "nosniff"
    (request,) = network.asked
    assert request.path.startswith("/gh/homarr-labs/dashboard-icons@")
    assert request.path.endswith("/png/redis.png")
    assert not {"cookie", "authorization"} & {name.lower() for name in request.headers}
    assert site.files() == ["homarr/redis.png"]


async def test_drawings_are_made_harmless_before_they_are_kept(site: Site, network: Network) -> None:
    _, client = await site.start()
    network.offer("redis.svg", SVG)
    for _ in range(2):
        answer = await client.get("/api/v1/icons/simple/redis.svg")
        assert (answer.status_code, answer.content) == (200, CLEAN)
        assert answer.headers["content-type"] == "image/svg+xml"
        policy = "sandbox; script-src 'none'; object-src 'none'; base-uri 'none'"
        assert answer.headers.get_list("content-security-policy") == [policy]
    assert len(network.asked) == 1


@pytest.mark.parametrize(
    "path", ["fontawesome/redis", "simple/.redis", "simple/a%20b", "simple/-a", f"simple/{'a' * 129}", "homarr/ä"]
)
async def test_names_that_are_none(site: Site, network: Network, path: str) -> None:
    _, client = await site.start()
    answer = await client.get(f"/api/v1/icons/{path}", headers=IMAGE)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("Invalid icon")
    assert network.asked == []


@pytest.mark.parametrize("status", [403, 404])
async def test_a_missing_icon(site: Site, network: Network, status: int) -> None:
    _, client = await site.start()
    network.offer("foo.svg", b"", status)
    answer = await client.get("/api/v1/icons/simple/foo")
    expected = {"error": "Icon simple/foo was not found", "fallbackIcon": "fab fa-docker"}
    assert (answer.status_code, answer.json()) == (404, expected)
    for headers in (IMAGE, {"Sec-Fetch-Dest": "image", "Accept": "*/*"}):
        answer = await client.get("/api/v1/icons/simple/foo", headers=headers)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        assert answer.content.startswith(b"<svg")
        assert b"Container" in answer.content
    assert len(network.asked) == 1, "what is missing is remembered for a while"
    assert site.files() == []


BAD: dict[str, dict[str, Any]] = {
    "server error": {"body": b"", "status": 500},
    "redirect": {"body": b"", "status": 302, "Location": "http://169.254.169.254/latest"},
    "no image": {"body": b"<html>hello</html>"},
    "doctype": {"body": b'<!DOCTYPE svg><svg xmlns="http://www.w3.org/2000/svg"/>'},
    "too large": {"body": b"<svg>" + b" " * (2 * 1024 * 1024) + b"</svg>"},
}


@pytest.mark.parametrize("case", BAD)
async def test_answers_that_cannot_be_used(site: Site, network: Network, case: str) -> None:
    _, client = await site.start()
    network.offer("foo.svg", **BAD[case])
    answer = await client.get("/api/v1/icons/simple/foo")
    assert (answer.status_code, answer.json()) == (502, {"error": "Unable to fetch icon simple/foo"})
    answer = await client.get("/api/v1/icons/simple/foo", headers=IMAGE)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert site.files() == []
    assert all(request.path.endswith("/icons/foo.svg") for request in network.asked), "no redirect is followed"


async def test_a_png_must_be_one(site: Site, network: Network) -> None:
    _, client = await site.start()
    network.offer("foo.png", PNG[:8] + b"rest")
    assert (await client.get("/api/v1/icons/selfhst/foo")).status_code == 502


async def test_requests_at_the_same_time_share_one_fetch(site: Site, network: Network) -> None:
    _, client = await site.start()
    network.offer("redis.svg", SVG)
    network.gate.clear()
    waiting = [asyncio.create_task(client.get("/api/v1/icons/simple/redis")) for _ in range(5)]
    await until(lambda: network.asked, "the first fetch")
    network.gate.set()
    assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}
    assert len(network.asked) == 1


async def test_nobody_waits_longer_than_allowed(site: Site, network: Network) -> None:
    _, client = await site.start(DD_ICON_IN_FLIGHT_TIMEOUT_MS="50")
    network.gate.clear()
    answer = await client.get("/api/v1/icons/simple/slow")
    network.gate.set()
    assert (answer.status_code, answer.json()) == (502, {"error": "Unable to fetch icon simple/slow"})


async def test_our_own_icon_needs_nobody(site: Site, network: Network) -> None:
    _, client = await site.start()
    answer = await client.get("/api/v1/icons/selfhst/drydock")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert network.asked == []


async def test_internetless_mode_stays_inside(site: Site, network: Network) -> None:
    _, client = await site.start()
    network.offer("kept.svg", SVG)
    assert (await client.get("/api/v1/icons/simple/kept")).status_code == 200
    assert (await client.patch("/api/v1/settings", json={"internetlessMode": True})).status_code == 200
    assert (await client.get("/api/v1/icons/simple/kept")).content == CLEAN
    answer = await client.get("/api/v1/icons/simple/foo")
    expected = {"error": "Icon simple/foo is not cached", "fallbackIcon": "fab fa-docker"}
    assert (answer.status_code, answer.json()) == (404, expected)
    assert (await client.get("/api/v1/icons/simple/foo", headers=IMAGE)).status_code == 200
    assert len(network.asked) == 1


async def test_an_old_icon_is_fetched_again_and_serves_when_that_fails(site: Site, network: Network) -> None:
    server, client = await site.start(DD_ICON_CACHE_TTL_MS="1000")
    network.offer("redis.svg", SVG)
    assert (await client.get("/api/v1/icons/simple/redis")).status_code == 200
    server.clock.advance(2)
    network.offer("redis.svg", b"", 503)
    assert (await client.get("/api/v1/icons/simple/redis")).content == CLEAN
    network.offer("redis.svg", SVG.replace(b"M1 1", b"M2 2"))
    assert b"M2 2" in (await client.get("/api/v1/icons/simple/redis")).content
    assert len(network.asked) == 3


async def test_the_budget_counts_fetches_only(site: Site, network: Network) -> None:
    server, client = await site.start(DD_ICON_PROXY_RATE_LIMIT_MAX="2", DD_ICON_PROXY_RATE_LIMIT_WINDOW_MS="30000")
    for slug in ("a", "b", "c"):
        network.offer(f"{slug}.svg", SVG)
    for _ in range(3):
        answer = await client.get("/api/v1/icons/simple/a")
        assert answer.status_code == 200
    assert (await client.get("/api/v1/icons/simple/b")).headers["ratelimit-policy"] == "2;w=30"
    answer = await client.get("/api/v1/icons/simple/c")
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == answer.headers["ratelimit-reset"]
    image = await client.get("/api/v1/icons/simple/c", headers=IMAGE)
    assert (image.status_code, image.headers["cache-control"]) == (200, "no-store")
    assert "retry-after" not in image.headers
    assert (await client.get("/api/v1/icons/simple/a")).status_code == 200
    assert len(network.asked) == 2
    server.clock.advance(31)
    assert (await client.get("/api/v1/icons/simple/c")).status_code == 200


async def test_clearing_the_cache(site: Site, network: Network) -> None:
    _, client = await site.start()
    network.offer("a.svg", SVG)
    network.offer("b.png", PNG)
    for path in ("simple/a", "homarr/b"):
        await client.get(f"/api/v1/icons/{path}")
    answer = await client.delete("/api/v1/icons/cache")
    assert (answer.status_code, answer.json()) == (200, {"cleared": 2})
    assert site.files() == []
    assert (await client.delete("/api/v1/icons/cache")).json() == {"cleared": 0}
    assert (await client.get("/api/v1/icons/cache")).status_code == 405


async def test_icons_survive_a_restart(site: Site, network: Network) -> None:
    network.offer("a.svg", SVG)
    _, client = await site.start()
    await client.get("/api/v1/icons/simple/a")
    async with AsyncExitStack() as stack:
        again = Site(site.folder.parent / "copy", network, stack)
        (again.folder / "store").mkdir(parents=True)
        (site.folder / "store" / "icons").rename(again.folder / "store" / "icons")
        _, client = await again.start()
        assert (await client.get("/api/v1/icons/simple/a")).content == CLEAN
    assert len(network.asked) == 1


async def test_strangers_get_no_icon_and_viewers_do_not_clear(site: Site, network: Network) -> None:
    server, _ = await site.start(**user("pat", role="viewer"))
    assert (await server.client().get("/api/v1/icons/simple/a", headers=IMAGE)).status_code == 401
    viewer = await server.signed_in("pat")
    assert (await viewer.delete("/api/v1/icons/cache")).status_code == 403
    assert (await viewer.get("/api/v1/icons/simple/a", headers=IMAGE)).status_code == 200
