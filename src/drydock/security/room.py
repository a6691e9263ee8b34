"""How the room is built, and what it does by the clock: scheduled scans, SBOM documents swept daily (security.md §7, §10)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Self
from zoneinfo import ZoneInfo

import structlog

from drydock.clock import Clock
from drydock.config.load import Settings
from drydock.core.cron import parse_cron
from drydock.core.times import DAY_MS
from drydock.events import ContainerUpdated
from drydock.fleet.settings import FleetSettings
from drydock.hosts.host import Hosts
from drydock.kernel import Kernel, Room
from drydock.security import scanners
from drydock.security.alerts import Alerts
from drydock.security.cache import DigestCache, interval_of
from drydock.security.commands import Logins, anonymous
from drydock.security.cycles import Runner
from drydock.security.documents import Sboms
from drydock.security.inspector import Inspector
from drydock.security.runtime import Runtime
from drydock.security.security_gate import Gate
from drydock.security.service import SecurityService, Tools
from drydock.security.settings import SecuritySettings
from drydock.security.signatures import choose
from drydock.security.signatures.base import SignatureSource
from drydock.security.signatures.cosign import CosignSettings
from drydock.store.sboms import SbomFiles
from drydock.store.settings import StoreSettings

log = structlog.get_logger("security.schedule")

UTC = ZoneInfo("UTC")
LONGEST_SLEEP_S = 3600.0
"""A clock that was set is noticed within this time."""
SBOM_FOLDER = "sbom"


@dataclass(frozen=True)
class Needs:
    """What this room wants of others. `environ` is the environment of the process, of which programs see a part."""

    hosts: Hosts
    environ: Mapping[str, str]
    logins: Logins = anonymous
    signature_source: SignatureSource | None = None


class Security(Room):
    """Everything of this room that others call."""

    def __init__(self, kernel: Kernel, service: SecurityService, gate: Gate, runtime: Runtime) -> None:
        self.service = service
        self.gate = gate
        self.runtime = runtime
        self._clock = kernel.clock
        self._supervisor = kernel.supervisor

    @classmethod
    def build(cls, kernel: Kernel, settings: Settings, needs: Needs) -> Self:
        """The room. Raises `ConfigError` when the public key cannot be used."""
        own, cosign = settings[SecuritySettings], settings[CosignSettings]
        clock, fleet, store, bus = kernel.clock, kernel.fleet, kernel.store, kernel.bus
        files = SbomFiles(Path(settings[StoreSettings].path) / SBOM_FOLDER)
        alerts = Alerts(bus, store.scan_alerts)
        verifier = scanner = generator = tools = None
        if own.verify_signatures:
            verifier = choose(cosign, needs.environ, needs.signature_source, clock, needs.logins)
        if own.scanner is not None:
            scanner, generator = scanners.build(
                own.scanner, own.sbom_generator, settings, needs.environ, clock, own.scan_concurrency
            )
            cache = DigestCache(
                store.scans,
                clock,
                capacity=own.cache_entries or settings[FleetSettings].default_max,
                interval_ms=interval_of(own.scan_cron, clock.now_ms()),
            )
            inspector = Inspector(scanner, generator, cache, clock, own.block_severities, needs.logins, needs.hosts)
            tools = Tools(inspector, Sboms(inspector, files, clock), Runner(fleet, inspector, alerts, bus, clock))
        service = SecurityService(kernel, own, tools, verifier, alerts, files)
        bus.subscribe("security", service.on_event, ContainerUpdated)
        return cls(
            kernel,
            service,
            Gate(service, fleet, alerts, kernel.audit, verifier),
            Runtime(own, scanner, generator, verifier, cosign.command, clock),
        )

    async def start(self) -> None:
        """Read the digest cache from the store; load the scanner's database; scan and sweep by the clock."""
        tools = self.service.tools
        if tools is None:
            return
        await tools.inspector.cache.load()
        self._supervisor.spawn("security:warm-up", tools.inspector.scanner.prepare())
        if self.service.settings.scan_cron:
            self._supervisor.start("security:schedule", lambda: scan_by_schedule(self.service, self._clock, Random()))
        self._supervisor.start("security:sbom-sweep", self._sweep)

    async def _sweep(self) -> None:
        """Delete SBOM documents that no container refers to, once a day."""
        while True:
            await self._clock.sleep(DAY_MS / 1000)
            log.info("security.sbom_swept", deleted=await self.service.collect_garbage())


async def scan_by_schedule(security: SecurityService, clock: Clock, random: Random) -> None:
    """Scan at each run of DD_SECURITY_SCAN_CRON (UTC) with a random delay; one that falls into a cycle is skipped."""
    settings = security.settings
    if settings.scan_cron is None:
        return
    cron = parse_cron(settings.scan_cron)
    while (at := cron.next_after(clock.now_ms(), UTC)) is not None:
        moment = at + random.randint(0, round(settings.scan_jitter_s * 1000))
        while (left_ms := moment - clock.now_ms()) > 0:
            await clock.sleep(min(left_ms / 1000, LONGEST_SLEEP_S))
        await security.scan_scheduled()
        following = cron.next_after(at, UTC)
        if following is not None and following < clock.now_ms():
            log.warning("security.cycle_skipped", reason="the cycle before it was still running")
