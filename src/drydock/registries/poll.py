"""One pass over containers, scheduled or manual: every question once, shared by all callers (§8).

A `Poll` answers the questions of registries.md §7.1, keeps account of the requests, and remembers failures for the rest
of the pass. How an answer is obtained is in `tag_lists.py` and `documents.py`; `RegistryEngine` is what passes share.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import structlog

from drydock.clock import Clock
from drydock.core.errors import RegistryError
from drydock.core.times import DAY_MS
from drydock.core.trace import HostRequests
from drydock.registries.cache import DiskCache
from drydock.registries.client import Client
from drydock.registries.documents import Documents, Resolved
from drydock.registries.instances import Route
from drydock.registries.limiter import INTERACTIVE, SCHEDULED
from drydock.registries.manifests import Platform
from drydock.registries.push_dates import SOURCES
from drydock.registries.sign_in import TokenBroker
from drydock.registries.tag_lists import TagList, TagLists
from drydock.registries.transport import Account, Transport
from drydock.single_flight import SingleFlight

log = structlog.get_logger("registries")
T = TypeVar("T")

SHARED_S = 60.0
"""A scheduled pass takes answers that arrived up to so long before it began."""
FALLBACK_PLATFORM = Platform("linux", "amd64")
LOW_QUOTA = 10
"""Pulls that are left for people; a build date, which costs one, can wait."""


@dataclass(frozen=True)
class Published:
    """When a candidate appeared: ISO 8601; `trusted` only for a real push date (a build date is none)."""

    at: str
    trusted: bool


class RegistryEngine:
    """What all passes share: the connections, what was learnt, and the latest answers."""

    def __init__(
        self, transport: Transport, cache: DiskCache, clock: Clock, *, allow_private: bool = False, max_pages: int = 500
    ) -> None:
        self.clock = clock
        self.transport = transport
        self.tokens = TokenBroker(transport, clock)
        client = Client(transport, self.tokens, clock, allow_private=allow_private)
        self.tag_lists = TagLists(client, cache)
        self.documents = Documents(client, cache, clock)
        self.cache = cache
        self.max_pages = max_pages
        self.flights: SingleFlight[Any] = SingleFlight()
        self.answers: dict[Hashable, tuple[float, Any]] = {}
        """The latest answer to each question, with the time of its arrival (monotonic seconds)."""

    async def close(self) -> None:
        """Cancel everything under way, close the cache."""
        for part in (self.flights, self.documents, self.tokens):
            await part.close()
        self.transport.close()
        await self.cache.close()


class Poll:
    """One pass. Use as `async with service.poll(…) as poll`; leaving it cancels what has no waiter and logs a line.

    `not_before` (the clock's monotonic seconds): answers that arrived earlier are not taken; None = 60 s before now,
    the rule of scheduled passes. Every question raises `RegistryError` or one of its children; a failure is the answer
    to the same question for the rest of the pass.
    """

    def __init__(self, engine: RegistryEngine, *, not_before: float | None, interactive: bool) -> None:
        self._engine = engine
        began = engine.clock.monotonic()
        self._not_before = began - SHARED_S if not_before is None else not_before
        self._account = Account(began, INTERACTIVE if interactive else SCHEDULED)
        self._failed: dict[Hashable, RegistryError] = {}
        self._resolved: dict[Hashable, Resolved] = {}
        self._kept: dict[Hashable, TagList | None] = {}
        self._warming: set[asyncio.Task[None]] = set()
        self._announced: dict[Hashable, bool] = {}
        """Questions of `prefetch`: False until it asked itself, True until it was asked for the first time after that."""
        # free what no pass may take any more
        oldest = began - 2 * SHARED_S
        engine.answers = {key: kept for key, kept in engine.answers.items() if kept[0] >= oldest}

    async def __aenter__(self) -> Poll:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._warming:
            task.cancel()
        await asyncio.gather(*self._warming, return_exceptions=True)

        account, limiters = self._account, self._engine.transport.limiters
        asked = account.hits + account.misses
        rate = 100 * account.hits / asked if asked else 0.0
        log.debug("registries.digest_cache", rate=f"{rate:.2f}%", hits=account.hits, misses=account.misses)
        hosts = {item.host: item.requests for item in self.requests() if item.requests}
        pauses = {host: round(left, 1) for host, limiter in limiters.items() if (left := limiter.pause_left())}
        log.info("registries.poll", requests=hosts, kinds=dict(account.kinds), retries=account.retries, pauses=pauses)

    # questions

    async def tags(self, route: Route, *, max_age: float = 0.0) -> TagList:
        """All tags of the repository.

        `max_age` (seconds): a list read so long ago will do, for containers that need it for suggestions only (§8.1).
        """
        engine, key = self._engine, route.key
        if route.needed.provider.lists_digests:
            max_age = 0.0  # the list is read for the digests anyway
        if max_age:
            if key not in self._kept:
                # lists age at different speeds, up to a quarter faster, so that they are not all read in the same pass
                age = max_age * (0.75 + zlib.crc32(f"{route.host}/{route.repository}".encode()) / 0xFFFFFFFF / 4)
                flight = self._account.priority, ("kept", *key, age)
                found = await engine.flights.run(
                    flight, lambda: engine.tag_lists.kept(route, age, engine.clock.now_ms())
                )
                self._kept.setdefault(key, found)
            kept = self._kept[key]
            if kept is not None:
                self._account.served(route)
                return kept
        listed = await self._once(("tags", *key), route, lambda: engine.tag_lists.read(route, self._account))
        if max_age and self._kept.get(key) is None:
            self._kept[key] = listed
            await engine.tag_lists.keep(route, listed, engine.clock.now_ms())
        return listed

    async def head_digest(self, route: Route, tag: str) -> str:
        """Digest of the top-level document of a tag; from the tag list where the registry lists digests."""
        documents, account = self._engine.documents, self._account
        listed = await self.tags(route) if route.needed.provider.lists_digests else self._listed(route)
        if listed is not None and listed.digests and tag in listed.digests:
            account.served(route)
            return listed.digests[tag]
        known = listed is not None and tag in listed.names
        key = "head", *route.key, tag
        return await self._once(key, route, lambda: documents.head(route, tag, account, listed=known))

    async def resolve(self, route: Route, digest: str, platform: Platform) -> Resolved:
        """What a digest means for a platform: manifest and configuration digest, creation date, labels."""
        documents, account = self._engine.documents, self._account
        key = "resolve", *route.key, digest, platform
        if key in self._resolved:
            account.served(route)
        else:
            found = await self._remembering(key, lambda: documents.resolve(route, digest, platform, account))
            self._resolved[key] = found
        return self._resolved[key]

    async def published_at(
        self, route: Route, tag: str, digest: str, platform: Platform | None = None
    ) -> Published | None:
        """When the candidate was pushed, else built; None when unknown or the question failed (logged)."""
        listed = self._listed(route)
        if listed is not None and listed.pushed and tag in listed.pushed:
            return Published(listed.pushed[tag], trusted=True)
        cache, account = self._engine.cache, self._account
        key, now = "|".join((*route.key, tag, digest)), self._engine.clock.now_ms()

        async def ask() -> Published | None:
            kept = await cache.get("date", key)
            if kept is not None and (kept[1] or int(kept[0]) > now):
                account.served(route)
                return Published(kept[1].decode(), trusted=kept[0] == "push") if kept[1] else None
            found = await self._fresh_date(route, tag, digest, platform)
            if found is not None:
                await cache.put("date", key, found.at.encode(), "push" if found.trusted else "build")
            else:  # that there is none is believed for a day
                await cache.put("date", key, b"", str(now + DAY_MS))
            return found

        try:
            return await self._remembering(("date", key), ask)
        except RegistryError as error:
            image = f"{route.host}/{route.repository}:{tag}"
            log.warning("registries.no_publish_date", image=image, reason=error.message)
            return None

    async def prefetch(self, routes: Iterable[Route], tags: Iterable[tuple[Route, str]] = ()) -> None:
        """Announce what the pass will ask: one token for up to 20 repositories, then HEADs, then lists, in the background.

        `routes` have their lists read, `tags` their digests. Without announcing, everything works with more tokens.
        """
        groups: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        questions: dict[Hashable, Callable[[], Awaitable[object]]] = {}
        for route, tag in dict.fromkeys(tags):
            if route.instance is not None:
                groups[route.instance.id, route.authority].add(route.name)
                questions["head", *route.key, tag] = partial(self.head_digest, route, tag)
        for route in dict.fromkeys(routes):
            if route.instance is not None:
                groups[route.instance.id, route.authority].add(route.name)
                questions["tags", *route.key] = partial(self.tags, route)
        self._account.batches.update({key: tuple(sorted(names)) for key, names in groups.items()})
        for key, question in questions.items():
            self._announced[key] = False
            task = asyncio.create_task(_quietly(question), name="registries:prefetch")
            self._warming.add(task)
            task.add_done_callback(self._warming.discard)

    async def manifest(self, route: Route, reference: str) -> bytes | None:
        """The bytes of a manifest as they are, None when there is none; never from a cache."""
        return await self._engine.documents.manifest(route, reference, self._account)

    async def blob(self, route: Route, digest: str, cap: int) -> bytes:
        """The bytes of a blob of at most `cap` bytes, checked against its digest."""
        return await self._engine.documents.blob(route, digest, self._account, cap)

    def requests(self, route: Route | None = None) -> list[HostRequests]:
        """Requests of this pass per host, of everything or on behalf of one repository."""
        label = (route.host, route.repository) if route is not None else None
        return self._account.by_host(self._engine.transport.metrics.remaining, label)

    def counted_pulls(self) -> int:
        """Requests of this pass that Docker Hub counts as pulls."""
        return self._account.pulls

    # how a question is asked once

    async def _once(self, key: tuple[Hashable, ...], route: Route, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The answer of another pass that is new enough or under way, else this pass's own."""
        engine, account = self._engine, self._account
        arrived, kept = engine.answers.get(key, (float("-inf"), None))
        fresh = arrived >= self._not_before
        # a request of the own priority is joined, or of a faster one
        priorities = range(INTERACTIVE, account.priority + 1)
        flight = next(((priority, key) for priority in priorities if (priority, key) in engine.flights), None)
        self._count(key, route, hit=fresh or flight is not None)
        if fresh:
            return kept  # type: ignore[no-any-return]  # the same key once produced it

        async def asked() -> T:
            answer = await ask()
            engine.answers[key] = engine.clock.monotonic(), answer
            return answer

        return await self._remembering(key, lambda: engine.flights.run(flight or (account.priority, key), asked))

    def _count(self, key: tuple[Hashable, ...], route: Route, *, hit: bool) -> None:
        if self._announced.get(key):
            del self._announced[key]
            return  # the first question after its announcement: `prefetch` asked, and was counted
        if key in self._announced:
            self._announced[key] = True
        account, metrics = self._account, self._engine.transport.metrics
        if hit:
            account.served(route)
        if key[0] == "head":
            metrics.digest_hits += hit
            metrics.digest_misses += not hit
            account.hits += hit
            account.misses += not hit

    async def _remembering(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask, unless the same question already failed in this pass."""
        if key in self._failed:
            raise self._failed[key].with_traceback(None)
        try:
            return await ask()
        except RegistryError as error:
            self._failed[key] = error
            raise

    def _listed(self, route: Route) -> TagList | None:
        """The tag list, if it was read already."""
        arrived, found = self._engine.answers.get(("tags", *route.key), (float("-inf"), None))
        return found if arrived >= self._not_before else None

    async def _fresh_date(self, route: Route, tag: str, digest: str, platform: Platform | None) -> Published | None:
        engine, metrics = self._engine, self._engine.transport.metrics
        source = SOURCES.get(route.needed.provider.dates)
        if source is not None:
            at = await source(engine.transport, route, tag, self._account, engine.max_pages)
            return Published(at, trusted=True) if at else None
        left, limit = metrics.remaining.get(route.authority), metrics.limits.get(route.authority, 0)
        if left is not None and left <= max(LOW_QUOTA, limit // 10):
            log.debug("registries.date_skipped", host=route.authority, reason="pull quota is low")
            return None
        resolved = await engine.documents.resolve(route, digest, platform or FALLBACK_PLATFORM, self._account)
        return Published(resolved.created, trusted=False) if resolved.created else None


async def _quietly(question: Callable[[], Awaitable[object]]) -> None:
    """Ask ahead; a failure is remembered by the pass for the one who asks."""
    try:
        await question()
    except RegistryError:
        return
