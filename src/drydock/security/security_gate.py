"""The gate in the road of an update (security.md §4, updates.md §5): nothing unverified or refused gets past it.

`verify` comes before the pull, `check` after it and before anything is changed. Where the gate is on and nobody can say
what is in the image, the answer is no (unless DD_SECURITY_AVAILABILITY_POLICY=warn).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec
import structlog

from drydock.core.errors import DrydockError, EngineError, NotFound
from drydock.core.labels import SECURITY_GATE
from drydock.core.model import Container
from drydock.core.scans import of_running
from drydock.docker.api import Engine
from drydock.fleet.fleet import Fleet
from drydock.kernel import AuditLog
from drydock.security import model
from drydock.security.alerts import Alerts
from drydock.security.findings import compare
from drydock.security.model import Scan
from drydock.security.service import SecurityService
from drydock.security.signatures.base import Verifier
from drydock.security.subjects import Subject, installing
from drydock.security.writeback import Slots, merged

log = structlog.get_logger("security.gate")

Phase = Literal["scanning", "sbom-generating"]
OnPhase = Callable[[Phase], Awaitable[None]]


class GateVerdict(msgspec.Struct, frozen=True):
    """Whether an update may go on. `reason` is for people; `blocked_by` says which check refused.

    `status` is the scan's own, where there was one.
    """

    allowed: bool
    reason: str = ""
    blocked_by: Literal["signature", "scan", "availability"] | None = None
    status: str | None = None


class Gate:
    """Asks the scanner and the verifier about the image that an update would install."""

    def __init__(
        self, security: SecurityService, fleet: Fleet, alerts: Alerts, audit: AuditLog, verifier: Verifier | None
    ) -> None:
        self._security = security
        self._fleet = fleet
        self._alerts = alerts
        self._audit = audit
        self._verifier = verifier

    @property
    def verifies(self) -> bool:
        """Signatures are verified."""
        return self._verifier is not None

    @property
    def scans(self) -> bool:
        """A scanner is configured, and the gate is on unless a label says otherwise."""
        return self._security.enabled and self._security.settings.policy.gate_on

    def on(self, container: Container) -> bool:
        """The gate is closed until proven: by the container's own label, else by DD_SECURITY_GATE_MODE."""
        own = container.labels.get(SECURITY_GATE, "").strip().lower()
        return own == "on" if own in ("on", "off") else self._security.settings.policy.gate_on

    async def verify(self, container: Container, reference: str, digest: str | None) -> GateVerdict:
        """Before the pull: the signature, if signatures are verified. Independent of the gate mode."""
        if self._verifier is None:
            return GateVerdict(allowed=True, reason="Signatures are not verified")
        signature = await self._verifier.verify(installing(container, reference, digest))
        await self._store(container, {"updateSignature": signature})
        if signature.status == "verified":
            said = f"Image signature verified ({signature.signatures} signatures)"
            await self._audit.note("security-signature-verified", "success", container=container, details=said)
            return GateVerdict(allowed=True, reason=said)
        said = f"Image signature verification failed: {signature.error or 'no valid signatures found'}"
        action = "blocked" if signature.status == "unverified" else "failed"
        await self._audit.note(f"security-signature-{action}", "error", container=container, details=said)
        return GateVerdict(allowed=False, reason=said, blocked_by="signature")

    async def check(
        self,
        container: Container,
        reference: str,
        digest: str | None = None,
        *,
        engine: Engine | None = None,
        image_id: str | None = None,
        on_phase: OnPhase | None = None,
    ) -> GateVerdict:
        """After the pull: scan, relative gate, SBOM, verdict.

        `digest` is the pulled image's; where it is unknown, `engine` is asked about `image_id`. `on_phase` is told what
        happens. A refused image is removed from `engine` if so configured and nothing uses it.
        """
        if self._security.tools is None:
            return GateVerdict(allowed=True, reason="Security scanner is not configured")
        if not self.on(container):
            said = f"The security gate is off for this container ({self._why_off(container)})"
            await self._audit.note("security-scan-skipped", "info", container=container, details=said)
            return GateVerdict(allowed=True, reason=said)
        digest = digest or await _digest_of(engine, image_id, reference)
        subject = installing(container, reference, digest)
        scan = await self._scan(container, subject, reference, on_phase)
        await self._sbom(container, subject, on_phase)
        verdict = await self._verdict(container, scan)
        if not verdict.allowed and verdict.blocked_by == "scan" and self._security.settings.policy.prune:
            await _prune(engine, container, image_id, reference)
        return verdict

    def _why_off(self, container: Container) -> str:
        return f"label {SECURITY_GATE}=off" if SECURITY_GATE in container.labels else "DD_SECURITY_GATE_MODE=off"

    async def _scan(self, container: Container, subject: Subject, reference: str, on_phase: OnPhase | None) -> Scan:
        """Scan what was pulled, apply the relative gate, store it as the candidate's."""
        assert self._security.tools is not None
        if on_phase:
            await on_phase("scanning")
        scan = await self._security.tools.inspector.scan(subject, cached=True, floor=False, retry=True)
        scan = self._relative(container, scan)
        await self._store(container, {"updateScan": _for_record(container, scan, reference)})
        return scan

    def _relative(self, container: Container, scan: Scan) -> Scan:
        """Let a blocked candidate pass that is no worse than what runs, if so configured."""
        if not self._security.settings.policy.relative or scan.status != "blocked" or scan.error:
            return scan
        stored = (container.security or {}).get("scan")
        usable = isinstance(stored, dict) and stored.get("status") != "error" and of_running(stored, container)
        verdict = compare(scan, model.read(container.security).scan if usable else None)
        status: model.ScanStatus = "passed" if verdict.decision == "passed" else "blocked"
        return msgspec.structs.replace(scan, status=status, relative_gate=verdict)

    async def _sbom(self, container: Container, subject: Subject, on_phase: OnPhase | None) -> None:
        """A failure never blocks."""
        settings = self._security.settings
        if not settings.sbom_enabled:
            return
        if on_phase:
            await on_phase("sbom-generating")
        entry = await self._security.sboms.record(subject, settings.sbom_formats)
        await self._store(container, {"updateSbom": entry})
        failed = entry.status == "error"
        said = entry.error or ", ".join(entry.formats)
        action = "security-sbom-failed" if failed else "security-sbom-generated"
        await self._audit.note(action, "error" if failed else "info", container=container, details=said)

    async def _verdict(self, container: Container, scan: Scan) -> GateVerdict:
        if scan.status == "error":
            return await self._unknown(container, scan)
        await self._alerts.consider(container, scan, slot="updateScan")
        if scan.status == "blocked":
            return await self._blocked(container, scan)
        relative = scan.relative_gate is not None
        said = f"Security scan passed. Summary: {scan.summary.text()}"
        action = "security-scan-passed-relative" if relative else "security-scan-passed"
        await self._audit.note(action, "success", container=container, details=said)
        return GateVerdict(allowed=True, reason=said, status=scan.status)

    async def _unknown(self, container: Container, scan: Scan) -> GateVerdict:
        """The scanner gave no answer: refused, unless the operator prefers availability."""
        said = f"Security scan failed: {scan.error}"
        if self._security.settings.policy.availability == "warn":
            await self._audit.note("security-scan-skipped", "error", container=container, details=said)
            return GateVerdict(allowed=True, reason=said, status="error")
        await self._audit.note("security-scan-failed", "error", container=container, details=said)
        return GateVerdict(allowed=False, reason=said, blocked_by="availability", status="error")

    async def _blocked(self, container: Container, scan: Scan) -> GateVerdict:
        said = (
            f"Security scan blocked update ({scan.blocking_count} vulnerabilities matched block severities: "
            f"{', '.join(scan.block_severities)}). Summary: {scan.summary.text()}"
        )
        await self._audit.note("security-scan-blocked", "error", container=container, details=said)
        return GateVerdict(allowed=False, reason=said, blocked_by="scan", status="blocked")

    async def _store(self, container: Container, slots: Slots) -> None:
        """Onto the record as it is now; a container that is gone by now is no error."""
        try:
            await asyncio.shield(self._fleet.change(container.id, lambda now: merged(now, container, slots)))
        except NotFound:
            log.info("security.container_gone", container=container.name)


