"""Trivy as a program, stand-alone or as client of a Trivy server (security.md §3.1, §3.2).

One Trivy at a time works on a cache folder. Where the binary knows `--cache-backend`, scans keep their cache in memory
and run in parallel.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from drydock.clock import Clock
from drydock.core.errors import ScanFailed
from drydock.security.commands import check_extra, check_reference
from drydock.security.findings import Found, collect, severity_of
from drydock.security.model import WORST_FIRST, Finding, SbomFormat
from drydock.security.scanners.base import ProgramOptions, Target
from drydock.security.scanners.program import Program, objects, part, text_of

log = structlog.get_logger("security.trivy")

PROTECTED = ("-f", "-o", "-s", "--format", "--output", "--timeout", "--server", "--scanners", "--severity")
FORMAT_NAMES: dict[SbomFormat, str] = {"spdx-json": "spdx-json", "cyclonedx-json": "cyclonedx"}
WARM_UP_TIMEOUT_MS = 600_000
WARM_UP_PAUSE_S = 900.0
DATABASE_TIMEOUT_MS = 10_000
DATABASE_KEPT_S = 300.0
TRUE_WORDS = ("1", "t", "true", "yes", "on")


@dataclass(frozen=True)
class TrivyOptions(ProgramOptions):
    """`server`: URL of a Trivy server; `image_src`: where images are looked for; `parallel`: scans at a time."""

    server: str | None = None
    image_src: str | None = None
    parallel: int = 4


class Trivy:
    """The scanner and the SBOM generator of this name."""

    name = "trivy"

    def __init__(self, options: TrivyOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._program = Program("Trivy", options)
        self._turns = asyncio.Semaphore(1)
        self._memory_cache: bool | None = None
        self._probing = asyncio.Lock()
        self._warm = False
        self._warm_again_at = 0.0
        self._database: tuple[float, str | None] | None = None

    async def scan(self, target: Target) -> Found:
        """Vulnerabilities of all severities; the policy judges later."""
        wanted = ["--scanners", "vuln", "--severity", ",".join(reversed(WORST_FIRST))]
        async with self._turn() as cache:
            await self._warm_up()
            output = await self._image("json", [*wanted, *cache], target)
        return await asyncio.to_thread(self._parse, output)

    async def sbom(self, target: Target, form: SbomFormat) -> bytes:
        """A document of that format; needs no vulnerability database."""
        async with self._turn() as cache:
            return await self._image(FORMAT_NAMES[form], cache, target)

    async def prepare(self) -> None:
        """Load the vulnerability database ahead of the first scan."""
        async with self._turn():
            await self._warm_up()

    async def version(self) -> str | None:
        return await self._program.version()

    async def database(self) -> str | None:
        """`VulnerabilityDB.UpdatedAt`, asked at most every five minutes."""
        now = self._clock.monotonic()
        if self._database is None or now - self._database[0] > DATABASE_KEPT_S:
            self._database = (now, await self._ask_database())
        return self._database[1]

    async def _ask_database(self) -> str | None:
        try:
            output = await self._program.call(["version", "--format", "json"], timeout_ms=DATABASE_TIMEOUT_MS)
            facts = part(self._program.document(output).get("VulnerabilityDB"))
        except ScanFailed as error:
            log.warning("security.database_unknown", scanner=self.name, error=error.message)
            return None
        return text_of(facts.get("UpdatedAt"))

    async def _image(self, form: str, flags: Sequence[str], target: Target) -> bytes:
        seconds = -(-self._options.timeout_ms // 1000)
        extra = check_extra("Trivy", self._options.extra, PROTECTED)
        reference = check_reference(target.reference)
        arguments = ["image", "--quiet", "--format", form, "--timeout", f"{seconds}s", *flags, *self._sources()]
        return await self._program.call([*arguments, *extra, reference], target, _login(target))

    def _sources(self) -> list[str]:
        server = ["--server", self._options.server] if self._options.server else []
        return [*server, *(["--image-src", self._options.image_src] if self._options.image_src else [])]

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[list[str]]:
        """Wait, first come first served, until Trivy may start; yields the flags that choose the cache."""
        memory = await self._knows_memory_cache()
        async with self._turns:
            yield ["--cache-backend", "memory"] if memory else []

    async def _knows_memory_cache(self) -> bool:
        """Asked once. A server keeps the cache itself, and an operator's own choice of cache stands."""
        async with self._probing:
            if self._memory_cache is None:
                self._memory_cache = await self._probe()
                many = self._memory_cache or bool(self._options.server)
                self._turns = asyncio.Semaphore(self._options.parallel if many else 1)
        return self._memory_cache

    async def _probe(self) -> bool:
        chosen = any(argument.split("=")[0] == "--cache-backend" for argument in self._options.extra)
        if self._options.server or chosen or "TRIVY_CACHE_BACKEND" in self._options.environ:
            return False
        try:
            output = await self._program.call(["image", "--help"], timeout_ms=DATABASE_TIMEOUT_MS)
        except ScanFailed:
            return False
        return b"--cache-backend" in output

    async def _warm_up(self) -> None:
        """Load the database before the first scan. A failure is logged and tried again after 15 minutes."""
        skip = self._options.environ.get("TRIVY_SKIP_DB_UPDATE", "").lower() in TRUE_WORDS
        if self._warm or skip or self._options.server or self._clock.monotonic() < self._warm_again_at:
            return
        async with self._probing:
            if self._warm or self._clock.monotonic() < self._warm_again_at:
                return
            await self._load_database()

    async def _load_database(self) -> None:
        arguments = ["image", "--download-db-only", "--timeout", f"{WARM_UP_TIMEOUT_MS // 1000}s"]
        try:
            await self._program.call(arguments, timeout_ms=WARM_UP_TIMEOUT_MS)
            self._warm = True
            self._database = None
        except ScanFailed as error:
            self._warm_again_at = self._clock.monotonic() + WARM_UP_PAUSE_S
            log.warning("security.warm_up_failed", scanner=self.name, error=error.message)

    def _parse(self, output: bytes) -> Found:
        return parse(self._program.document(output))


def _login(target: Target) -> dict[str, str]:
    if target.login is None:
        return {}
    return {"TRIVY_USERNAME": target.login.username, "TRIVY_PASSWORD": target.login.password.reveal()}


def parse(document: dict[str, Any]) -> Found:
    """A Trivy report. `Results`, and `Vulnerabilities` in a result, are absent where there is nothing to say."""
    metadata = part(document.get("Metadata"))
    digests = [text.rpartition("@")[2] for text in metadata.get("RepoDigests") or [] if isinstance(text, str)]
    findings = [
        _finding(raw, text_of(result.get("Target")))
        for result in objects(document.get("Results"))
        for raw in objects(result.get("Vulnerabilities"))
    ]
    end_of_life = part(metadata.get("OS")).get("EOSL") is True
    return collect("trivy", findings, digests=digests, end_of_life=end_of_life)


def _finding(raw: dict[str, Any], target: str | None) -> Finding:
    return Finding(
        id=text_of(raw.get("VulnerabilityID")) or "unknown-vulnerability",
        severity=severity_of(raw.get("Severity")),
        target=target,
        package_name=text_of(raw.get("PkgName")),
        installed_version=text_of(raw.get("InstalledVersion")),
        fixed_version=text_of(raw.get("FixedVersion")),
        title=text_of(raw.get("Title")),
        primary_url=text_of(raw.get("PrimaryURL")),
        published_date=text_of(raw.get("PublishedDate")),
    )
