"""What others can read off the service: observations, counters, components, order of addresses (registries.md §1.5, §10)."""

from __future__ import annotations

import socket
from collections.abc import Mapping

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from drydock.core.errors import RegistryError
from drydock.registries.instances import summary
from drydock.registries.resolver import DnsMode, OrderedResolver
from drydock.registries.service import RegistryOptions, RegistryService, register
from lab.proxy import Fault, Proxy

from .conftest import ImpatientClock


async def test_every_api_request_is_observed_failed_ones_too(proxy: Proxy, pushed: Mapping[str, str]) -> None:
    seen: list[tuple[str, str]] = []
    instances, _ = register({"DD_REGISTRY_CUSTOM_LAB_URL": proxy.url})
    proxy.faults = [Fault("/tags/list", status=404)]
    service = RegistryService(
        instances, RegistryOptions(), ImpatientClock(), observer=lambda type_, name, seconds: seen.append((type_, name))
    )
    async with service, service.poll() as poll:
        route = service.route(proxy.host, "demo/app")
        await poll.head_digest(route, "latest")
        await poll.head_digest(route, "latest")
        with pytest.raises(RegistryError):
            await poll.tags(route)
    assert seen == [("custom", "lab")] * 2
    assert service.metrics.requests == {("custom", "lab", "head", "200"): 1, ("custom", "lab", "tags", "404"): 1}
    assert (service.metrics.digest_hits, service.metrics.digest_misses) == (1, 1)


async def test_announced_questions_count_once(
    service: RegistryService, proxy: Proxy, pushed: Mapping[str, str]
) -> None:
    route = service.route(proxy.host, "demo/app")
    async with service.poll() as poll:
        await poll.prefetch([route], [(route, "latest")])
        for _ in range(3):
            await poll.tags(route)
            await poll.head_digest(route, "latest")
        (host,) = poll.requests(route)
    assert (host.requests, host.cached) == (2, 4)
    assert (service.metrics.digest_hits, service.metrics.digest_misses) == (2, 1)


def test_components_are_masked_and_problems_are_kept() -> None:
    variables = {"DD_REGISTRY_GHCR_ME_USERNAME": "u", "DD_REGISTRY_GHCR_ME_TOKEN": "ghp", "DD_REGISTRY_ACR_X": ""}
    instances, problems = register(variables)
    service = RegistryService(instances, RegistryOptions(), ImpatientClock(), problems=problems)
    item = next(item for item in service.instances() if item["type"] == "ghcr")
    assert item == {
        "id": "ghcr.me",
        "type": "ghcr",
        "name": "me",
        "configuration": {"username": "u", "token": "[REDACTED]"},
    }
    assert service.problems == problems
    assert str(summary(problems)).startswith(
        "Some registries failed to register (Error when registering component acr ("
    )
    assert service.github_token() == "ghp"


class Both(AbstractResolver):
    """A name with addresses of both families, the newer first."""

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list[ResolveResult]:
        pairs = (("::1", socket.AF_INET6), ("127.0.0.1", socket.AF_INET), ("::2", socket.AF_INET6))
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=0)
            for address, kind in pairs
        ]

    async def close(self) -> None:
        return None


@pytest.mark.parametrize(
    ("mode", "order"),
    [
        ("ipv4first", ["127.0.0.1", "::1", "::2"]),
        ("ipv6first", ["::1", "::2", "127.0.0.1"]),
        ("verbatim", ["::1", "127.0.0.1", "::2"]),
    ],
)
async def test_order_of_addresses(mode: DnsMode, order: list[str]) -> None:
    found = await OrderedResolver(mode, Both()).resolve("name", 1)
    assert [result["host"] for result in found] == order
