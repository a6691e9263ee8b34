"""Builds scanning, gate, signatures, SBOM and release notes from the settings (security.md, container-api.md §7.8)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypedDict, cast

from drydock.clock import Clock
from drydock.config.load import Settings
from drydock.core.errors import ConfigError, EngineError, RegistryError
from drydock.core.model import Container
from drydock.core.operation import Operation
from drydock.docker.api import Engine
from drydock.docker.connect import resolve
from drydock.events import Bus, ContainerUpdated
from drydock.fleet.fleet import Fleet
from drydock.fleet.settings import FleetSettings
from drydock.hosts.settings import WatcherSettings
from drydock.kernel import AuditLog
from drydock.registries.room import Artifacts, Registries
from drydock.security.build import Parts, ProgramSettings, SecurityRoom, assemble
from drydock.security.inspector import DockerHosts
from drydock.security.model import SbomFormat
from drydock.security.scanners.base import ProgramOptions
from drydock.security.scanners.trivy import TrivyOptions
from drydock.security.sections import SecuritySettings
from drydock.security.security_gate import Gate, GateVerdict, OnPhase
from drydock.security.settings import Policy, ScanSettings
from drydock.security.signatures import SignatureSettings
from drydock.security.signatures.base import SignatureSource
from drydock.store.settings import StoreSettings
from drydock.store.store import Store
from drydock.supervisor import Supervisor

EngineFor = Callable[[str, str | None], Engine]
UNVERIFIED = "Image signature verification failed"
HUB_URL = "https://hub.docker.com"
SBOM_FOLDER = "sbom"


class GateFacts(TypedDict):
    """What `core.policy.eligibility.EligibilityContext` wants to know of the gate."""

    gate_enabled: bool
    block_severities: frozenset[str]


def gate_facts(settings: Settings) -> GateFacts:
    """The gate counts only where a scanner is configured."""
    security = settings[SecuritySettings]
    enabled = security.scanner is not None and security.gate_mode == "on"
    return GateFacts(gate_enabled=enabled, block_severities=frozenset(security.block_severity))


def build_security(
    settings: Settings,
    environ: Mapping[str, str],
    registries: Registries,
    fleet: Fleet,
    store: Store,
    audit: AuditLog,
    bus: Bus,
    clock: Clock,
    supervisor: Supervisor,
) -> SecurityRoom:
    """The security room; `load` it, then `start` it. Subscribes to the bus, so call it before the bus runs."""
    parts = Parts(
        fleet=fleet,
        bus=bus,
        clock=clock,
        supervisor=supervisor,
        audit=audit,
        scan_rows=store.scans,
        alert_memory=store.scan_alerts,
        sbom_folder=Path(settings[StoreSettings].path) / SBOM_FOLDER,
        logins=registries.pull_auth,
        signature_source=Artifacts(registries),
        docker_hosts=docker_hosts(settings),
    )
    room = assemble(parts, scan_settings(settings), program_settings(settings[SecuritySettings], environ))
    bus.subscribe("security", room.service.on_event, ContainerUpdated)
    return room


def docker_hosts(settings: Settings) -> DockerHosts:
    """`DOCKER_HOST` of the local watchers whose Engine a program can reach by itself: a socket, or plain TCP."""
    known = {one.name: _docker_host(one) for one in settings.all(WatcherSettings)}

    def host(watcher: str, agent: str | None) -> str | None:
        return known.get(watcher) if agent is None else None

    return host


def _docker_host(settings: WatcherSettings) -> str | None:
    try:
        address = resolve(settings)
    except ConfigError:
        return None
    if address.socket is not None:
        return f"unix://{address.socket}"
    plain = settings.auth_type is None and settings.host and not address.base.startswith("https")
    return f"tcp://{settings.host}:{settings.port}" if plain else None


def scan_settings(settings: Settings) -> ScanSettings:
    """How scans run, and the policy of the gate."""
    security = settings[SecuritySettings]
    policy = Policy(
        block=security.block_severity,
        availability="warn" if security.availability_policy == "warn" else "block",
        gate_on=security.gate_mode == "on",
        relative=security.gate_relative,
        prune=security.prune_onblock,
    )
    return ScanSettings(
        policy=policy,
        sbom_enabled=security.sbom_enabled,
        sbom_formats=cast(tuple[SbomFormat, ...], security.sbom_formats),
        cron=security.scan_cron,
        jitter_ms=security.scan_jitter,
        concurrency=security.scan_concurrency,
        batch_timeout_ms=security.scan_batch_timeout,
        notify_scheduled=security.scan_notifications,
        cache_entries=security.scan_digest_cache_max_entries or settings[FleetSettings].default_max,
    )


def program_settings(security: SecuritySettings, environ: Mapping[str, str]) -> ProgramSettings:
    """Which programs, and how they are called."""
    trivy = TrivyOptions(
        command=security.trivy_command,
        timeout_ms=security.trivy_timeout,
        extra=security.trivy_args,
        environ=environ,
        server=security.trivy_server,
        image_src=security.trivy_image_src,
        parallel=security.scan_concurrency,
    )
    grype = ProgramOptions(security.grype_command, security.grype_timeout, security.grype_args, environ)
    syft = ProgramOptions(security.syft_command, security.syft_timeout, security.syft_args, environ)
    return ProgramSettings(
        scanner=security.scanner,
        generator=security.sbom_generator,
        programs={"trivy": trivy, "grype": grype, "syft": syft},
        server=security.trivy_server or "",
        signatures=signature_settings(security, environ),
    )


def signature_settings(security: SecuritySettings, environ: Mapping[str, str]) -> SignatureSettings | None:
    """How signatures are verified; None when they are not."""
    if not security.verify_signatures:
        return None
    return SignatureSettings(
        command=security.cosign_command,
        timeout_ms=security.cosign_timeout,
        key=security.cosign_key,
        identity=security.cosign_identity,
        issuer=security.cosign_issuer,
        environ=environ,
    )


class UpdateGate:
    """The gate as an update asks it (`updates.surroundings.Gate`): by operation instead of by container."""

    def __init__(self, gate: Gate, fleet: Fleet, source: SignatureSource, engine_for: EngineFor) -> None:
        self._gate = gate
        self._fleet = fleet
        self._source = source
        self._engine_for = engine_for
        self._verified: dict[str, str] = {}

    async def verify(self, operation: Operation, reference: str) -> GateVerdict:
        """Verify what the tag points at now; `check` makes sure that exactly this was pulled."""
        container = self._container(operation)
        if container is None or not self._gate.verifies:
            return GateVerdict(allowed=True, reason="Signatures are not verified")
        try:
            digest = await self._digest(container, reference)
        except RegistryError as error:
            return GateVerdict(allowed=False, reason=f"{UNVERIFIED}: {error.message}", blocked_by="signature")
        verdict = await self._gate.verify(container, reference, digest)
        if verdict.allowed and digest is not None:
            self._verified[operation.id] = digest
        return verdict

    async def check(
        self, operation: Operation, reference: str, image_id: str, on_phase: OnPhase | None = None
    ) -> GateVerdict:
        """Scan the pulled image and judge it by the policy in force."""
        container = self._container(operation)
        if container is None:
            said = "The container left the fleet before its new image was scanned"
            return GateVerdict(allowed=not self._gate.scans, reason=said, blocked_by="availability")
        engine = self._engine_for(operation.watcher, operation.agent)
        verified = self._verified.pop(operation.id, None)
        if verified is not None and verified not in await pulled_digests(engine, image_id):
            said = f"{UNVERIFIED}: the tag moved to another image after it was verified"
            return GateVerdict(allowed=False, reason=said, blocked_by="signature")
        return await self._gate.check(
            container, reference, verified, engine=engine, image_id=image_id, on_phase=on_phase
        )

    def _container(self, operation: Operation) -> Container | None:
        return self._fleet.get(operation.container_id) or operation.container

    async def _digest(self, container: Container, reference: str) -> str | None:
        if "@" in reference:
            return reference.rpartition("@")[2]
        image, tag = container.image, reference.rpartition("/")[2].partition(":")[2]
        return await self._source.digest(image.registry.url, image.name, tag or "latest")


async def pulled_digests(engine: Engine, image_id: str) -> frozenset[str]:
    """The registry digests of an image; none when the Engine cannot say, which refuses."""
    try:
        document = await engine.inspect_image(image_id)
    except EngineError:
        return frozenset()
    return frozenset(str(name).rpartition("@")[2] for name in document.get("RepoDigests") or ())