def _for_record(container: Container, scan: Scan, reference: str) -> Scan:
    """The scan under the name of the candidate: the registry check may know it by its platform's digest."""
    result = container.result
    tag = reference.partition("@")[0].rpartition("/")[2].partition(":")[2]
    if result is None or not result.digest or tag != (result.tag or container.image.tag.value):
        return scan
    return msgspec.structs.replace(scan, image_digest=result.digest)


async def _digest_of(engine: Engine | None, image_id: str | None, reference: str) -> str | None:
    """The registry digest of a pulled image: the one of the repository it was pulled from."""
    if "@" in reference:
        return reference.rpartition("@")[2]
    if engine is None:
        return None
    try:
        document = await engine.inspect_image(image_id or reference)
    except EngineError as error:
        log.warning("security.pulled_image_unknown", image=reference, error=error.message)
        return None
    names = [name for name in document.get("RepoDigests") or [] if isinstance(name, str)]
    path = reference.rpartition(":")[0] if ":" in reference.rpartition("/")[2] else reference
    best = next((name for name in names if name.partition("@")[0] == path), names[0] if names else "")
    return best.rpartition("@")[2] or None


async def _prune(engine: Engine | None, container: Container, image_id: str | None, reference: str) -> None:
    """Remove a refused image, and give the tag back to the image that runs. Best effort: what is in use stays."""
    if engine is None or image_id is None or image_id == container.image.id:
        return
    try:
        await engine.remove_image(reference)
        name, _, tag = reference.rpartition(":")
        if tag == container.image.tag.value and "/" not in tag:
            await engine.tag_image(container.image.id, name, tag)
        log.info("security.refused_image_removed", image=reference)
    except DrydockError as error:
        log.warning("security.refused_image_kept", image=reference, error=error.message)
