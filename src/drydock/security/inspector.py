"""Looks into one image: login, digest cache, one run for everybody who asks the same, and the verdict.

Knows nothing of containers; `examination.py` does. A tool that fails gives a result with status `error`, never an
exception (security.md §2).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from drydock.clock import Clock
from drydock.core.errors import DrydockError, ScanFailed
from drydock.security.cache import DigestCache
from drydock.security.commands import Login
from drydock.security.findings import Found, failed, judge, trimmed
from drydock.security.model import SbomFormat, Scan
from drydock.security.scanners.base import SbomGenerator, Scanner, Target
from drydock.security.settings import Policy
from drydock.security.subjects import Subject
from drydock.single_flight import SingleFlight

log = structlog.get_logger("security")
T = TypeVar("T")

Logins = Callable[[str, str], Awaitable[Login | None]]
"""Host and repository → what signs in there; `Registries.pull_auth`."""
DockerHosts = Callable[[str, str | None], str | None]
"""Watcher and agent → `DOCKER_HOST` under which a scanner may find images that no registry has."""
Looked = tuple[Found, str]
BACKEND = "command"


async def anonymous(host: str, repository: str) -> Login | None:
    """No registry wants a login."""
    del host, repository
    return None


class Inspector:
    """Scans images and lists their contents. `runs` counts how often the scanner was started."""

    def __init__(
        self,
        scanner: Scanner,
        generator: SbomGenerator,
        cache: DigestCache,
        clock: Clock,
        *,
        policy: Policy,
        logins: Logins = anonymous,
        docker_hosts: DockerHosts | None = None,
    ) -> None:
        self.scanner = scanner
        self.generator = generator
        self.policy = policy
        self.runs = 0
        self._cache = cache
        self._clock = clock
        self._logins = logins
        self._docker_hosts = docker_hosts
        self._flights: SingleFlight[Looked] = SingleFlight(abandon=True)
        self._documents: SingleFlight[bytes] = SingleFlight(abandon=True)

    async def scan(self, subject: Subject, *, cached: bool, floor: bool = True, retry: bool = False) -> Scan:
        """Scan an image. `cached`: a fresh result for its digest will do; `floor`: so will a fresh error.

        `retry` tries once more after a transient error.
        """
        fingerprint = await self._fingerprint()
        found = self._known(subject, fingerprint, floor) if cached else None
        reference = subject.reference
        if found is None:
            key = (subject.reference, subject.digest)
            found, reference = await self._flights.run(key, lambda: self._run(subject, retry))
        digest = subject.digest or next(iter(found.digests), None)
        return judge(found, reference, digest, self.policy.block, self._clock.now_ms())

    async def sbom(self, subject: Subject, form: SbomFormat) -> bytes:
        """The document of an image. Raises `ScanFailed`, or the registry's error when there is no login to be had."""
        return await self._documents.run((subject.pinned, form), lambda: self._list(subject, form))

    async def target(self, subject: Subject, reference: str) -> Target:
        """An image as the programs are told about it. One that no registry knows is looked for on its own host."""
        login = await self._logins(subject.registry, subject.repository)
        return Target(reference, subject.registry, login, None if subject.digest else self._host(subject))

    def _host(self, subject: Subject) -> str | None:
        """Where the image may be found besides its registry; nowhere for a candidate that only a tag names."""
        if self._docker_hosts is None or subject.key is None:
            return None
        return self._docker_hosts(subject.watcher, subject.agent)

    def _known(self, subject: Subject, fingerprint: str, floor: bool) -> Found | None:
        if subject.key is None:
            return None
        found = self._cache.get(subject.key, fingerprint)
        error = self._cache.error(subject.key, fingerprint) if floor and found is None else None
        return found if error is None else failed(self.scanner.name, error)

    async def _run(self, subject: Subject, retry: bool) -> Looked:
        try:
            found, reference = await self._attempt(subject)
        except DrydockError as error:
            if retry and isinstance(error, ScanFailed) and error.transient:
                log.info("security.scan_retried", image=subject.reference, error=error.message)
                return await self._run(subject, False)
            log.warning("security.scan_failed", image=subject.reference, error=error.message)
            found, reference = failed(self.scanner.name, error.message), subject.reference
        if subject.key is not None:
            await self._cache.put(subject.key, await self._fingerprint(), found)
        return found, reference

    async def _attempt(self, subject: Subject) -> Looked:
        """Ask by the reference that people know; when it names another image by now, ask for the digest that is meant."""
        reference = subject.reference
        found = await self._scan(subject, reference)
        if subject.digest and found.digests and subject.digest not in found.digests and subject.pinned != reference:
            log.info("security.tag_moved", image=reference, digest=subject.digest)
            reference = subject.pinned
            found = await self._scan(subject, reference)
        return trimmed(found), reference

    async def _scan(self, subject: Subject, reference: str) -> Found:
        return await self._reach(subject, reference, self._counted)

    async def _counted(self, target: Target) -> Found:
        self.runs += 1
        return await self.scanner.scan(target)

    async def _list(self, subject: Subject, form: SbomFormat) -> bytes:
        return await self._reach(subject, subject.pinned, lambda target: self.generator.sbom(target, form))

    async def _reach(self, subject: Subject, reference: str, ask: Callable[[Target], Awaitable[T]]) -> T:
        """Ask about the image in its registry, then on its host (retagged there, or gone from the registry)."""
        target = await self.target(subject, reference)
        try:
            return await ask(target)
        except ScanFailed as error:
            host = self._host(subject)
            if error.transient or host is None or target.docker_host is not None:
                raise
            log.info("security.looking_on_host", image=reference, error=error.message)
            with contextlib.suppress(ScanFailed):
                return await ask(dataclasses.replace(target, docker_host=host, reference=subject.image_id or reference))
            raise

    async def _fingerprint(self) -> str:
        """Scanner, backend and database: a result of another one does not count."""
        return f"{self.scanner.name}:{BACKEND}:{await self.scanner.database() or ''}"
