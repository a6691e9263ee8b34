"""The gate in the road of an update (security.md §4, updates.md §5): nothing unverified or refused gets past it.

`verify` comes before the pull, `check` after it and before anything is changed. Where the gate is on and no scanner can
say what is in the image, the answer is no (unless DD_SECURITY_AVAILABILITY_POLICY=warn).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal

import msgspec
import structlog

from drydock.core.errors import DrydockError, EngineError
from drydock.core.labels import SECURITY_GATE
from drydock.core.model import Container
from drydock.core.reference import split
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
from drydock.security.subjects import installing
from drydock.security.writeback import write_back

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
        self._settings = security.settings
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
        return self._security.enabled and self._settings.gate_mode == "on"

    @property
    def block_severities(self) -> frozenset[str]:
        """Severities that stop an update by the policy of now."""
        return frozenset(self._settings.block_severities)

    def on(self, container: Container) -> bool:
        """The gate is closed until proven: by the container's own label, else by DD_SECURITY_GATE_MODE."""
        own = container.labels.get(SECURITY_GATE, "").strip().lower()
        return (own if own in ("on", "off") else self._settings.gate_mode) == "on"

    async def verify(self, container: Container, reference: str, digest: str | None) -> GateVerdict:
        """Before the pull: the signature, if signatures are verified. Independent of the gate mode."""
        if self._verifier is None:
            return GateVerdict(allowed=True, reason="Signatures are not verified")
        signature = await self._verifier.verify(installing(container, reference, digest))
        await write_back(self._fleet, container, {"updateSignature": signature})
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

        `digest` is the pulled image's; where it is unknown, `engine` is asked about `image_id`. `on_phase` gets what
        happens. A refused image is removed from `engine` if so configured and nothing uses it.
        """
        tools, settings = self._security.tools, self._settings
        if tools is None:
            return GateVerdict(allowed=True, reason="Security scanner is not configured")
        if not self.on(container):
            why = f"label {SECURITY_GATE}=off" if SECURITY_GATE in container.labels else "DD_SECURITY_GATE_MODE=off"
            said = f"The security gate is off for this container ({why})"
            await self._audit.note("security-scan-skipped", "info", container=container, details=said)
            return GateVerdict(allowed=True, reason=said)
        subject = installing(container, reference, digest or await _digest_of(engine, image_id, reference))

        # Scan what was pulled, and keep it as the scan of the candidate.
        if on_phase:
            await on_phase("scanning")
        scan = await tools.inspector.scan(subject, cached=True, floor=False, retry=True)
        scan = self._relative(container, scan)
        await write_back(self._fleet, container, {"updateScan": _for_record(container, scan, reference)})

        # A failed SBOM never blocks.
        if settings.sbom_enabled:
            if on_phase:
                await on_phase("sbom-generating")
            entry = await tools.sboms.record(subject, settings.sbom_formats)
            await write_back(self._fleet, container, {"updateSbom": entry})
            if entry.status == "error":
                await self._audit.note("security-sbom-failed", "error", container=container, details=entry.error)
            else:
                done = ", ".join(entry.formats)
                await self._audit.note("security-sbom-generated", "info", container=container, details=done)

        verdict = await self._verdict(container, scan)
        if verdict.blocked_by == "scan" and settings.prune_refused:
            await _prune(engine, container, image_id, reference)
        return verdict

    def _relative(self, container: Container, scan: Scan) -> Scan:
        """Let a blocked candidate pass that is no worse than what runs, if so configured."""
        if not self._settings.gate_relative or scan.status != "blocked" or scan.error:
            return scan
        stored = (container.security or {}).get("scan")
        usable = isinstance(stored, dict) and stored.get("status") != "error" and of_running(stored, container)
        verdict = compare(scan, model.read(container.security).scan if usable else None)
        status: model.ScanStatus = "passed" if verdict.decision == "passed" else "blocked"
        return msgspec.structs.replace(scan, status=status, relative_gate=verdict)

    async def _verdict(self, container: Container, scan: Scan) -> GateVerdict:
        note = partial(self._audit.note, container=container)
        if scan.status == "error":
            # The scanner gave no answer: refused, unless the operator prefers availability.
            said = f"Security scan failed: {scan.error}"
            if self._settings.availability == "warn":
                await note("security-scan-skipped", "error", details=said)
                return GateVerdict(allowed=True, reason=said, status="error")
            await note("security-scan-failed", "error", details=said)
            return GateVerdict(allowed=False, reason=said, blocked_by="availability", status="error")
        await self._alerts.consider(container, scan, slot="updateScan")
        if scan.status == "blocked":
            said = (
                f"Security scan blocked update ({scan.blocking_count} vulnerabilities matched block severities: "
                f"{', '.join(scan.block_severities)}). Summary: {scan.summary.text()}"
            )
            await note("security-scan-blocked", "error", details=said)
            return GateVerdict(allowed=False, reason=said, blocked_by="scan", status="blocked")
        said = f"Security scan passed. Summary: {scan.summary.text()}"
        relative = scan.relative_gate is not None
        await note("security-scan-passed-relative" if relative else "security-scan-passed", "success", details=said)
        return GateVerdict(allowed=True, reason=said, status=scan.status)


def _for_record(container: Container, scan: Scan, reference: str) -> Scan:
    """The scan under the name of the candidate: the registry check may know it by its platform's digest."""
    result = container.result
    if result is None or not result.digest or split(reference).tag != (result.tag or container.image.tag.value):
        return scan
    return msgspec.structs.replace(scan, image_digest=result.digest)


async def _digest_of(engine: Engine | None, image_id: str | None, reference: str) -> str | None:
    """The registry digest of a pulled image: the one of the repository it was pulled from."""
    wanted = split(reference)
    if wanted.digest or engine is None:
        return wanted.digest
    try:
        document = await engine.inspect_image(image_id or reference)
    except EngineError as error:
        log.warning("security.pulled_image_unknown", image=reference, error=error.message)
        return None
    names = [split(name) for name in document.get("RepoDigests") or [] if isinstance(name, str)]
    best = next((each for each in names if each.name == wanted.name), names[0] if names else None)
    return best.digest if best else None


async def _prune(engine: Engine | None, container: Container, image_id: str | None, reference: str) -> None:
    """Remove a refused image, and give the tag back to the image that runs. Best effort: what is in use stays."""
    if engine is None or image_id is None or image_id == container.image.id:
        return
    try:
        await engine.remove_image(reference)
        name, tag, _ = split(reference)
        if tag is not None and tag == container.image.tag.value:
            await engine.tag_image(container.image.id, name, tag)
        log.info("security.refused_image_removed", image=reference)
    except DrydockError as error:
        log.warning("security.refused_image_kept", image=reference, error=error.message)
