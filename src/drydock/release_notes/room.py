"""Notes of releases, cached: those of the pending update, and those between two versions (container-api.md §7.8, §7.9).

Best effort: what cannot be found or reached is "not available", never an error of the caller's. Checked containers get
theirs written onto the record (watching.md §7.12); only repositories that the record itself names are queried then.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self, TypeVar

import msgspec
import structlog

from drydock.clock import Clock
from drydock.config.load import Settings
from drydock.core.errors import NotFound, Unprocessable
from drydock.core.model import Container, ReleaseNotes
from drydock.core.reference import DOCKER_HUB, canonical_host
from drydock.core.secret import Secret
from drydock.core.tags.version import compare
from drydock.core.tags.version import parse as parse_version
from drydock.events import ContainerChecked, Event
from drydock.fleet.fleet import Fleet
from drydock.http.client import HttpClient
from drydock.kernel import Kernel, Room
from drydock.release_notes.providers import GitHub, HubDescriptions, Release, Unreachable
from drydock.release_notes.settings import ReleaseNotesSettings
from drydock.release_notes.source import Source, source_of

log = structlog.get_logger("notes")

T = TypeVar("T")
HUB_URL = "https://hub.docker.com"
HIT_S = 3600.0
MISS_S = 600.0
"""That there is nothing, or nothing could be reached, is believed for a shorter time: it may be published any moment."""
CACHED = 500
CUT = 2000
NOT_AVAILABLE = "Release notes not available"

_SEMVER = re.compile(r"v?(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*)){2}(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?", re.ASCII)


class Between(msgspec.Struct, frozen=True, rename="camel"):
    """Notes between two versions, newest first; `hidden_count` = those left out."""

    release_notes: list[ReleaseNotes]
    hidden_count: int


@dataclass(frozen=True)
class Needs:
    """What release notes want of others. `package_token`: GitHub's, where none is configured for release notes."""

    http: HttpClient
    package_token: Secret | None = None


class ReleaseNotesService(Room):
    """Finds notes. `hub` None: Docker Hub is not asked. At most `most` notes between two versions are shown."""

    def __init__(self, github: GitHub, hub: HubDescriptions | None, clock: Clock, fleet: Fleet, most: int = 20) -> None:
        self._github = github
        self._hub = hub
        self._clock = clock
        self._fleet = fleet
        self._most = most
        self._cache: OrderedDict[tuple[object, ...], tuple[float, object]] = OrderedDict()

    @classmethod
    def build(cls, kernel: Kernel, settings: Settings, needs: Needs) -> Self:
        """Release notes that follow finished checks."""
        own = settings[ReleaseNotesSettings]
        github = GitHub(needs.http, own.github_url, own.github_token or needs.package_token)
        made = cls(github, HubDescriptions(needs.http, HUB_URL), kernel.clock, kernel.fleet, own.max_intermediate)
        kernel.bus.subscribe("release-notes", made.on_event, ContainerChecked)
        return made

    async def on_event(self, event: Event) -> None:
        """Look up what belongs to a checked container, and write it onto the record as it is then."""
        if not isinstance(event, ContainerChecked) or source_of(event.container) is None:
            return
        found = await self.decorate(event.container)
        now = self._fleet.get(found.id)
        if now is not None and merged(now, found) != now:
            try:
                await self._fleet.change(now.id, lambda current: merged(current, found))
            except NotFound:
                log.debug("notes.container_gone", container=now.name)

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
        if source is None or source.host != GitHub.host:
            return None
        release = await self._cached(("release", source, tag), lambda: self._github.release(source, tag))
        return release.notes() if release else None

    async def between(self, container: Container, first: str, last: str | None) -> Between:
        """Releases after `first` up to `last` (default: the pending tag), newest first.

        `Unprocessable` without a target. Anything that is not strict semver, or not to be found: an empty list.
        """
        target = last or (container.result.tag if container.result else None)
        if not target:
            raise Unprocessable("No target version: pass `to`, or wait for an update")
        source = await self.source(container)
        strict = _SEMVER.fullmatch(first) and _SEMVER.fullmatch(target)
        if not strict or first == target or source is None or source.host != GitHub.host or self._most == 0:
            return Between([], 0)
        listed = await self._cached(("releases", source), lambda: self._github.releases(source))
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
            result=msgspec.structs.replace(result, release_notes=cut(coming)) if result and coming else result,
        )

    async def source(self, container: Container) -> Source | None:
        """The repository: from labels, the watcher, the package path; for Docker Hub from its description."""
        found = source_of(container)
        hub = self._hub
        if found is not None or hub is None or canonical_host(container.image.registry.url or DOCKER_HUB) != DOCKER_HUB:
            return found
        name = container.image.name
        return await self._cached(("hub", name), lambda: hub.source(name))

    async def _cached(self, key: tuple[object, ...], ask: Callable[[], Awaitable[T | None]]) -> T | None:
        """The answer of the last hour or, when there was none, of the last ten minutes."""
        now = self._clock.monotonic()
        known = self._cache.get(key)
        if known is not None and known[0] > now:
            return known[1]  # type: ignore[return-value]  # every key has one kind of value
        value = None
        try:
            value = await ask()
        except Unreachable as error:
            log.debug("notes.unreachable", what=key[0], reason=str(error))
        self._cache[key] = (now + (HIT_S if value else MISS_S), value)
        self._cache.move_to_end(key)
        while len(self._cache) > CACHED:
            self._cache.popitem(last=False)
        return value


def merged(current: Container, found: Container) -> Container:
    """`current` with the notes in `found`, as far as they are about the same tags."""
    changes: dict[str, object] = {"source_repo": found.source_repo}
    if current.image.tag.value == found.image.tag.value:
        changes["current_release_notes"] = found.current_release_notes
    if current.result and found.result and current.result.tag == found.result.tag:
        notes = found.result.release_notes
        changes["result"] = msgspec.structs.replace(current.result, release_notes=notes)
    return msgspec.structs.replace(current, **changes)


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
