"""The registries as the other rooms see them: routes, passes, pull credentials, the list of components.

Built once in `app`; local watchers, the API, updates and scanners share it. Order of reading: `instances.py` (who serves
an image), `poll.py` (questions), `client.py` (signing in), `transport.py` (manners).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import structlog
from yarl import URL

from drydock.clock import Clock
from drydock.config.load import Settings
from drydock.core.secret import Secret
from drydock.http.addresses import PUBLIC_ONLY, AddressRule
from drydock.http.client import HttpClient
from drydock.registries import ecr
from drydock.registries.cache import DiskCache
from drydock.registries.instances import KIND, PUBLIC_ECR, Instance, Route, Router, authority, instances_of
from drydock.registries.limiter import INTERACTIVE
from drydock.registries.manifests import content_digest
from drydock.registries.options import Credentials, RegistryOptions
from drydock.registries.poll import Poll, RegistryEngine
from drydock.registries.settings import GhcrSettings, RegistriesSettings
from drydock.registries.spec import PRIVATE, Pace
from drydock.registries.transport import Account, Observer, RegistryRequest, Transport

log = structlog.get_logger("registries")

ROUTES_KEPT = 10_000
"""Images whose route is remembered."""
ARTIFACT_CAP = 64 * 1024
MIB = 1024 * 1024


@dataclass(frozen=True)
class Tuning:
    """How the engine behaves, where it is not the configuration that says so.

    `paces`: start values by host instead of the built-in ones. `backoff_s`: the first back-off. `rule`: which addresses
    an unasked host may have (registries.md §6.6).
    """

    paces: Mapping[str, Pace] = field(default_factory=dict)
    backoff_s: float = 1.0
    rule: AddressRule = PUBLIC_ONLY


class Registries:
    """All registries of one process. Use as an async context manager, or `start` and `stop` it.

    `problems` are the reasons why configured registries are missing (one text each). `metrics` holds plain counters to
    export. `cache_path` is the file of the content-addressed cache, None: in memory.
    """

    def __init__(
        self,
        instances: Sequence[Instance],
        settings: RegistriesSettings,
        http: HttpClient,
        clock: Clock,
        *,
        problems: Sequence[str] = (),
        cache_path: Path | None = None,
        github_pages: int = 500,
        tuning: Tuning | None = None,
    ) -> None:
        tuning = tuning or Tuning()
        self.problems = list(problems)
        self._clock = clock
        self._instances = tuple(instances)
        # self-hosted registries, and their token servers, start fast
        own = [item for item in instances if item.pace.rate >= PRIVATE.rate]
        paces = {authority(URL(item.authurl)): item.pace for item in own if item.authurl}
        paces |= {item.authority: item.pace for item in own if item.authority}
        transport = Transport(
            http, clock, {**paces, **tuning.paces}, settings.concurrency, tuning.backoff_s, tuning.rule
        )
        cache = DiskCache(cache_path, settings.cache_mb * MIB)
        self._engine = RegistryEngine(
            transport, cache, clock, allow_private=settings.allow_private_realms, max_pages=github_pages
        )
        self.metrics = transport.metrics
        self._router = Router(instances, auto=settings.auto)
        # instances never change, so deciding (and logging the decision) once per image is enough
        self._routes = lru_cache(ROUTES_KEPT)(self._decide)

    @classmethod
    def build(cls, settings: Settings, http: HttpClient, clock: Clock, cache_path: Path | None) -> Self:
        """Every registry that is configured well; what is wrong with the others is in `problems`."""
        instances, problems = instances_of(settings.components(RegistryOptions), settings.left_out(KIND))
        own = settings[RegistriesSettings]
        pages = settings[GhcrSettings].versions_max_pages
        return cls(instances, own, http, clock, problems=problems, cache_path=cache_path, github_pages=pages)

    async def start(self) -> None:
        """Open the cache, and log the registries."""
        if self.problems:
            message = f"Some registries failed to register ({'; '.join(self.problems)})"
            log.warning("registries.problems", message=message)
        for item in self._instances:
            log.info("registries.registered", registry=item.id, configuration=item.masked())
            if item.credentialed and (item.url or "").startswith("http://"):
                log.warning("registries.credentials_over_http", registry=item.id, url=item.url)
        await self._engine.cache.open()

    async def stop(self) -> None:
        """Cancel everything under way."""
        await self._engine.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def observe(self, observer: Observer) -> None:
        """Tell `observer` type, name and seconds of every registry API request from now on."""
        self._engine.transport.observers.append(observer)

    def route(self, host: str, repository: str, *, lookup: str | None = None) -> Route:
        """Where questions about an image go. `lookup`: the override of its labels. Never raises and sends nothing.

        An image that no instance serves gets `instance_id` `unknown`; the questions of a `Poll` then raise
        `RegistryNotFound`.
        """
        return self._routes(host, repository, lookup)

    def _decide(self, host: str, repository: str, lookup: str | None) -> Route:
        route = self._router.route(host, repository, lookup=lookup)
        image = f"{route.host}/{route.repository}"
        log.debug("registries.route", image=image, registry=route.instance_id, reason=route.reason)
        return route

    def poll(self, *, not_before: float | None = None, interactive: bool = False) -> Poll:
        """A pass: scheduled (`not_before` None), or manual (`not_before` = the clock's monotonic second of the request)."""
        return Poll(self._engine, not_before=not_before, interactive=interactive)

    async def pull_auth(self, host: str, repository: str) -> Credentials | None:
        """What the Engine needs to pull from the *deploy* host; None for anonymous. ECR asks for a token when needed.

        Raises `RegistryError` and its children when an ECR token cannot be had.
        """
        route = self._router.route(host, repository)
        instance = route.instance
        if instance is None:
            return None
        if instance.type == "ecr" and instance.credentialed and route.host != PUBLIC_ECR:
            account = Account(self._clock.monotonic(), INTERACTIVE)
            about = RegistryRequest("GET", route.url("manifests"), {}, 0, "token", route, account)
            return ecr.credentials_of(await self._engine.tokens.ecr_token(about))
        return instance.credentials

    def instances(self) -> list[dict[str, Any]]:
        """The components for the API: id, type, name and configuration with secrets masked (§1.5)."""
        return [
            {"id": item.id, "type": item.type, "name": item.name, "configuration": item.masked()}
            for item in self._instances
        ]

    def paused(self) -> dict[str, float]:
        """Seconds until each paused host may be asked again."""
        left = {host: limiter.pause_left() for host, limiter in self._engine.transport.limiters.items()}
        return {host: seconds for host, seconds in left.items() if seconds > 0}

    def github_token(self) -> Secret | None:
        """The token of the first credentialed GHCR instance; serves release notes of trusted sources (§10)."""
        tokens = (item.options.token for item in self._instances if item.type == "ghcr")
        return next((token for token in tokens if token), None)


class Artifacts:
    """Reads what stands beside an image in its repository: signatures (security.md §5). Nothing is cached or believed.

    Raises `RegistryError` and its children.
    """

    def __init__(self, registries: Registries) -> None:
        self._registries = registries

    async def digest(self, host: str, repository: str, tag: str) -> str | None:
        """The digest a tag points at; None when there is no such tag."""
        found = await self.manifest(host, repository, tag)
        return None if found is None else content_digest(found)

    async def manifest(self, host: str, repository: str, reference: str) -> bytes | None:
        """The bytes of a manifest; None when there is none."""
        async with self._registries.poll(interactive=True) as poll:
            return await poll.manifest(self._registries.route(host, repository), reference)

    async def blob(self, host: str, repository: str, digest: str) -> bytes:
        """The bytes of a small blob, checked against its digest."""
        async with self._registries.poll(interactive=True) as poll:
            return await poll.blob(self._registries.route(host, repository), digest, ARTIFACT_CAP)
