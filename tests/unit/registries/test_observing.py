"""What others can read off the service: observations, counters, components (registries.md §1.5, §10)."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import structlog

from drydock.core.errors import RegistryError
from drydock.core.secret import Secret
from drydock.http.client import HttpClient
from drydock.registries.room import Registries
from drydock.registries.settings import RegistriesSettings
from kit.registries import register
from lab.proxy import Fault, Proxy

from .conftest import ImpatientClock


async def test_every_api_request_is_observed_failed_ones_too(
    service: Registries, proxy: Proxy, pushed: Mapping[str, str]
) -> None:
    seen: list[tuple[str, str]] = []
    service.observe(lambda type_, name, seconds: seen.append((type_, name)))
    proxy.faults = [Fault("/tags/list", status=404)]
    async with service.poll() as poll:
        route = service.route(proxy.host, "demo/app")
        await poll.head_digest(route, "latest")
        await poll.head_digest(route, "latest")
        with pytest.raises(RegistryError):
            await poll.tags(route)
    assert seen == [("custom", "lab")] * 2
    assert service.metrics.requests == {("custom", "lab", "head", "200"): 1, ("custom", "lab", "tags", "404"): 1}
    assert (service.metrics.digest_hits, service.metrics.digest_misses) == (1, 1)


async def test_announced_questions_count_once(service: Registries, proxy: Proxy, pushed: Mapping[str, str]) -> None:
    route = service.route(proxy.host, "demo/app")
    async with service.poll() as poll:
        await poll.prefetch([route], [(route, "latest")])
        for _ in range(3):
            await poll.tags(route)
            await poll.head_digest(route, "latest")
        (host,) = poll.requests(route)
    assert (host.requests, host.cached) == (2, 4)
    assert (service.metrics.digest_hits, service.metrics.digest_misses) == (2, 1)


async def test_components_are_masked_and_problems_are_told_at_start() -> None:
    variables = {"DD_REGISTRY_GHCR_ME_USERNAME": "u", "DD_REGISTRY_GHCR_ME_TOKEN": "ghp", "DD_REGISTRY_ACR_X": ""}
    instances, problems = register(variables)
    service = Registries(instances, RegistriesSettings(), HttpClient(), ImpatientClock(), problems=problems)
    item = next(item for item in service.instances() if item["type"] == "ghcr")
    assert item == {
        "id": "ghcr.me",
        "type": "ghcr",
        "name": "me",
        "configuration": {"username": "u", "token": "[REDACTED]"},
    }
    assert service.problems == problems
    assert [problem.startswith("Error when registering component acr (DD_REGISTRY_ACR_X") for problem in problems] == [
        True
    ]
    assert service.github_token() == Secret("ghp")
    with structlog.testing.capture_logs() as logs:
        async with service:
            pass
    (told,) = [line for line in logs if line["event"] == "registries.problems"]
    assert told["message"] == f"Some registries failed to register ({problems[0]})"
