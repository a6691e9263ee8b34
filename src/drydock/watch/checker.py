"""Asks the registries about containers, and lets `core.check` decide (watching.md §7.9, §7.12, §13, §15)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
import structlog

from drydock.clock import Clock
from drydock.core import check as decisions
from drydock.core.errors import DrydockError, RegistryError
from drydock.core.model import CheckError, Container, Result
from drydock.core.tags.decide import TagDecision, TagSubject, decide
from drydock.core.times import from_iso, to_iso
from drydock.core.trace import Step, Trace
from drydock.events import ContainerChecked, ScanCause
from drydock.registries.instances import Route
from drydock.registries.manifests import Platform
from drydock.registries.poll import Poll
from drydock.registries.room import Registries

log = structlog.get_logger("watcher")

CRASHED = "check-crashed"
"""`error.code` of a container whose check failed by a fault of Drydock itself."""
SUGGESTIONS_S = 86_400.0
"""Age at which a tag list that serves suggestions only is read again."""
LONG_LIST = 2000
"""A tag list of this length is decided in a thread, so that the loop goes on."""


class Ledger(Protocol):
    """Where outcomes of checks are written; gives the reports of the containers that are still there, in order."""

    async def checked(self, outcomes: Sequence[tuple[Container, Trace]], started_ms: int) -> list[ContainerChecked]: ...


@dataclass(frozen=True)
class Job:
    """A container with the questions of its check; `error` where not even those could be determined."""

    container: Container
    plan: decisions.CheckPlan | None = None
    route: Route | None = None
    error: Exception | None = None

    def questions(self) -> tuple[decisions.CheckPlan, Route]:
        """Plan and route. Raises `error` where there are none."""
        if self.plan is None or self.route is None:
            raise self.error or RuntimeError("a job without plan")
        return self.plan, self.route


class Pass:
    """What the checks of one pass share: the registries' answers, and decisions about the same list and settings.

    `fresh`: the repositories whose tag list must be a new one.
    """

    def __init__(self, poll: Poll, fresh: Collection[Route] = ()) -> None:
        self.poll = poll
        self._fresh = frozenset(fresh)
        self._decisions: dict[tuple[int, TagSubject], tuple[tuple[str, ...], asyncio.Task[TagDecision]]] = {}

    async def tags(self, route: Route) -> tuple[str, ...]:
        """The tag list of a repository: a day old at most where no update depends on it (registries.md §8.1)."""
        return (await self.poll.tags(route, max_age=0.0 if route in self._fresh else SUGGESTIONS_S)).names

    async def decide(self, names: tuple[str, ...], subject: TagSubject) -> TagDecision:
        """`core.tags.decide.decide`, once for each list and subject."""
        key = (id(names), subject)
        if key not in self._decisions:  # the list is kept too, so that its identity stays its own
            self._decisions[key] = names, asyncio.ensure_future(_decided(names, subject))
        return await self._decisions[key][1]


async def _decided(names: tuple[str, ...], subject: TagSubject) -> TagDecision:
    if len(names) > LONG_LIST:
        return await asyncio.to_thread(decide, names, subject)
    return decide(names, subject)


class Progress(Protocol):
    """Follows the progress of a check."""

    def began(self, poll: Poll) -> None: ...

    def checked(self, container: Container, trace: Trace) -> None: ...


class Checker:
    """Checks containers with one poll for all of them, so that a repository is asked once."""

    def __init__(self, registries: Registries, ledger: Ledger, clock: Clock, progress: Progress | None = None) -> None:
        self._progress = progress
        self._registries = registries
        self._ledger = ledger
        self._clock = clock

    async def check(self, containers: Sequence[Container], cause: ScanCause) -> tuple[ContainerChecked, ...]:
        """Check, store and report every container; one that fails carries its error. Never raises for a registry.

        A manual check takes no answer that arrived before it was requested.
        """
        asked = cause in ("api", "cli")
        started_ms = self._clock.now_ms()
        not_before = self._clock.monotonic() if asked else None
        async with self._registries.poll(not_before=not_before, interactive=asked) as poll:
            if self._progress is not None:
                self._progress.began(poll)
            jobs: list[Job] = []
            for container in containers:
                try:
                    registry = container.image.registry
                    route = self._registries.route(registry.url, container.image.name, lookup=registry.lookup_image)
                    jobs.append(Job(container, decisions.plan(container), route))
                except Exception as error:  # a record that cannot be read fails its own check only
                    log.exception("watcher.not_planned", container=container.name)
                    jobs.append(Job(container, error=error))
            lists, heads = _questions(jobs, fresh=asked)
            await poll.prefetch(lists, heads)
            shared = Pass(poll, lists)
            outcomes = await asyncio.gather(*(self._one(job, shared) for job in jobs))
        return tuple(await self._ledger.checked(outcomes, started_ms))

    async def _one(self, job: Job, shared: Pass) -> tuple[Container, Trace]:
        """One check; an internal error is reported with its container and never affects the others."""
        try:
            outcome = await self._checked(job.container, *job.questions(), shared)
        except Exception as error:
            log.exception("watcher.check_failed", container=job.container.name)
            outcome = _crashed(job.container, error)
        if self._progress is not None:
            self._progress.checked(*outcome)
        return outcome

    async def _checked(
        self, container: Container, planned: decisions.CheckPlan, route: Route, shared: Pass
    ) -> tuple[Container, Trace]:
        poll = shared.poll
        finding = await self._find(container, planned, route, shared)
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
        self, container: Container, planned: decisions.CheckPlan, route: Route, shared: Pass
    ) -> decisions.Finding:
        if not planned.list_tags:
            return decisions.find(container, planned, None)
        try:
            names = await shared.tags(route)
        except RegistryError as error:
            return decisions.find(container, planned, error)
        if planned.mode != "tags":
            return decisions.find(container, planned, names)
        return decisions.find(container, planned, names, await shared.decide(names, decisions.subject_of(container)))

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
            known = decisions.Resolved(
                platform_digest=None if resolved.schema1 else resolved.platform_digest,
                config_digest=resolved.config_digest,
                created=_iso(resolved.created),
            )
            return decisions.compare_digest(own, image.id, head, known)
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
        """Queried for candidates only: another tag, or another image under the same tag."""
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


def _questions(jobs: Sequence[Job], *, fresh: bool) -> tuple[list[Route], list[tuple[Route, str]]]:
    """Lists and digests that will surely be wanted; a tag that may climb waits for its list.

    Without `fresh`, a list that serves suggestions only is not among them.
    """
    lists: list[Route] = []
    heads: list[tuple[Route, str]] = []
    for job in jobs:
        if job.plan is None or job.route is None:
            continue
        tag = job.container.image.tag
        stays = job.plan.compare and job.plan.mode == "tags" and not _may_climb(job.container)
        # updates of a floating tag are seen by its digest: the list can only suggest other tags
        suggests_only = stays and tag.tag_precision == "floating"
        if job.plan.list_tags and (fresh or not suggests_only):
            lists.append(job.route)
        if stays:
            heads.append((job.route, tag.value))
    return lists, heads


def _may_climb(container: Container) -> bool:
    """Whether the tag list may offer another tag, whose digest is then wanted instead of the running one's."""
    if container.image.tag.tag_precision == "floating":
        return container.tag_family == "loose" or (not container.image.tag.semver and bool(container.include_tags))
    return container.tag_family == "loose" or bool(container.include_tags)


def _platform(container: Container) -> Platform:
    image = container.image
    return Platform(image.os, image.architecture, image.variant)


def _iso(text: str | None) -> str | None:
    """A registry's instant as the API shows it; None for what is none."""
    instant = from_iso(text)
    return to_iso(instant) if instant is not None else None


def _crashed(container: Container, error: Exception) -> tuple[Container, Trace]:
    """An internal error: the container says so, and keeps its last result."""
    reason = f"The check failed unexpectedly ({type(error).__name__}); the log has the details"
    trace = Trace(steps=[Step(stage="registry", outcome="fail", reason=reason)])
    failed = msgspec.structs.replace(
        container,
        error=CheckError(message=reason, code=CRASHED),
        result=container.result or Result(tag=container.image.tag.value),
    )
    return failed, trace
