"""Asks the registries about containers, and lets `core.check` decide (watching.md §7.9, §7.12, §13, §15)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec
import structlog

from drydock.clock import Clock
from drydock.core import check as decisions
from drydock.core.errors import DrydockError, RegistryError
from drydock.core.model import CheckError, Container, Result
from drydock.core.policy.lifecycle import candidate_identity
from drydock.core.times import from_iso, to_iso
from drydock.core.trace import Step, Trace
from drydock.core.update import has_raw_update
from drydock.events import ContainerChecked
from drydock.registries.service import Platform, Poll, RegistryService, Resolved, Route

log = structlog.get_logger("watcher")

Cause = Literal["cron", "start", "event", "api", "cli"]
SUGGESTIONS_S = 86_400.0
"""Age at which a tag list that serves suggestions only is read again."""
LONG_LIST = 2000
"""A tag list of this length is decided in a thread, so that the loop goes on."""


class Ledger(Protocol):
    """Where the outcome of a check is written; gives the container as stored, None when it is gone."""

    async def checked(
        self, reports: Sequence[tuple[Container, Trace]], started_ms: int
    ) -> Sequence[Container | None]: ...


class Progress(Protocol):
    """Somebody who looks on while containers are checked."""

    def began(self, poll: Poll) -> None: ...

    def checked(self, container: Container, trace: Trace) -> None: ...


class Checker:
    """Checks containers with one poll for all of them, so that a repository is asked once."""

    def __init__(
        self, registries: RegistryService, ledger: Ledger, clock: Clock, progress: Progress | None = None
    ) -> None:
        self._progress = progress
        self._registries = registries
        self._ledger = ledger
        self._clock = clock

    async def check(self, containers: Sequence[Container], cause: Cause) -> tuple[ContainerChecked, ...]:
        """Check, store and report every container; one that fails carries its error. Never raises for a registry.

        A check that somebody asked for takes no answer that arrived before it was asked for.
        """
        asked = cause in ("api", "cli")
        started_ms = self._clock.now_ms()
        not_before = self._clock.monotonic() if asked else None
        async with self._registries.poll(not_before=not_before, interactive=asked) as poll:
            if self._progress is not None:
                self._progress.began(poll)
            lists, heads = self._questions(containers, fresh=asked)
            await poll.prefetch(lists, heads)
            this = _Pass(poll, frozenset(lists))
            outcomes = await asyncio.gather(*(self._one(container, this) for container in containers))
        stored = await self._ledger.checked(outcomes, started_ms)
        return tuple(
            ContainerChecked(container=after, changed=_changed(before, after))
            for before, after in zip(containers, stored, strict=True)
            if after is not None
        )

    def _questions(
        self, containers: Sequence[Container], *, fresh: bool
    ) -> tuple[list[Route], list[tuple[Route, str]]]:
        """Lists and digests that will surely be wanted; a tag that may climb waits for its list.

        Without `fresh`, a list that serves suggestions only is not among them.
        """
        lists: list[Route] = []
        heads: list[tuple[Route, str]] = []
        for container in containers:
            planned, route = decisions.plan(container), self._route(container)
            if planned.list_tags and (fresh or not _suggests_only(container, planned)):
                lists.append(route)
            if planned.compare and planned.mode == "tags" and not _may_climb(container):
                heads.append((route, container.image.tag.value))
        return lists, heads

    def _route(self, container: Container) -> Route:
        registry = container.image.registry
        return self._registries.route(registry.url, container.image.name, lookup=registry.lookup_image)

    async def _one(self, container: Container, this: _Pass) -> tuple[Container, Trace]:
        try:
            outcome = await self._checked(container, this)
        except Exception as error:
            log.exception("watcher.check_failed", container=container.name)
            outcome = _crashed(container, error)
        if self._progress is not None:
            self._progress.checked(*outcome)
        return outcome

    async def _checked(self, container: Container, this: _Pass) -> tuple[Container, Trace]:
        route, poll = self._route(container), this.poll
        planned = decisions.plan(container)
        finding = await self._find(container, planned, route, this)
        digest = await self._digest(container, finding, route, poll)
        published = await self._published(container, finding, digest, route, poll)
        outcome = decisions.assemble(
            container,
            finding,
            digest=digest,
            published=published,
            requests=poll.requests(route),
            checked_at_ms=self._clock.now_ms(),
        )
        for warning in outcome.warnings:
            log.warning("watcher.tags", container=container.name, reason=warning)
        if outcome.error is not None:
            log.warning("watcher.check", container=container.name, reason=outcome.error.message)
        return outcome.applied_to(container), outcome.trace

    async def _find(
        self, container: Container, planned: decisions.CheckPlan, route: Route, this: _Pass
    ) -> decisions.Finding:
        tags: Sequence[str] | DrydockError | None = None
        if planned.list_tags:
            try:
                tags = (await this.poll.tags(route, max_age=this.max_age_s(route))).names
            except RegistryError as error:
                tags = error
        if isinstance(tags, tuple) and len(tags) > LONG_LIST:
            return await asyncio.to_thread(decisions.find, container, planned, tags)
        return decisions.find(container, planned, tags)

    async def _digest(
        self, container: Container, finding: decisions.Finding, route: Route, poll: Poll
    ) -> decisions.DigestComparison | DrydockError | None:
        if finding.compare_tag is None or finding.rejected is not None:
            return None
        image = container.image
        own = image.digest.repo_digests or ([image.digest.repo] if image.digest.repo else [])
        try:
            head = await poll.head_digest(route, finding.compare_tag)
            compared = decisions.compare_digest(own, image.id, head)
            if compared.state != "needs-resolve":
                return compared
            resolved = await poll.resolve(route, head, _platform(container))
            return decisions.compare_digest(own, image.id, head, _known(resolved))
        except RegistryError as error:
            return error

    async def _published(
        self,
        container: Container,
        finding: decisions.Finding,
        digest: decisions.DigestComparison | DrydockError | None,
        route: Route,
        poll: Poll,
    ) -> decisions.Published | None:
        """Asked for candidates only: another tag, or another image under the same tag."""
        if finding.rejected is not None or not isinstance(digest, decisions.DigestComparison | None):
            return None
        changed = digest is not None and digest.state == "changed"
        tag = finding.result.tag
        if tag is None or not (changed or tag != container.image.tag.value) or finding.plan.mode != "tags":
            return None
        try:
            head = await poll.head_digest(route, tag)
            found = await poll.published_at(route, tag, head, _platform(container))
        except RegistryError as error:
            log.warning("watcher.no_publish_date", container=container.name, tag=tag, reason=error.message)
            return None
        at = _iso(found.at) if found else None
        return decisions.Published(at, found.trusted) if found and at else None


@dataclass(frozen=True)
class _Pass:
    """One pass: whom to ask, and whose tag list must be a new one."""

    poll: Poll
    lists: frozenset[Route]

    def max_age_s(self, route: Route) -> float:
        """How old the list of a repository may be: a day where nobody's update depends on it."""
        return 0.0 if route in self.lists else SUGGESTIONS_S


