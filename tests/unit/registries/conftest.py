"""A registry service with real registries behind fault proxies, fixed public names on the loopback, and a fast clock."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp.abc import AbstractResolver, ResolveResult

from drydock.http.client import HttpClient
from drydock.registries.room import Registries, Tuning
from drydock.registries.settings import RegistriesSettings
from kit.clock import ImpatientClock
from kit.registries import register
from lab.images import Pusher
from lab.proxy import Proxy
from lab.registry import RegistryServer


class Names(AbstractResolver):
    """Public names that lead to ports of the loopback; others do not exist."""

    def __init__(self, ports: Mapping[str, int]) -> None:
        self.ports = dict(ports)
        self.addresses: dict[str, list[str]] = {}

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list[ResolveResult]:
        if host not in self.ports:
            raise OSError(socket.EAI_NONAME, f"unknown name {host}")
        answers = self.addresses.get(host, ["127.0.0.1"])
        address = answers.pop(0) if len(answers) > 1 else answers[0]
        found = {"hostname": host, "host": address, "port": self.ports[host], "family": socket.AF_INET}
        return [ResolveResult(**found, proto=0, flags=socket.AI_NUMERICHOST)]

    async def close(self) -> None:
        return None


MakeService = Callable[..., Awaitable[Registries]]


@pytest.fixture
def clock() -> ImpatientClock:
    return ImpatientClock()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """The certificate authority of the public names."""
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> Callable[..., ssl.SSLContext]:
    """`server_tls(*names)`: a server's context with a certificate for these names."""

    def make(*names: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names).configure_cert(context)
        return context

    return make


@pytest.fixture
def trusting(authority: trustme.CA) -> Callable[[], ssl.SSLContext]:
    """Makes client contexts that trust the authority, as the system's roots would be trusted."""

    def make() -> ssl.SSLContext:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        return context

    return make


@pytest.fixture
async def make_service(clock: ImpatientClock, trusting: Callable[[], ssl.SSLContext]) -> AsyncIterator[MakeService]:
    """`make_service(variables, ports={name: port}, …)`: running registries that trust the test authority.

    Further arguments are `http` and `engine` (arguments of `HttpClient` and `Tuning`), `cache_path`, and
    values of `RegistriesSettings`.
    """
    async with AsyncExitStack() as stack:

        async def make(
            variables: Mapping[str, str],
            *,
            ports: Mapping[str, int] | None = None,
            http: Mapping[str, Any] | None = None,
            engine: Mapping[str, Any] | None = None,
            cache_path: Path | None = None,
            **settings: Any,
        ) -> Registries:
            instances, problems = register(variables)
            client = HttpClient(resolver=Names(ports or {}), roots=trusting, **(http or {}))
            made = Registries(
                instances,
                RegistriesSettings(**settings),
                await stack.enter_async_context(client),
                clock,
                problems=problems,
                cache_path=cache_path,
                tuning=Tuning(**(engine or {})),
            )
            return await stack.enter_async_context(made)

        yield make


@pytest.fixture
async def proxies() -> AsyncIterator[Callable[..., Awaitable[Proxy]]]:
    """`await proxies(upstream, ssl=…)`: one more proxy, stopped after the test."""
    started: list[Proxy] = []

    async def start(upstream: str | None, **options: Any) -> Proxy:
        started.append(await Proxy(upstream).start(**options))
        return started[-1]

    yield start
    for proxy in started:
        await proxy.stop()


@pytest.fixture
async def proxy(proxies: Callable[..., Awaitable[Proxy]], registry: RegistryServer) -> Proxy:
    """A proxy in front of the open registry."""
    return await proxies(registry.url)


@pytest.fixture
async def service(make_service: MakeService, proxy: Proxy) -> Registries:
    """A service whose `custom.lab` is the proxy."""
    return await make_service({"DD_REGISTRY_CUSTOM_LAB_URL": proxy.url})


@pytest.fixture(scope="session")
def pushed(images: Pusher) -> Mapping[str, str]:
    """`demo/app` with three tags of one image, an index `demo/multi:1`; digests by reference."""
    single = images.push("demo/app", "1.0", "1.1", "latest", created="2026-01-02T03:04:05.123456Z")
    index, children = images.push_index("demo/multi", "1", platforms=("linux/amd64", "linux/arm/v7", "linux/arm/v6"))
    return {"demo/app": single, "demo/multi": index, **children}
