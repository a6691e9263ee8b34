"""One pass over containers, scheduled or asked for: every question once, shared with whoever asks the same (§8).

A `Poll` answers the questions of registries.md §7.1, keeps account of the requests, and remembers failures for the rest
of the pass. How an answer is obtained is in `listing.py` and `digests.py`; `service.py` builds polls.
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
from yarl import URL

from drydock.clock import Clock
from drydock.core.errors import RegistryError, RegistryNotFound
from drydock.core.times import DAY_MS
from drydock.core.trace import HostRequests
from drydock.registries.accounting import Ledger, Metrics
from drydock.registries.cache import DiskCache
from drydock.registries.digests import Digests, Resolved
from drydock.registries.hosts import authority
from drydock.registries.limiter import INTERACTIVE, SCHEDULED
from drydock.registries.listing import Lister, TagList
from drydock.registries.manifests import Platform
from drydock.registries.routing import Route, Router
from drydock.registries.strategies import DATES
from drydock.registries.transport import Call, Transport
from drydock.single_flight import SingleFlight

log = structlog.get_logger("registries")
T = TypeVar("T")

SHARED_S = 60.0
"""A scheduled pass takes answers that arrived up to so long before it began."""
FALLBACK_PLATFORM = Platform("linux", "amd64")
LOW_QUOTA = 10


@dataclass(frozen=True)
class Published:
    """When a candidate appeared: ISO 8601; `trusted` only for a real push date (a build date is none)."""

    at: str
    trusted: bool


class Snapshot:
    """The latest answers with the time of their arrival (monotonic seconds), shared by all passes."""

    def __init__(self) -> None:
        self._answers: dict[Hashable, tuple[float, Any]] = {}

    def get(self, key: Hashable, not_before: float) -> Any | None:
        """The answer if it arrived at `not_before` or later."""
        arrived, answer = self._answers.get(key, (float("-inf"), None))
        return answer if arrived >= not_before else None

    def put(self, key: Hashable, arrived: float, answer: Any) -> None:
        """Keep the newest answer."""
        self._answers[key] = arrived, answer

    def forget_before(self, moment: float) -> None:
        """Free what no pass may take any more."""
        self._answers = {key: kept for key, kept in self._answers.items() if kept[0] >= moment}


@dataclass(frozen=True)
class Machinery:
    """What all passes of one service share."""

    clock: Clock
    router: Router
    transport: Transport
    lister: Lister
    digests: Digests
    cache: DiskCache
    metrics: Metrics
    snapshot: Snapshot
    flights: SingleFlight[Any]
    max_pages: int


class Poll:
    """One pass. Use as `async with service.poll(…) as poll`; leaving it cancels what nobody waits for and logs a line.

    `not_before` (the clock's monotonic seconds): answers that arrived earlier are not taken; None = 60 s before now,
    the rule of scheduled passes. Every question raises `RegistryError` or one of its children; a failure is the answer
    to the same question for the rest of the pass.
    """

    def __init__(self, shared: Machinery, *, not_before: float | None, interactive: bool) -> None:
        self._shared = shared
        self._began = shared.clock.monotonic()
        self._not_before = self._began - SHARED_S if not_before is None else not_before
        self._lane = INTERACTIVE if interactive else SCHEDULED
        self._ledger = Ledger()
        self._batches: dict[tuple[str, str], tuple[str, ...]] = {}
        self._failed: dict[Hashable, RegistryError] = {}
        self._resolved: dict[Hashable, Resolved] = {}
        self._kept: dict[Hashable, TagList | None] = {}
        self._warming: set[asyncio.Task[None]] = set()
        self._announced_once: set[Hashable] = set()
        self._announced: dict[Hashable, bool] = {}
        shared.snapshot.forget_before(self._began - 2 * SHARED_S)

    async def __aenter__(self) -> Poll:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._warming:
            task.cancel()
        await asyncio.gather(*self._warming, return_exceptions=True)
        self._log_end()

    # questions

    async def tags(self, route: Route, *, max_age: float = 0.0) -> TagList:
        """All tags of the repository.

        `max_age` (seconds): a list read so long ago will do, for containers that need it for suggestions only (§8.1).
        Lists age at different speeds, up to a quarter faster, so that they are not all read in the same pass.
        """
        call = self._call(route)
        if call.instance.provider.lists_digests:
            max_age = 0.0  # the list is read for the digests anyway
        if max_age:
            kept = await self._kept_list(route, call, max_age * _spread(route))
            if kept is not None:
                self._ledger.served(call.label)
                return kept
        lister, clock = self._shared.lister, self._shared.clock
        found = await self._once(("tags", *_key(route, call)), call, lambda: lister.tags(route, call))
        key = _kept_key(route, call)
        if max_age and self._kept.get(key) is None:
            self._kept[key] = found
            await lister.keep(route, call, found, clock.now_ms())
        return found

    async def _kept_list(self, route: Route, call: Call, max_age: float) -> TagList | None:
        """A stored list that is young enough, None without one; looked for once in a pass."""
        key = _kept_key(route, call)
        lister, now_ms = self._shared.lister, self._shared.clock.now_ms()
        if key not in self._kept:
            flight = (self._lane, (*key, max_age))
            found = await self._shared.flights.run(flight, lambda: lister.kept(route, call, max_age, now_ms))
            self._kept.setdefault(key, found)
        return self._kept[key]

    async def head_digest(self, route: Route, tag: str) -> str:
        """Digest of the top-level document of a tag; from the tag list where the registry tells digests there."""
        call = self._call(route)
        listed = await self.tags(route) if call.instance.provider.lists_digests else self._listed(route, call)
        if listed is not None and listed.digests and tag in listed.digests:
            self._ledger.served(call.label)
            return listed.digests[tag]
        known = listed is not None and tag in listed.names
        digests = self._shared.digests
        key = ("head", *_key(route, call), tag)
        return await self._once(key, call, lambda: digests.head(route, tag, call, listed=known), digest=True)

    async def resolve(self, route: Route, digest: str, platform: Platform) -> Resolved:
        """What a digest means for a platform: manifest and configuration digest, creation date, labels."""
        call = self._call(route)
        key = ("resolve", *_key(route, call), digest, platform)
        if key in self._resolved:
            self._ledger.served(call.label)
        else:
            digests = self._shared.digests
            found = await self._remembering(key, lambda: digests.resolve(route, digest, platform, call))
            self._resolved[key] = found
        return self._resolved[key]

    async def published_at(
        self, route: Route, tag: str, digest: str, platform: Platform | None = None
    ) -> Published | None:
        """When the candidate was pushed, else built; None when nobody knows or the question failed (logged)."""
        call = self._call(route)
        listed = self._listed(route, call)
        if listed is not None and listed.pushed and tag in listed.pushed:
            return Published(listed.pushed[tag], trusted=True)
        key = "|".join((*_key(route, call), tag, digest))
        try:
            return await self._remembering(("date", key), lambda: self._date(route, tag, digest, platform, call, key))
        except RegistryError as error:
            log.warning(
                "registries.no_publish_date", image=f"{route.host}/{route.repository}:{tag}", reason=error.message
            )
            return None

    async def prefetch(self, routes: Iterable[Route], tags: Iterable[tuple[Route, str]] = ()) -> None:
        """Announce what the pass will ask: one token for up to 20 repositories, then HEADs, then lists, in the background.

        `routes` have their lists read, `tags` their digests. Without announcing, everything works with more tokens.
        """
        lists, heads = dict.fromkeys(routes), dict.fromkeys(tags)
        groups: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        for route in (*lists, *(route for route, _ in heads)):
            if route.known:
                groups[route.instance_id, authority(URL(route.api_base))].add(route.name)
        self._batches.update({key: tuple(sorted(names)) for key, names in groups.items()})
        for route, tag in heads:
            if route.known:
                self._warm(("head", *_key(route, self._call(route)), tag), partial(self.head_digest, route, tag))
        for route in lists:
            if route.known:
                self._warm(("tags", *_key(route, self._call(route))), partial(self.tags, route))

    async def manifest(self, route: Route, reference: str) -> bytes | None:
        """The bytes of a manifest as they are, None when there is none; never from a cache."""
        return await self._shared.digests.manifest(route, reference, self._call(route))

    async def blob(self, route: Route, digest: str, cap: int) -> bytes:
        """The bytes of a blob of at most `cap` bytes, checked against its digest."""
        return await self._shared.digests.blob(route, digest, self._call(route), cap)

    def requests(self, route: Route | None = None) -> list[HostRequests]:
        """Requests of this pass per host, of everything or on behalf of one repository."""
        label = (route.host, route.repository) if route is not None else None
        return self._ledger.by_host(self._shared.metrics.remaining, label)

    def counted_pulls(self) -> int:
        """Requests of this pass that Docker Hub counts as pulls."""
        return self._ledger.pulls

    # how a question is asked once

    async def _once(
        self, key: Hashable, call: Call, make: Callable[[], Coroutine[Any, Any, T]], *, digest: bool = False
    ) -> T:
        shared = self._shared
        kept = shared.snapshot.get(key, self._not_before)
        joining = self._flight(key)
        if kept is not None or joining is not None:
            self._count(key, call, hit=True, digest=digest)
            if kept is not None:
                return kept  # type: ignore[no-any-return]  # the snapshot holds what the same key once produced
        else:
            self._count(key, call, hit=False, digest=digest)

        async def ask() -> T:
            answer = await make()
            shared.snapshot.put(key, shared.clock.monotonic(), answer)
            return answer

        return await self._remembering(key, lambda: shared.flights.run(joining or (self._lane, key), ask))

    def _flight(self, key: Hashable) -> Hashable | None:
        """A running request to join: of the own lane, or of a faster one."""
        lanes = range(INTERACTIVE, self._lane + 1)
        return next(((lane, key) for lane in lanes if (lane, key) in self._shared.flights), None)

    async def _remembering(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask, unless the same question already failed in this pass."""
        if key in self._failed:
            raise self._failed[key].with_traceback(None)
        try:
            return await ask()
        except RegistryError as error:
            self._failed[key] = error
            raise

    def _count(self, key: Hashable, call: Call, *, hit: bool, digest: bool) -> None:
        if self._announced.pop(key, False):
            return  # announced by `prefetch`, which asked before and was counted
        if key in self._announced_once:
            self._announced_once.discard(key)
            self._announced[key] = True
        if hit:
            self._ledger.served(call.label)
        if digest:
            metrics = self._shared.metrics
            metrics.digest_hits += hit
            metrics.digest_misses += not hit
            self._ledger.hits += hit
            self._ledger.misses += not hit

    def _warm(self, key: Hashable, question: Callable[[], Awaitable[object]]) -> None:
        async def ask() -> None:
            try:
                await question()
            except RegistryError:
                return  # kept in `_failed` for whoever asks

        self._announced_once.add(key)
        task = asyncio.create_task(ask(), name="registries:prefetch")
        self._warming.add(task)
        task.add_done_callback(self._warming.discard)

    def _listed(self, route: Route, call: Call) -> TagList | None:
        found: TagList | None = self._shared.snapshot.get(("tags", *_key(route, call)), self._not_before)
        return found

    def _call(self, route: Route) -> Call:
        if not route.known:
            raise RegistryNotFound(f"No Registry Provider found for {route.host}/{route.repository}", hint=route.reason)
        instance = self._shared.router.by_id[route.instance_id]
        return Call(
            instance,
            (route.host, route.repository),
            self._lane,
            self._ledger,
            self._began,
            authority(URL(route.api_base)),
            self._batches,
        )

    # dates

    async def _date(
        self, route: Route, tag: str, digest: str, platform: Platform | None, call: Call, key: str
    ) -> Published | None:
        kept = await self._shared.cache.get("date", key)
        now = self._shared.clock.now_ms()
        if kept is not None and (kept[1] or int(kept[0]) > now):
            self._ledger.served(call.label)
            return Published(kept[1].decode(), trusted=kept[0] == "push") if kept[1] else None
        found = await self._fresh_date(route, tag, digest, platform, call)
        if found is not None:
            await self._shared.cache.put("date", key, found.at.encode(), "push" if found.trusted else "build")
        else:
            await self._shared.cache.put("date", key, b"", str(now + DAY_MS))
        return found

    async def _fresh_date(
        self, route: Route, tag: str, digest: str, platform: Platform | None, call: Call
    ) -> Published | None:
        source = DATES.get(call.instance.provider.dates)
        if source is not None:
            at = await source(self._shared.transport.send, route, tag, call, self._shared.max_pages)
            return Published(at, trusted=True) if at else None
        if self._quota_is_low(call):
            log.debug("registries.date_skipped", host=call.own_host, reason="pull quota is low")
            return None
        resolved = await self._shared.digests.resolve(route, digest, platform or FALLBACK_PLATFORM, call)
        return Published(resolved.created, trusted=False) if resolved.created else None

    def _quota_is_low(self, call: Call) -> bool:
        left = self._shared.metrics.remaining.get(call.own_host)
        limit = self._shared.metrics.limits.get(call.own_host, 0)
        return left is not None and left <= max(LOW_QUOTA, limit // 10)

    def _log_end(self) -> None:
        ledger = self._ledger
        asked = ledger.hits + ledger.misses
        rate = 100 * ledger.hits / asked if asked else 0.0
        log.debug("registries.digest_cache", rate=f"{rate:.2f}%", hits=ledger.hits, misses=ledger.misses)
        hosts = {item.host: item.requests for item in self.requests() if item.requests}
        pauses = {
            host: round(lim.pause_left(), 1)
            for host, lim in self._shared.transport.limiters.items()
            if lim.pause_left()
        }
        log.info("registries.poll", requests=hosts, kinds=dict(ledger.kinds), retries=ledger.retries, pauses=pauses)


def _spread(route: Route) -> float:
    """A factor from 0.75 to 1, always the same for one repository."""
    return 0.75 + zlib.crc32(f"{route.host}/{route.repository}".encode()) / 0xFFFFFFFF / 4


def _kept_key(route: Route, call: Call) -> tuple[str, ...]:
    return ("kept", *_key(route, call))


def _key(route: Route, call: Call) -> tuple[str, str, str]:
    return call.instance.credential_id, route.host, route.repository


__all__ = ["Machinery", "Platform", "Poll", "Published", "Resolved", "Snapshot", "TagList"]