def _suggests_only(container: Container, planned: decisions.CheckPlan) -> bool:
    """A floating tag whose updates are seen by its digest: the list can only suggest other tags (registries.md §8.1)."""
    floating = container.image.tag.tag_precision == "floating"
    return planned.mode == "tags" and planned.compare and floating and not _may_climb(container)


def _may_climb(container: Container) -> bool:
    """Whether the tag list may offer another tag, whose digest is then wanted instead of the running one's."""
    if container.image.tag.tag_precision == "floating":
        return container.tag_family == "loose" or (not container.image.tag.semver and bool(container.include_tags))
    return container.tag_family == "loose" or bool(container.include_tags)


def _platform(container: Container) -> Platform:
    image = container.image
    return Platform(image.os, image.architecture, image.variant)


def _known(resolved: Resolved) -> decisions.Resolved:
    return decisions.Resolved(
        platform_digest=None if resolved.schema1 else resolved.platform_digest,
        config_digest=resolved.config_digest,
        created=_iso(resolved.created),
    )


def _iso(text: str | None) -> str | None:
    """A registry's instant as the API shows it; None for what is none."""
    instant = from_iso(text)
    return to_iso(instant) if instant is not None else None


def _crashed(container: Container, error: Exception) -> tuple[Container, Trace]:
    """A fault of our own: the container says so, and keeps its last result."""
    reason = f"The check failed unexpectedly ({type(error).__name__}); the log has the details"
    trace = Trace(steps=[Step(stage="registry", outcome="fail", reason=reason)])
    failed = msgspec.structs.replace(
        container,
        error=CheckError(message=reason, code="check-crashed"),
        result=container.result or Result(tag=container.image.tag.value),
    )
    return failed, trace


def _changed(before: Container, after: Container) -> bool:
    """First check of this container, or another candidate than the one stored (watching.md §13)."""
    if before.result is None:
        return True
    return has_raw_update(after) and candidate_identity(before) != candidate_identity(after)
