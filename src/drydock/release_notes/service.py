"""Notes of releases, cached: those of the pending update, and those between two versions.

Best effort: what cannot be found or reached is "not available", never an error of the caller's.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import aiohttp
import msgspec
import structlog
from yarl import URL

from drydock.clock import Clock
from drydock.core.errors import NotFound, Unprocessable
from drydock.core.model import Container, ReleaseNotes, Result
from drydock.core.tags.version import compare
from drydock.core.tags.version import parse as parse_version
from drydock.release_notes.github import Proxy, Release, Unreachable, fetch
from drydock.release_notes.source import Source, mentioned, source_of

log = structlog.get_logger("notes")

T = TypeVar("T")
HIT_S = 3600.0
MISS_S = 600.0
CACHED = 500
CUT = 2000
HUB = frozenset({"docker.io", "registry-1.docker.io", "index.docker.io", ""})
NOT_AVAILABLE = "Release notes not available"

_SEMVER = re.compile(r"v?(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*)){2}(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?", re.ASCII)


class Provider(Protocol):
    """Knows the releases of repositories on one host. Methods raise `github.Unreachable`."""

    def serves(self, source: Source) -> bool: ...

    async def release(self, source: Source, tag: str) -> Release | None: ...

    async def releases(self, source: Source) -> list[Release]: ...


class Between(msgspec.Struct, frozen=True, rename="camel"):
    """Notes between two versions, newest first; `hidden_count` = those left out."""

    release_notes: list[ReleaseNotes]
    hidden_count: int


class HubDescriptions:
    """Finds the source of a Docker Hub image in its description: the one GitHub repository it links to."""

    def __init__(self, session: aiohttp.ClientSession, url: str, proxy: Proxy | None = None) -> None:
        self._session = session
        self._url = URL(url)
        self._proxy = proxy

    async def source(self, repository: str) -> Source | None:
        """Raises `Unreachable`."""
        url = self._url / "v2" / "repositories" / repository / ""
        found = await fetch(self._session, url, {"Accept": "application/json"}, self._proxy)
        if not isinstance(found, dict):
            return None
        return mentioned(f"{found.get('description') or ''}\n{found.get('full_description') or ''}")


class ReleaseNotesService:
    """Finds notes. `providers` are asked in order; `hub` None: Docker Hub is not asked."""

    def __init__(
        self,
        providers: list[Provider],
        clock: Clock,
        *,
        hub: HubDescriptions | None = None,
        max_intermediate: int = 20,
    ) -> None:
        self._providers = providers
        self._clock = clock
        self._hub = hub
        self._most = max_intermediate
        self._cache: OrderedDict[tuple[object, ...], tuple[float, object]] = OrderedDict()

    async def of_update(self, container: Container) -> ReleaseNotes:
        """Notes of the pending tag, whole. `NotFound` when there are none to be had."""
        tag = container.result.tag if container.result else None
        found = await self.of_tag(container, tag) if tag and tag != container.image.tag.value else None
        if found is None:
            raise NotFound(NOT_AVAILABLE)
        return found

    async def of_tag(self, container: Container, tag: str) -> ReleaseNotes | None:
        """Notes of one tag; None when there are none to be had."""
        source = await self.source(container)
        provider = self._provider(source)
        if source is None or provider is None:
            return None
        release = await self._cached(("release", source, tag), lambda: _first(provider, source, tag))
        return release.notes() if release else None

    async def between(self, container: Container, first: str, last: str | None) -> Between:
        """Releases after `first` up to `last` (default: the pending tag), newest first.

        `Unprocessable` without a target. Anything that is not strict semver, or not to be found: an empty list.
        """
        target = last or (container.result.tag if container.result else None)
        if not target:
            raise Unprocessable("No target version: give `to`, or wait for an update")
        source = await self.source(container)
        provider = self._provider(source)
        strict = _SEMVER.fullmatch(first) and _SEMVER.fullmatch(target)
        if not strict or first == target or source is None or provider is None or self._most == 0:
            return Between([], 0)
        listed = await self._cached(("releases", source), lambda: provider.releases(source))
        chosen = within(listed or [], first, target)
        shown = [cut(release.notes()) for release in chosen[: self._most]]
        return Between(shown, len(chosen) - len(shown))

    async def decorate(self, container: Container) -> Container:
        """The container with `sourceRepo`, the notes of what runs and of its update, cut. Docker Hub is not asked."""
        source = source_of(container)
        if source is None:
            return container
        current = await self.of_tag(container, container.image.tag.value)
        result = container.result
        coming = await self.of_tag(container, result.tag) if result and result.tag else None
        return msgspec.structs.replace(
            container,
            source_repo=source.name,
            current_release_notes=cut(current) if current else None,
            result=_with_notes(result, coming),
        )

    async def source(self, container: Container) -> Source | None:
        """The repository: from labels, the watcher, the package path; for Docker Hub from its description."""
        found = source_of(container)
        hub = self._hub
        if found is not None or hub is None or container.image.registry.url not in HUB:
            return found
        name = container.image.name
        return await self._cached(("hub", name), lambda: hub.source(name))

    def _provider(self, source: Source | None) -> Provider | None:
        return next((one for one in self._providers if source is not None and one.serves(source)), None)

    async def _cached(self, key: tuple[object, ...], ask: Callable[[], Awaitable[T | None]]) -> T | None:
        """The answer of the last hour; that there is none, or nobody could be reached, holds for ten minutes."""
        now = self._clock.monotonic()
        known = self._cache.get(key)
        if known is not None and known[0] > now:
            return known[1]  # type: ignore[return-value]  # every key has one kind of value
        value = await self._ask(key, ask)
        self._cache[key] = (now + (HIT_S if value else MISS_S), value)
        self._cache.move_to_end(key)
        while len(self._cache) > CACHED:
            self._cache.popitem(last=False)
        return value

    async def _ask(self, key: tuple[object, ...], ask: Callable[[], Awaitable[T | None]]) -> T | None:
        try:
            return await ask()
        except Unreachable as error:
            log.debug("notes.unreachable", what=key[0], reason=str(error))
            return None


async def _first(provider: Provider, source: Source, tag: str) -> Release | None:
    """The release of the tag, or of the same tag with or without a leading `v`."""
    other = tag[1:] if tag[:1] in "vV" and tag[1:2].isdigit() else f"v{tag}"
    return await provider.release(source, tag) or await provider.release(source, other)


def within(releases: list[Release], first: str, last: str) -> list[Release]:
    """Releases with `first` < version ≤ `last`, newest first."""
    low, high = parse_version(first), parse_version(last)
    found = []
    for release in releases:
        version = parse_version(release.tag_name) if _SEMVER.fullmatch(release.tag_name) else None
        if version and low and high and compare(version, low) > 0 and compare(version, high) <= 0:
            found.append((version.key, release))
    return [release for _, release in sorted(found, key=lambda pair: pair[0], reverse=True)]


def cut(notes: ReleaseNotes) -> ReleaseNotes:
    """With a body of at most 2,000 characters, the last three of them dots when something is missing."""
    if len(notes.body) <= CUT:
        return notes
    return msgspec.structs.replace(notes, body=notes.body[: CUT - 3] + "...")


def _with_notes(result: Result | None, notes: ReleaseNotes | None) -> Result | None:
    return msgspec.structs.replace(result, release_notes=cut(notes)) if result and notes else result
