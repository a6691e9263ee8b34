"""Everything that is found out about one container on demand: scan, signature, SBOM, of what runs and of its candidate.

container-api.md §6.3. Nothing is written here; the results come back as slots.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import structlog

from drydock.core.model import Container
from drydock.core.scans import CANDIDATE, RUNNING
from drydock.security import model
from drydock.security.documents import Sboms
from drydock.security.inspector import Inspector
from drydock.security.settings import ScanSettings
from drydock.security.signatures.base import Verifier
from drydock.security.subjects import Subject, candidate, running
from drydock.security.writeback import Slots

log = structlog.get_logger("security")


class Examiner:
    """Looks at one container. `verifier` None: signatures are not verified."""

    def __init__(self, inspector: Inspector, sboms: Sboms, verifier: Verifier | None, settings: ScanSettings) -> None:
        self._inspector = inspector
        self._sboms = sboms
        self._verifier = verifier
        self._settings = settings

    async def examine(self, container: Container) -> Slots:
        """Slots of the running image, and of the candidate if there is one, else those emptied.

        A crash over the candidate keeps the first results (its old entries stay as they are).
        """
        known = model.read(container.security)
        subject = running(container)
        slots = await self._image(subject, subject, RUNNING, known.sbom)
        coming = candidate(container)
        if coming is None:
            return {**slots, **dict.fromkeys(CANDIDATE)}
        try:
            return {**slots, **await self._image(coming, by_tag(coming), CANDIDATE, known.update_sbom)}
        except Exception:
            log.exception("security.candidate_crashed", container=container.name, image=coming.reference)
            return slots

    async def _image(
        self, subject: Subject, signed: Subject, names: tuple[str, ...], known: model.Sbom | None
    ) -> Slots:
        async with asyncio.TaskGroup() as group:
            scan = group.create_task(self._inspector.scan(subject, cached=False))
            signature = group.create_task(self._signature(signed))
            sbom = group.create_task(self._sbom(subject, known))
        found: tuple[Any, ...] = (scan.result(), signature.result(), sbom.result())
        return {name: value for name, value in zip(names, found, strict=True) if value is not None}

    async def _signature(self, subject: Subject) -> model.Signature | None:
        return await self._verifier.verify(subject) if self._verifier else None

    async def _sbom(self, subject: Subject, known: model.Sbom | None) -> model.Sbom | None:
        if not self._settings.sbom_enabled:
            return None
        return await self._sboms.record(subject, self._settings.sbom_formats, known)


def by_tag(subject: Subject) -> Subject:
    """The subject by its tag alone: a check may know it by its platform's digest, which nobody signs."""
    return subject if "@" in subject.reference else msgspec.structs.replace(subject, digest=None)
