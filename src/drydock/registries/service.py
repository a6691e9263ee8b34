"""The registries as the other rooms see them: routes, passes, pull credentials, the list of components.

Built once in `app`; local watchers, the API, updates and scanners share it. Order of reading: `routing.py` (who
serves an image), `poll.py` (questions), `client.py` (signing in), `transport.py` (manners), `wire.py` (HTTP).
"""

from __future__ import annotations

import ssl as tls_library
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import structlog
from aiohttp.abc import AbstractResolver
from yarl import URL

from drydock.clock import Clock
from drydock.http.proxies import Proxies
from drydock.registries.accounting import Ledger, Metrics, Observer
from drydock.registries.cache import DiskCache
from drydock.registries.client import Client
from drydock.registries.credentials import Credentials
from drydock.registries.digests import Digests, Resolved
from drydock.registries.hosts import authority, is_public_address
from drydock.registries.instances import Instance, register, summary
from drydock.registries.limiter import INTERACTIVE
from drydock.registries.listing import Lister, TagList
from drydock.registries.manifests import Platform
from drydock.registries.poll import Machinery, Poll, Published, Snapshot
from drydock.registries.resolver import DnsMode, OrderedResolver
from drydock.registries.routing import Route, Router
from drydock.registries.spec import PRIVATE, Pace
from drydock.registries.strategies.ecr import EcrTokens
from drydock.registries.tls import TlsContexts
from drydock.registries.tokens import TokenBroker
from drydock.registries.transport import Call, Transport
from drydock.registries.wire import Wire
from drydock.single_flight import SingleFlight

__all__ = [
    "Credentials",
    "Instance",
    "Platform",
    "Poll",
    "Proxies",
    "Published",
    "RegistryOptions",
    "RegistryService",
    "Resolved",
    "Route",
    "TagList",
    "register",
]

log = structlog.get_logger("registries")

ROUTES_KEPT = 10_000
"""Images whose route is remembered."""


@dataclass(frozen=True)
class RegistryOptions:
    """Process-wide settings (registries.md §1.6).

    `timeout_s`: DD_OUTBOUND_HTTP_TIMEOUT_MS / 1000. `auto`: DD_REGISTRIES_AUTO. `concurrency`: DD_REGISTRIES_CONCURRENCY
    for hosts without a value of their own. `cache_path` and `cache_bytes`: the file beside the store (None: in memory)
    and DD_REGISTRIES_CACHE_MB in bytes. `allow_private_realms`: DD_REGISTRIES_ALLOW_PRIVATE_REALMS. `github_max_pages`:
    DD_GHCR_VERSIONS_MAX_PAGES. `dns_mode`: DD_DNS_MODE. `proxies`: `Proxies.of(environ)`. `backoff_s`: first back-off.
    `paces`: start values by host instead of the built-in ones. `public_address`: the address rule of §6.6.
    """

    timeout_s: float = 30.0
    auto: bool = True
    concurrency: int | None = None
    cache_path: Path | None = None
    cache_bytes: int = 64 * 1024 * 1024
    allow_private_realms: bool = False
    github_max_pages: int = 500
    dns_mode: DnsMode = "ipv4first"
    proxies: Proxies = field(default_factory=Proxies)
    backoff_s: float = 1.0
    paces: Mapping[str, Pace] = field(default_factory=dict)
    public_address: Callable[[str], bool] = is_public_address


