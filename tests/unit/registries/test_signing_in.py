"""Challenges, tokens, batches, realm trust and credentials in the right places (registries.md §5)."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from drydock.core.errors import RegistryAuthFailed, RegistryError
from drydock.registries.room import Registries
from lab.images import Pusher
from lab.proxy import Fault, Proxy
from lab.registry import RegistryServer, token_auth
from lab.tokens import ISSUER, SERVICE, TokenServer

REPOSITORIES = [f"public/app{number}" for number in range(5)]
ALICE = {"LOGIN": "alice", "PASSWORD": "s3cret"}
Proxies = Callable[..., Awaitable[Proxy]]
MakeService = Callable[..., Awaitable[Registries]]


@pytest.fixture
async def tokens() -> AsyncIterator[TokenServer]:
    server = await TokenServer().start()
    yield server
    await server.stop()


@pytest.fixture
async def guarded(
    tokens: TokenServer, start_registry: Callable[..., RegistryServer], tmp_path: Path, proxies: Proxies
) -> Proxy:
    """A proxy in front of a registry that wants tokens of `tokens`; holds `public/app0…4` and `secret/app`."""
    home = tmp_path / "guarded"
    filler = RegistryServer(home).start()
    pusher = Pusher(filler.host, filler.connection)
    for repository in (*REPOSITORIES, "secret/app"):
        pusher.push(repository, "1")
    filler.stop()
    certificate = tokens.write_certificate(tmp_path / "token.crt")
    server = RegistryServer(home, auth=token_auth(tokens.realm, certificate, service=SERVICE, issuer=ISSUER)).start()
    yield await proxies(server.url)
    server.stop()


def custom(proxy: Proxy, **keys: str) -> dict[str, str]:
    return {"DD_REGISTRY_CUSTOM_LAB_URL": proxy.url} | {f"DD_REGISTRY_CUSTOM_LAB_{k}": v for k, v in keys.items()}


async def test_one_challenge_and_one_token_for_many_repositories(
    guarded: Proxy, tokens: TokenServer, make_service: MakeService
) -> None:
    service = await make_service(custom(guarded))
    routes = [service.route(guarded.host, repository) for repository in REPOSITORIES]
    async with service.poll() as poll:
        await poll.prefetch(routes, [(route, "1") for route in routes])
        await asyncio.gather(*(poll.tags(route) for route in routes), *(poll.head_digest(r, "1") for r in routes))
    assert len(tokens.asked) == 1
    assert tokens.asked[0] == (tuple(f"repository:{name}:pull" for name in REPOSITORIES), None)
    assert len(guarded.seen) == 2 * len(routes) + 1


async def test_a_server_that_grants_the_first_scope_only(
    guarded: Proxy, tokens: TokenServer, make_service: MakeService
) -> None:
    tokens.first_scope_only = True
    service = await make_service(custom(guarded))
    routes = [service.route(guarded.host, repository) for repository in REPOSITORIES]
    async with service.poll() as poll:
        await poll.prefetch(routes)
        for route in routes:
            await poll.tags(route)
    assert all(len(scopes) == 1 for scopes, _ in tokens.asked[1:])
    assert len(tokens.asked) <= 1 + len(routes)


async def test_credentials_go_to_authurl_only(guarded: Proxy, tokens: TokenServer, make_service: MakeService) -> None:
    service = await make_service(custom(guarded, **ALICE, AUTHURL=tokens.realm.removesuffix("/token")))
    async with service.poll() as poll:
        assert (await poll.tags(service.route(guarded.host, "secret/app"))).names == ("1",)
    assert [header is not None for _, header in tokens.asked] == [True]


async def test_a_foreign_realm_never_sees_credentials(
    guarded: Proxy, tokens: TokenServer, make_service: MakeService
) -> None:
    service = await make_service(custom(guarded, **ALICE))
    async with service.poll() as poll:
        with pytest.raises(
            RegistryAuthFailed, match=r"127\.0\.0\.1:\d+ is not trusted.*DD_REGISTRY_CUSTOM_LAB_AUTHURL"
        ):
            await poll.tags(service.route(guarded.host, "secret/app"))
    assert tokens.asked == []


async def test_rejected_credentials_are_tried_once(
    guarded: Proxy, tokens: TokenServer, make_service: MakeService
) -> None:
    wrong = {"LOGIN": "alice", "PASSWORD": "wrong", "AUTHURL": tokens.realm.removesuffix("/token")}
    service = await make_service(custom(guarded, **wrong))
    async with service.poll() as poll:
        for repository in REPOSITORIES:
            with pytest.raises(RegistryAuthFailed, match=r"custom\.lab \(HTTP 401\).*credentials were rejected"):
                await poll.tags(service.route(guarded.host, repository))
    assert len(tokens.asked) == 1


async def test_no_anonymous_access_to_private_repositories(
    guarded: Proxy, tokens: TokenServer, make_service: MakeService
) -> None:
    service = await make_service(custom(guarded))
    async with service.poll() as poll:
        with pytest.raises(RegistryAuthFailed, match="refused secret/app"):
            await poll.tags(service.route(guarded.host, "secret/app"))


async def test_a_token_that_expires_during_a_pass_is_renewed(
    guarded: Proxy, tokens: TokenServer, make_service: MakeService, clock: object
) -> None:
    tokens.life = 60
    service = await make_service(custom(guarded))
    routes = [service.route(guarded.host, repository) for repository in REPOSITORIES[:2]]
    async with service.poll() as poll:
        await poll.tags(routes[0])
        await poll.head_digest(routes[0], "1")
        assert len(tokens.asked) == 1
        clock.advance(51)
        assert (await poll.tags(routes[1])).names == ("1",)
    assert [scopes for scopes, _ in tokens.asked] == [(f"repository:{name}:pull",) for name in REPOSITORIES[:2]]


async def test_a_revoked_token_is_replaced(guarded: Proxy, tokens: TokenServer, make_service: MakeService) -> None:
    service = await make_service(custom(guarded))
    route = service.route(guarded.host, "public/app0")
    async with service.poll() as poll:
        await poll.tags(route)
    challenge = f'Bearer realm="{tokens.realm}",service="{SERVICE}",error="invalid_token"'
    guarded.faults = [Fault("", status=401, times=1, headers={"WWW-Authenticate": challenge})]
    async with service.poll(not_before=float("inf")) as poll:
        assert (await poll.tags(route)).names == ("1",)
    assert len(tokens.asked) == 2


@pytest.mark.parametrize("body", [b"{}", b"[]", b"", b'{"token": ""}', b'{"token": 5}', b"{" + b" " * 70_000 + b"}"])
async def test_useless_token_answers(
    guarded: Proxy, tokens: TokenServer, make_service: MakeService, body: bytes
) -> None:
    tokens.raw = body
    service = await make_service(custom(guarded))
    async with service.poll() as poll:
        with pytest.raises(RegistryError, match=r"token|too large"):
            await poll.tags(service.route(guarded.host, "public/app0"))


async def test_token_variants(guarded: Proxy, tokens: TokenServer, make_service: MakeService) -> None:
    tokens.field_name, tokens.life = "access_token", None
    service = await make_service(custom(guarded))
    async with service.poll() as poll:
        assert (await poll.tags(service.route(guarded.host, "public/app0"))).names == ("1",)


async def test_token_requests_follow_no_redirect(
    guarded: Proxy, tokens: TokenServer, make_service: MakeService, proxies: Proxies
) -> None:
    trap = await proxies(None)
    tokens.redirect = f"{trap.url}/token"
    service = await make_service(custom(guarded))
    async with service.poll() as poll:
        with pytest.raises(RegistryError):
            await poll.tags(service.route(guarded.host, "public/app0"))
    assert trap.seen == []


async def test_basic_is_sent_beforehand(
    private_registry: RegistryServer, private_images: Pusher, proxies: Proxies, make_service: MakeService
) -> None:
    private_images.push("team/app", "1")
    proxy = await proxies(private_registry.url)
    service = await make_service(custom(proxy, **ALICE))
    async with service.poll() as poll:
        assert (await poll.tags(service.route(proxy.host, "team/app"))).names == ("1",)
    assert proxy.count() == {"tags": 1}


async def test_basic_without_credentials_and_with_wrong_ones(
    private_registry: RegistryServer, private_images: Pusher, proxies: Proxies, make_service: MakeService
) -> None:
    private_images.push("team/app", "1")
    for keys in ({}, {"LOGIN": "alice", "PASSWORD": "nope"}):
        proxy = await proxies(private_registry.url)
        service = await make_service(custom(proxy, **keys))
        async with service.poll() as poll:
            with pytest.raises(RegistryAuthFailed, match="refused team/app"):
                await poll.tags(service.route(proxy.host, "team/app"))
        assert len(proxy.seen) == 1


async def test_auth_key_is_decoded_for_checks_and_pulls(
    private_registry: RegistryServer, private_images: Pusher, make_service: MakeService
) -> None:
    private_images.push("team/app", "1")
    auth = base64.b64encode(b"alice:s3cret").decode()
    service = await make_service(
        {"DD_REGISTRY_CUSTOM_LAB_URL": private_registry.url, "DD_REGISTRY_CUSTOM_LAB_AUTH": auth}
    )
    async with service.poll() as poll:
        await poll.tags(service.route(private_registry.host, "team/app"))
    pull = await service.pull_auth(private_registry.host, "team/app")
    assert pull is not None
    assert (pull.username, pull.password.reveal()) == ("alice", "s3cret")
    assert "s3cret" not in repr(pull)


async def test_pull_credentials_come_from_the_deploy_host(make_service: MakeService) -> None:
    service = await make_service({"DD_REGISTRY_HUB_MINE_LOGIN": "bob", "DD_REGISTRY_HUB_MINE_PASSWORD": "hub-secret"})
    route = service.route("mirror.example", "library/nginx", lookup="docker.io/library/nginx")
    assert route.instance_id == "hub.mine"
    assert await service.pull_auth("mirror.example", "library/nginx") is None
    assert (await service.pull_auth("docker.io", "library/nginx")) is not None


async def test_a_registry_that_offers_both_schemes(
    guarded: Proxy, tokens: TokenServer, make_service: MakeService
) -> None:
    both = (
        f'Basic realm="x", Bearer realm="{tokens.realm}",service="{SERVICE}",scope="repository:public/app0:pull,push"'
    )
    guarded.faults = [Fault("", times=1, status=401, headers={"WWW-Authenticate": both}, body=b"<html>")]
    service = await make_service(custom(guarded))
    async with service.poll() as poll:
        assert (await poll.tags(service.route(guarded.host, "public/app0"))).names == ("1",)
    assert tokens.asked[0][0] == ("repository:public/app0:pull",)


def test_masked_configuration() -> None:
    from kit.registries import register

    variables = {"DD_REGISTRY_CUSTOM_LAB_URL": "https://reg.example", "DD_REGISTRY_CUSTOM_LAB_LOGIN": "alice"}
    (instance,) = [i for i in register(variables | {"DD_REGISTRY_CUSTOM_LAB_PASSWORD": "pw"})[0] if i.type == "custom"]
    assert instance.masked() == {"url": "https://reg.example", "login": "alice", "password": "[REDACTED]"}
    assert "pw" not in repr(instance)
    json.dumps(instance.masked())
