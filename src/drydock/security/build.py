"""Puts the room together from its settings; `app` calls `assemble` once and keeps what it gets.

```python
room = assemble(parts, scan_settings, programs)
await room.load()
room.start(supervisor)        # schedule, SBOM sweep
bus.subscribe("security", room.service.on_event, ContainerUpdated)
```
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

from drydock.clock import Clock
from drydock.events import Bus
from drydock.fleet.fleet import Fleet
from drydock.kernel import AuditLog
from drydock.security import scanners
from drydock.security.alerts import Alerts, Memory
from drydock.security.cache import DigestCache, Rows, interval_of
from drydock.security.inspector import DockerHosts, Inspector, Logins, anonymous
from drydock.security.runtime import Programs, Runtime
from drydock.security.scanners.base import ProgramOptions
from drydock.security.schedule import SbomSweep, ScanSchedule
from drydock.security.security_gate import Gate
from drydock.security.service import SecurityService, Tools
from drydock.security.settings import ScanSettings
from drydock.security.signatures import SignatureSettings, choose
from drydock.security.signatures.base import SignatureSource, Verifier
from drydock.store.sboms import SbomFiles
from drydock.supervisor import Supervisor


@dataclass(frozen=True)
class ProgramSettings:
    """Which programs, and how they are called. `scanner` None: scanning is off. `signatures` None: not verified."""

    scanner: str | None = None
    generator: str = "auto"
    programs: Mapping[str, ProgramOptions] | None = None
    server: str = ""
    signatures: SignatureSettings | None = None


@dataclass(frozen=True)
class Parts:
    """What the room needs of the others."""

    fleet: Fleet
    bus: Bus
    clock: Clock
    supervisor: Supervisor
    audit: AuditLog
    scan_rows: Rows
    alert_memory: Memory
    sbom_folder: Path | None
    logins: Logins = anonymous
    signature_source: SignatureSource | None = None
    docker_hosts: DockerHosts | None = None


@dataclass(frozen=True)
class SecurityRoom:
    """Everything of this room that others call."""

    service: SecurityService
    gate: Gate
    runtime: Runtime
    schedule: ScanSchedule
    sweep: SbomSweep

    async def load(self) -> None:
        """Read the digest cache from the store."""
        if self.service.tools:
            await self.service.tools.cache.load()

    def start(self, supervisor: Supervisor) -> None:
        """Start what runs in the background."""
        if self.service.tools is None:
            return
        supervisor.spawn("security:warm-up", self.service.tools.inspector.scanner.prepare())
        if self.service.settings.cron:
            supervisor.start("security:schedule", self.schedule.run)
        supervisor.start("security:sbom-sweep", self.sweep.run)


def assemble(parts: Parts, settings: ScanSettings, programs: ProgramSettings) -> SecurityRoom:
    """The room. Raises `ConfigError` when the public key cannot be used."""
    verifier = _verifier(parts, programs)
    tools = _tools(parts, settings, programs, verifier)
    alerts = Alerts(parts.bus, parts.alert_memory)
    files = SbomFiles(parts.sbom_folder)
    service = SecurityService(tools, settings, parts.fleet, files, alerts, parts.bus, parts.clock, parts.supervisor)
    asked = Programs(
        selected=programs.scanner,
        generator=programs.generator,
        commands=dict(programs.programs or {}),
        server=programs.server,
        scanner=tools.inspector.scanner if tools else None,
        sbom=tools.inspector.generator if tools else None,
        verifier=verifier,
        cosign=programs.signatures.command if programs.signatures else "",
    )
    return SecurityRoom(
        service=service,
        gate=Gate(service, parts.fleet, alerts, parts.audit, verifier),
        runtime=Runtime(asked, settings, parts.clock),
        schedule=ScanSchedule(service, parts.clock, Random()),
        sweep=SbomSweep(service, parts.clock),
    )


def _verifier(parts: Parts, programs: ProgramSettings) -> Verifier | None:
    if programs.signatures is None:
        return None
    return choose(programs.signatures, parts.signature_source, parts.clock, parts.logins)


def _tools(parts: Parts, settings: ScanSettings, programs: ProgramSettings, verifier: Verifier | None) -> Tools | None:
    if programs.scanner is None:
        return None
    interval_ms = interval_of(settings.cron, parts.clock.now_ms())
    cache = DigestCache(parts.scan_rows, parts.clock, capacity=settings.cache_entries, interval_ms=interval_ms)
    scanner, generator = scanners.build(
        programs.scanner, programs.generator, dict(programs.programs or {}), parts.clock
    )
    inspector = Inspector(
        scanner,
        generator,
        cache,
        parts.clock,
        policy=settings.policy,
        logins=parts.logins,
        docker_hosts=parts.docker_hosts,
    )
    return Tools(inspector, cache, verifier)
