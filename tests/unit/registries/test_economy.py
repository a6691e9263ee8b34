"""How many requests a pass makes (registries.md §8): exact counts on a fleet with the proportions of §8.2."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from drydock.core.model import Container, ImageDigest, ImageRegistry, ImageTag
from drydock.core.trace import Trace
from drydock.events import ContainerChecked
from drydock.registries.cache import DiskCache
from drydock.registries.instances import Route
from drydock.registries.manifests import Platform
from drydock.registries.room import Registries
from drydock.watch.checker import Checker
from kit.containers import container, image
from lab.images import Pusher
from lab.proxy import Fault, Proxy
from lab.registry import RegistryServer, token_auth
from lab.tokens import ISSUER, TokenServer

AMD64 = Platform("linux", "amd64")
HUB = {f"team/hub{number}": ("1", "latest") if number % 4 == 0 else ("1",) for number in range(24)}
GHCR = {f"team/ghcr{number}": ("1", "latest") if number == 0 else ("1",) for number in range(8)}
LSCR = {f"team/lscr{number}": ("1",) for number in range(2)}
QUAY = {"team/quay0": ("1", "latest"), "team/quay1": ("1",)}
OWN = {f"team/own{number}": ("1",) for number in range(4)}
REPLICAS = 5


@dataclass
class World:
    """Simulated public registries, their token servers, and the fleet on them."""

    service: Registries
    fronts: dict[str, Proxy]
    tokens: dict[str, TokenServer]
    fleet: list[tuple[Route, str]]
    pusher: Pusher

    def requests(self) -> Counter[str]:
        total: Counter[str] = Counter(token=sum(len(server.asked) for server in self.tokens.values()))
        for front in self.fronts.values():
            total += front.count()
        return total

    def clear(self) -> None:
        for front in self.fronts.values():
            front.seen.clear()
        for server in self.tokens.values():
            server.asked.clear()


@pytest.fixture
async def world(
    tmp_path: Path,
    proxies: Callable[..., Awaitable[Proxy]],
    server_tls: Callable[..., ssl.SSLContext],
    make_service: Callable[..., Awaitable[Registries]],
) -> AsyncIterator[World]:
    filler = RegistryServer(tmp_path / "data").start()
    pusher = Pusher(filler.host, filler.connection)
    for repository, tags in (HUB | GHCR | LSCR | QUAY | OWN).items():
        pusher.push(repository, *tags)
    servers: list[RegistryServer] = []
    tokens: dict[str, TokenServer] = {}
    fronts: dict[str, Proxy] = {}

    async def front(name: str, realm: str, service: str, *aliases: str, unbound: tuple[str, ...] = ()) -> None:
        token_server = await TokenServer(open_to_all=True, unbound=unbound).start(
            ssl=server_tls(realm.split("/")[2].partition(":")[0])
        )
        tokens[name] = token_server
        certificate = token_server.write_certificate(tmp_path / f"{name}.crt")
        place = realm if name != "own" else token_server.realm
        auth = token_auth(place, certificate, service=service, issuer=ISSUER)
        servers.append(RegistryServer(tmp_path / "data", auth=auth).start())
        fronts[name] = await proxies(servers[-1].url, ssl=server_tls(*aliases))

    await front("hub", "https://auth.docker.io/token", "registry.docker.io", "registry-1.docker.io")
    await front("ghcr", "https://ghcr.io/token", "ghcr.io", "ghcr.io", "lscr.io", unbound=(*GHCR, *LSCR))
    await front("own", "https://127.0.0.1/token", "own", "127.0.0.1")
    fronts["quay"] = await proxies(filler.url, ssl=server_tls("quay.io"))
    ports = {
        "registry-1.docker.io": fronts["hub"].port,
        "auth.docker.io": tokens["hub"].port,
        "ghcr.io": fronts["ghcr"].port,
        "lscr.io": fronts["ghcr"].port,
        "quay.io": fronts["quay"].port,
    }
    service = await make_service({"DD_REGISTRY_CUSTOM_OWN_URL": fronts["own"].url}, ports=ports)
    hosts = {"docker.io": HUB, "ghcr.io": GHCR, "lscr.io": LSCR, "quay.io": QUAY, fronts["own"].host: OWN}
    fleet = [
        (service.route(host, repository), tag)
        for host, repositories in hosts.items()
        for repository, tags in repositories.items()
        for tag in tags
        for _ in range(REPLICAS)
    ]
    _join_token_server(fronts["ghcr"], tokens["ghcr"])
    yield World(service, fronts, tokens, fleet, pusher)
    for server in (*servers, filler):
        server.stop()
    for token_server in tokens.values():
        await token_server.stop()


def _join_token_server(front: Proxy, server: TokenServer) -> None:
    """GHCR's token server is the registry's own host: its path is answered by the token server."""
    passing = front._pass_on

    async def pass_on(request, fault):  # type: ignore[no-untyped-def]
        if request.path != "/token":
            return await passing(request, fault)
        answer = await server._handle(request)
        return answer.status, answer.body, dict(answer.headers)

    front._pass_on = pass_on  # type: ignore[method-assign]


async def check_all(service: Registries, fleet: list[tuple[Route, str]]) -> None:
    async with service.poll() as poll:
        await poll.prefetch([route for route, _ in fleet], fleet)
        for route, tag in fleet:
            await poll.tags(route)
            await poll.head_digest(route, tag)


async def test_one_list_per_repository_and_one_head_per_tag(world: World, clock: object) -> None:
    repositories = {(route.host, route.repository) for route, _ in world.fleet}
    tags = {(route.host, route.repository, tag) for route, tag in world.fleet}
    await check_all(world.service, world.fleet)
    first = world.requests()
    assert first["tags"] == len(repositories)
    assert first["head"] == len(tags) + 1, "one challenge of the registry whose realm was not known"
    assert first["manifest"] == first["blob"] == 0
    assert len(world.tokens["hub"].asked) == 2, "24 repositories, 20 scopes a token"
    assert len(world.tokens["ghcr"].asked) == 1, "one anonymous token for all"
    assert len(world.tokens["own"].asked) == 1
    world.clear()
    clock.advance(120)
    await check_all(world.service, world.fleet)
    second = world.requests()
    assert second["tags"] == len(repositories)
    assert second["head"] == len(tags)
    assert second["manifest"] == second["blob"] == 0
    assert second["token"] <= 4


async def test_two_watchers_at_the_same_minute_share(world: World) -> None:
    await asyncio.gather(check_all(world.service, world.fleet), check_all(world.service, world.fleet))
    once = (
        len({(r.host, r.repository) for r, _ in world.fleet}),
        len({(r.host, r.repository, t) for r, t in world.fleet}),
    )
    total = world.requests()
    assert (total["tags"], total["head"]) == (once[0], once[1] + 1)
    world.clear()
    await check_all(world.service, world.fleet)
    assert sum(world.requests().values()) == 0


async def test_a_changed_tag_costs_three_requests_once(world: World, clock: object) -> None:
    await check_all(world.service, world.fleet)
    world.pusher.push_index("team/quay1", "1", created="2026-06-06T06:06:06Z")
    world.clear()
    clock.advance(120)
    route = world.service.route("quay.io", "team/quay1")
    for _ in range(REPLICAS):
        async with world.service.poll() as poll:
            digest = await poll.head_digest(route, "1")
            await poll.resolve(route, digest, AMD64)
    count = world.fronts["quay"].count()
    assert (count["head"], count["manifest"], count["blob"]) == (1, 2, 1)


async def test_a_check_that_was_asked_for_takes_no_older_answer(world: World, clock: object) -> None:
    route = world.service.route("quay.io", "team/quay0")
    async with world.service.poll() as poll:
        await poll.head_digest(route, "1")
    async with world.service.poll(not_before=clock.monotonic(), interactive=True) as poll:  # type: ignore[attr-defined]
        await asyncio.gather(*(poll.head_digest(route, "1") for _ in range(20)))
        assert [(item.host, item.requests, item.cached) for item in poll.requests()] == [("quay.io", 1, 19)]
        assert poll.requests(route) == poll.requests()
    assert world.fronts["quay"].count() == {"head": 2}


async def test_a_cancelled_caller_does_not_cancel_the_others(world: World) -> None:
    route = world.service.route("quay.io", "team/quay0")
    async with world.service.poll() as poll:
        first = asyncio.create_task(poll.tags(route))
        second = asyncio.create_task(poll.tags(route))
        await asyncio.sleep(0)
        first.cancel()
        assert len((await second).names) == 2


async def test_a_failure_is_the_answer_for_the_rest_of_the_pass(world: World) -> None:
    route = world.service.route("quay.io", "team/none")
    async with world.service.poll() as poll:
        for _ in range(10):
            with pytest.raises(Exception, match="not found"):
                await poll.tags(route)
    assert world.fronts["quay"].count() == {"tags": 1}


async def test_manifests_survive_a_restart(
    tmp_path: Path, proxy: Proxy, pushed: Mapping[str, str], make_service: Callable[..., Awaitable[Registries]]
) -> None:
    variables = {"DD_REGISTRY_CUSTOM_LAB_URL": proxy.url}
    for _ in range(2):
        service = await make_service(variables, cache_path=tmp_path / "cache.db")
        async with service.poll() as poll:
            route = service.route(proxy.host, "demo/app")
            resolved = await poll.resolve(route, pushed["demo/app"], AMD64)
            assert resolved.created == "2026-01-02T03:04:05.123456Z"
    assert proxy.count() == {"manifest": 1, "blob": 1}
    assert b"s3cret" not in (tmp_path / "cache.db").read_bytes()


async def test_a_damaged_cache_is_made_anew(
    tmp_path: Path, proxy: Proxy, pushed: Mapping[str, str], make_service: Callable[..., Awaitable[Registries]]
) -> None:
    (tmp_path / "cache.db").write_bytes(b"not a database" * 1000)
    service = await make_service({"DD_REGISTRY_CUSTOM_LAB_URL": proxy.url}, cache_path=tmp_path / "cache.db")
    async with service.poll() as poll:
        await poll.resolve(service.route(proxy.host, "demo/app"), pushed["demo/app"], AMD64)
    assert proxy.count() == {"manifest": 1, "blob": 1}


async def test_a_private_repository_gets_a_token_of_its_own(world: World) -> None:
    world.tokens["ghcr"].unbound = ("team/ghcr0", "team/ghcr1")
    async with world.service.poll() as poll:
        for number in range(4):
            await poll.tags(world.service.route("ghcr.io", f"team/ghcr{number}"))
    scopes = [scopes[0] for scopes, _ in world.tokens["ghcr"].asked]
    assert scopes == [f"repository:team/ghcr{number}:pull" for number in (0, 2, 3)]


async def test_a_failing_configuration_is_asked_once_per_pass(
    service: Registries, proxy: Proxy, pushed: Mapping[str, str]
) -> None:
    proxy.faults = [Fault("/blobs/", status=404)]
    async with service.poll() as poll:
        for _ in range(10):
            await poll.resolve(service.route(proxy.host, "demo/app"), pushed["demo/app"], AMD64)
    assert proxy.count() == {"manifest": 1, "blob": 1}


async def test_lists_for_suggestions_may_be_a_day_old(
    service: Registries, proxy: Proxy, pushed: Mapping[str, str], clock: object
) -> None:
    route = service.route(proxy.host, "demo/app")
    for hours in (0, 1, 12, 25):
        clock.advance(hours * 3600)
        async with service.poll() as poll:
            assert len((await poll.tags(route, max_age=24 * 3600)).names) == 3
    assert proxy.count() == {"tags": 2}


class NoLedger:
    """Stores nothing: gives back what was checked."""

    async def checked(self, outcomes: Sequence[tuple[Container, Trace]], started_ms: int) -> list[ContainerChecked]:
        return [ContainerChecked(container=container, changed=False) for container, _ in outcomes]


def running(proxy: Proxy, digest: str, tag: str, number: int = 1) -> Container:
    precision: Any = "floating" if tag == "latest" else "specific"
    found = msgspec.structs.replace(
        image(),
        name="demo/app",
        registry=ImageRegistry(name="custom.lab", url=proxy.host),
        tag=ImageTag(value=tag, semver=tag != "latest", tag_precision=precision),
        digest=ImageDigest(watch=True, repo=digest, value=digest, repo_digests=[digest]),
    )
    return container(number, image=found)


async def test_a_floating_tag_costs_one_head_and_its_list_once_a_day(
    service: Registries, proxy: Proxy, pushed: Mapping[str, str], clock: Any
) -> None:
    checker = Checker(service, NoLedger(), clock)
    fleet = [running(proxy, pushed["demo/app"], "latest", number) for number in range(1, 6)]
    for hours, counted in ((0, {"head": 1, "tags": 1}), (1, {"head": 2, "tags": 1}), (25, {"head": 3, "tags": 2})):
        clock.advance(hours * 3600)
        reports = await checker.check(fleet, "cron")
        assert [report.container.error for report in reports] == [None] * len(fleet)
        assert proxy.count() == counted


async def test_a_list_that_decides_is_always_a_new_one(
    service: Registries, proxy: Proxy, pushed: Mapping[str, str], clock: Any
) -> None:
    checker, digest = Checker(service, NoLedger(), clock), pushed["demo/app"]
    floating, pinned = running(proxy, digest, "latest", 1), running(proxy, digest, "1.0", 2)
    for fleet, cause, lists in (
        ([floating], "cron", 1),
        ([floating, pinned], "cron", 2),
        ([floating], "api", 3),
        ([floating], "cron", 3),
    ):
        clock.advance(600)
        await checker.check(fleet, cause)
        assert proxy.count()["tags"] == lists


async def test_a_cache_that_breaks_while_it_is_used(
    tmp_path: Path, proxy: Proxy, pushed: Mapping[str, str], make_service: Callable[..., Awaitable[Registries]]
) -> None:
    path = tmp_path / "cache.db"
    service = await make_service({"DD_REGISTRY_CUSTOM_LAB_URL": proxy.url}, cache_path=path)
    route = service.route(proxy.host, "demo/app")
    async with service.poll() as poll:
        await poll.resolve(route, pushed["demo/app"], AMD64)
    for file in tmp_path.glob("cache.db*"):
        file.write_bytes(b"\xff" * 8192)
    for _ in range(2):
        async with service.poll() as poll:
            assert (await poll.resolve(route, pushed["demo/app"], AMD64)).created is not None
    assert proxy.count()["manifest"] == 2


async def test_the_cache_stays_within_its_size(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "cache.db", 50_000)
    await cache.open()
    for number in range(200):
        await cache.put("manifest", str(number), os.urandom(1000))
        await cache.get("manifest", "0")
    kept = [number for number in range(200) if await cache.get("manifest", str(number)) is not None]
    await cache.close()
    assert 20 < len(kept) < 50
    assert {0, 199} <= set(kept), "what is used stays"
