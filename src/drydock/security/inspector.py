"""Looks into one image: login, digest cache, one run for everyone who asks the same, and the verdict.

Knows nothing of containers; `service.py` does. A tool that fails gives a result with status `error`, never an exception
(security.md §2).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TypeVar

import structlog

from drydock.clock import Clock
from drydock.core.errors import DrydockError, ScanFailed
from drydock.hosts.host import Hosts
from drydock.security.cache import DigestCache
from drydock.security.commands import Logins
from drydock.security.findings import Found, failed, judge, trimmed
from drydock.security.model import SbomFormat, Scan
from drydock.security.scanners.base import SbomGenerator, Scanner, Target
from drydock.security.subjects import Subject
from drydock.single_flight import SingleFlight

log = structlog.get_logger("security")
T = TypeVar("T")

BACKEND = "command"
"""Part of the fingerprint under which results are stored."""


class Inspector:
    """Scans images and lists their contents. `block`: the severities that make a scan `blocked`."""

    def __init__(
        self,
        scanner: Scanner,
        generator: SbomGenerator,
        cache: DigestCache,
        clock: Clock,
        block: Sequence[str],
        logins: Logins,
        hosts: Hosts,
    ) -> None:
        self.scanner = scanner
        self.generator = generator
        self.cache = cache
        self._clock = clock
        self._block = block
        self._logins = logins
        self._hosts = hosts
        self._scans: SingleFlight[tuple[Found, str]] = SingleFlight(abandon=True)
        self._documents: SingleFlight[bytes] = SingleFlight(abandon=True)

    async def scan(self, subject: Subject, *, cached: bool, floor: bool = True, retry: bool = False) -> Scan:
        """Scan an image. `cached`: a fresh result for its digest will do; `floor`: so will a fresh error.

        `retry` tries once more after a transient error.
        """
        found, reference = None, subject.reference
        if cached and subject.key is not None:
            fingerprint = await self._fingerprint()
            found = self.cache.get(subject.key, fingerprint)
            error = self.cache.error(subject.key, fingerprint) if floor and found is None else None
            found = failed(self.scanner.name, error) if error is not None else found
        if found is None:
            key = (subject.reference, subject.digest)
            found, reference = await self._scans.run(key, lambda: self._run(subject, retry))
        digest = subject.digest or next(iter(found.digests), None)
        return judge(found, reference, digest, self._block, self._clock.now_ms())

    async def sbom(self, subject: Subject, form: SbomFormat) -> bytes:
        """The document of an image. Raises `ScanFailed`, or the registry's error when there is no login to be had."""

        def ask() -> Coroutine[object, object, bytes]:
            return self._reach(subject, subject.pinned, lambda target: self.generator.sbom(target, form))

        return await self._documents.run((subject.pinned, form), ask)

    async def _run(self, subject: Subject, retry: bool) -> tuple[Found, str]:
        """What a scanner says now, and the reference it was asked for."""
        reference = subject.reference
        try:
            found = await self._reach(subject, reference, self.scanner.scan)
            if subject.digest and found.digests and subject.digest not in found.digests and subject.pinned != reference:
                # The tag, by which people know the image, names another one by now: ask for the digest that is meant.
                log.info("security.tag_moved", image=reference, digest=subject.digest)
                reference = subject.pinned
                found = await self._reach(subject, reference, self.scanner.scan)
            found = trimmed(found)
        except DrydockError as error:
            if retry and isinstance(error, ScanFailed) and error.transient:
                log.info("security.scan_retried", image=subject.reference, error=error.message)
                return await self._run(subject, False)
            log.warning("security.scan_failed", image=subject.reference, error=error.message)
            found, reference = failed(self.scanner.name, error.message), subject.reference
        if subject.key is not None:
            await self.cache.put(subject.key, await self._fingerprint(), found)
        return found, reference

    async def _reach(self, subject: Subject, reference: str, ask: Callable[[Target], Awaitable[T]]) -> T:
        """Ask about the image in its registry, then on its host (retagged there, or gone from the registry).

        One that no registry can know, for it has no digest, is looked for on its host at once.
        """
        login = await self._logins(subject.registry, subject.repository)
        place = None
        if subject.key is not None and subject.host is not None and (host := self._hosts.get(subject.host)):
            place = host.endpoint.docker_host
        target = Target(reference, subject.registry, login, None if subject.digest else place)
        try:
            return await ask(target)
        except ScanFailed as error:
            if error.transient or place is None or target.docker_host is not None:
                raise
            log.info("security.looking_on_host", image=reference, error=error.message)
            with contextlib.suppress(ScanFailed):
                there = dataclasses.replace(target, docker_host=place, reference=subject.image_id or reference)
                return await ask(there)
            raise

    async def _fingerprint(self) -> str:
        """Scanner, backend and database: a result of another one does not count."""
        return f"{self.scanner.name}:{BACKEND}:{await self.scanner.database() or ''}"