class RegistryService:
    """All registries of one process. Use as an async context manager.

    `problems` are the reasons why configured registries are missing (from `register`). `ssl` makes a TLS context that
    trusts the system's roots; `resolver` turns names into addresses. `observer` gets type, name and seconds of every
    registry API request. `metrics` holds plain counters to export.
    """

    def __init__(
        self,
        instances: Sequence[Instance],
        options: RegistryOptions,
        clock: Clock,
        *,
        problems: Sequence[str] = (),
        resolver: AbstractResolver | None = None,
        ssl: Callable[[], tls_library.SSLContext] | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.problems = list(problems)
        self.metrics = Metrics()
        self._clock = clock
        self._instances = tuple(instances)
        self._router = Router(instances, auto=options.auto)
        self._wire = Wire(
            timeout_s=options.timeout_s,
            proxies=options.proxies,
            resolver=OrderedResolver(options.dns_mode, resolver),
            public=options.public_address,
        )
        self._cache = DiskCache(options.cache_path, options.cache_bytes)
        self._transport = Transport(
            self._wire,
            TlsContexts(ssl),
            clock,
            self.metrics,
            paces={**_paces(instances), **options.paces},
            concurrency=options.concurrency,
            observer=observer,
            backoff_s=options.backoff_s,
        )
        self._broker = TokenBroker(self._transport, clock)
        self._ecr = EcrTokens(self._transport, clock)
        client = Client(
            self._transport, self._broker, clock, self._ecr.header, allow_private=options.allow_private_realms
        )
        self._shared = Machinery(
            clock=clock,
            router=self._router,
            transport=self._transport,
            lister=Lister(client, self._cache),
            digests=Digests(client, self._cache, clock),
            cache=self._cache,
            metrics=self.metrics,
            snapshot=Snapshot(),
            flights=SingleFlight(),
            max_pages=options.github_max_pages,
        )
        self._routes = lru_cache(ROUTES_KEPT)(self._chosen)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> RegistryService:
        _announce(self._instances, self.problems)
        await self._cache.open()
        self._stack.push_async_callback(self._cache.close)
        await self._stack.enter_async_context(self._wire)
        self._stack.callback(self._transport.close)
        for part in (self._broker, self._ecr, self._shared.digests, self._shared.flights):
            self._stack.push_async_callback(part.close)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def observe(self, observer: Observer) -> None:
        """Tell `observer` of every registry API request from now on."""
        self._transport.observer = observer

    def route(self, host: str, repository: str, *, lookup: str | None = None) -> Route:
        """Where questions about an image go. `lookup`: the override of its labels. Never raises and asks nobody.

        An image that nobody serves gets `instance_id` `unknown`; the questions of a `Poll` then raise `RegistryNotFound`.
        """
        return self._routes(host, repository, lookup)

    def _chosen(self, host: str, repository: str, lookup: str | None) -> Route:
        """Decides, and logs the decision; instances never change, so once per image is enough."""
        route = self._router.route(host, repository, lookup=lookup)
        log.debug(
            "registries.route",
            image=f"{route.host}/{route.repository}",
            registry=route.instance_id,
            reason=route.reason,
        )
        return route

    def poll(self, *, not_before: float | None = None, interactive: bool = False) -> Poll:
        """A pass: scheduled (`not_before` None), or asked for (`not_before` = the clock's monotonic second of asking)."""
        return Poll(self._shared, not_before=not_before, interactive=interactive)

    async def pull_auth(self, host: str, repository: str) -> Credentials | None:
        """What the Engine needs to pull from the *deploy* host; None for anonymous. ECR asks for a token when needed.

        Raises `RegistryError` and its children when an ECR token cannot be had.
        """
        route = self._router.route(host, repository)
        if not route.known:
            return None
        instance = self._router.by_id[route.instance_id]
        if instance.type == "ecr" and instance.credentialed and route.host != "public.ecr.aws":
            return await self._ecr.credentials(instance, self._call(instance, route))
        return instance.credentials()

    def instances(self) -> list[dict[str, Any]]:
        """The components for the API: id, type, name and configuration with secrets masked (§1.5)."""
        return [
            {"id": item.id, "type": item.type, "name": item.name, "configuration": item.masked()}
            for item in self._instances
        ]

    def paused(self) -> dict[str, float]:
        """Seconds until each paused host may be asked again."""
        left = {host: limiter.pause_left() for host, limiter in self._transport.limiters.items()}
        return {host: seconds for host, seconds in left.items() if seconds > 0}

    def github_token(self) -> str | None:
        """The token of the first credentialed GHCR instance; serves release notes of trusted sources (§10)."""
        return next((item.get("token") for item in self._instances if item.type == "ghcr" and item.get("token")), None)

    def _call(self, instance: Instance, route: Route) -> Call:
        own = authority(URL(route.api_base))
        label = (route.host, route.repository)
        return Call(instance, label, INTERACTIVE, Ledger(), self._clock.monotonic(), own)


def _paces(instances: Sequence[Instance]) -> dict[str, Pace]:
    """Registries of one's own, and their token servers, start fast."""
    own = [item for item in instances if item.pace.rate >= PRIVATE.rate]
    servers = {authority(URL(item.authurl)): item.pace for item in own if item.authurl}
    return servers | {item.authority: item.pace for item in own if item.authority}


def _announce(instances: Sequence[Instance], problems: Sequence[str]) -> None:
    warning = summary(problems)
    if warning:
        log.warning("registries.problems", message=warning)
    for item in instances:
        log.info("registries.registered", registry=item.id, configuration=item.masked())
        if item.credentialed and (item.url or "").startswith("http://"):
            log.warning("registries.credentials_over_http", registry=item.id, url=item.url)
