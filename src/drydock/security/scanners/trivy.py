"""Trivy as a program, stand-alone or as client of a Trivy server (security.md §3.1, §3.2).

One Trivy at a time works on a cache folder. Where the binary knows `--cache-backend`, scans keep their cache in memory
and run in parallel.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import structlog

from drydock.clock import Clock
from drydock.config import kinds
from drydock.config.schema import option, section
from drydock.core.errors import ScanFailed
from drydock.security.findings import Found, collect, severity_of
from drydock.security.model import WORST_FIRST, Finding, SbomFormat
from drydock.security.scanners.base import ProgramSettings, Target, empty_or, further_arguments
from drydock.security.scanners.program import QUESTION_TIMEOUT_S, ScannerProgram, digests, objects, part, text_of

log = structlog.get_logger("security.trivy")

FORMAT_NAMES: dict[SbomFormat, str] = {"spdx-json": "spdx-json", "cyclonedx-json": "cyclonedx"}
WARM_UP_TIMEOUT_S = 600.0
WARM_UP_PAUSE_S = 900.0
"""How long a failed download of the database is not tried again (security.md §3.1)."""
TRUE_WORDS = ("1", "t", "true", "yes", "on")
"""What Trivy itself reads as true."""


@section("DD_SECURITY_TRIVY_", "Trivy", "How the Trivy program is called.")
class TrivySettings(ProgramSettings):
    """`DD_SECURITY_TRIVY_*`."""

    command: str = option("COMMAND", kinds.text(), default="trivy", help="Name or absolute path.")
    args: tuple[str, ...] = further_arguments()
    server: str | None = option(
        "SERVER", empty_or(kinds.url("http", "https")), default=None, help="Trivy server to ask."
    )
    image_src: str | None = option(
        "IMAGE_SRC", empty_or(kinds.text()), default=None, help="Value of Trivy's `--image-src`."
    )


class Trivy(ScannerProgram[TrivySettings]):
    """The scanner and the SBOM generator of this name."""

    name = "trivy"
    title = "Trivy"
    section = TrivySettings
    protected = ("-f", "-o", "-s", "--format", "--output", "--timeout", "--server", "--scanners", "--severity")
    generator = "trivy"
    database_question = ("version", "--format", "json")

    def __init__(self, settings: TrivySettings, environ: Mapping[str, str], clock: Clock, parallel: int = 4) -> None:
        super().__init__(settings, environ, clock, parallel)
        self._turns = asyncio.Semaphore(1)
        self._memory_cache: bool | None = None
        self._preparing = asyncio.Lock()
        self._warm = False
        self._warm_again_at = 0.0

    @property
    def server(self) -> str:
        return self.settings.server or ""

    async def scan(self, target: Target) -> Found:
        """Vulnerabilities of all severities; the policy judges later."""
        wanted = ["--scanners", "vuln", "--severity", ",".join(reversed(WORST_FIRST))]
        async with self._turn() as cache:
            await self._warm_up()
            output = await self._image("json", [*wanted, *cache], target)
        return await asyncio.to_thread(lambda: parse(self.document(output)))

    async def sbom(self, target: Target, form: SbomFormat) -> bytes:
        """A document of that format; needs no vulnerability database."""
        async with self._turn() as cache:
            return await self._image(FORMAT_NAMES[form], cache, target)

    async def prepare(self) -> None:
        """Load the vulnerability database ahead of the first scan."""
        async with self._turn():
            await self._warm_up()

    @staticmethod
    def built_at(document: dict[str, Any]) -> str | None:
        """`VulnerabilityDB.UpdatedAt`."""
        return text_of(part(document.get("VulnerabilityDB")).get("UpdatedAt"))

    async def _image(self, form: str, flags: Sequence[str], target: Target) -> bytes:
        settings = self.settings
        login = {}
        if target.login is not None:
            login = {"TRIVY_USERNAME": target.login.username, "TRIVY_PASSWORD": target.login.password.reveal()}
        arguments = ["image", "--quiet", "--format", form, "--timeout", f"{math.ceil(settings.timeout_s)}s", *flags]
        arguments += ["--server", settings.server] if settings.server else []
        arguments += ["--image-src", settings.image_src] if settings.image_src else []
        return await self.call([*arguments, *self.extra(), target.reference], target, login)

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[list[str]]:
        """Wait, first come first served, until Trivy may start; yields the flags that choose the cache."""
        async with self._preparing:
            if self._memory_cache is None:
                self._memory_cache = await self._offers_memory_cache()
                # A cache in memory, or on a server, is no folder that two of them could spoil.
                many = self._memory_cache or bool(self.server)
                self._turns = asyncio.Semaphore(self._parallel if many else 1)
        async with self._turns:
            yield ["--cache-backend", "memory"] if self._memory_cache else []

    async def _offers_memory_cache(self) -> bool:
        """A server keeps the cache itself, and an operator's own choice of cache stands."""
        chosen = any(argument.split("=")[0] == "--cache-backend" for argument in self.settings.args)
        if self.server or chosen or "TRIVY_CACHE_BACKEND" in self._environ:
            return False
        try:
            output = await self.call(["image", "--help"], timeout_s=QUESTION_TIMEOUT_S)
        except ScanFailed:
            return False
        return b"--cache-backend" in output

    async def _warm_up(self) -> None:
        """Load the database before the first scan. A failure is logged and tried again after 15 minutes."""
        if self.server or self._environ.get("TRIVY_SKIP_DB_UPDATE", "").lower() in TRUE_WORDS:
            return
        async with self._preparing:
            if self._warm or self._clock.monotonic() < self._warm_again_at:
                return
            arguments = ["image", "--download-db-only", "--timeout", f"{round(WARM_UP_TIMEOUT_S)}s"]
            try:
                await self.call(arguments, timeout_s=WARM_UP_TIMEOUT_S)
                self._warm = True
                self._database = None
            except ScanFailed as error:
                self._warm_again_at = self._clock.monotonic() + WARM_UP_PAUSE_S
                log.warning("security.warm_up_failed", scanner=self.name, error=error.message)


def parse(document: dict[str, Any]) -> Found:
    """A Trivy report. `Results`, and `Vulnerabilities` in a result, are absent where there is nothing to say."""
    metadata = part(document.get("Metadata"))
    findings = [
        Finding(
            id=text_of(raw.get("VulnerabilityID")) or "unknown-vulnerability",
            severity=severity_of(raw.get("Severity")),
            target=text_of(result.get("Target")),
            package_name=text_of(raw.get("PkgName")),
            installed_version=text_of(raw.get("InstalledVersion")),
            fixed_version=text_of(raw.get("FixedVersion")),
            title=text_of(raw.get("Title")),
            primary_url=text_of(raw.get("PrimaryURL")),
            published_date=text_of(raw.get("PublishedDate")),
        )
        for result in objects(document.get("Results"))
        for raw in objects(result.get("Vulnerabilities"))
    ]
    end_of_life = part(metadata.get("OS")).get("EOSL") is True
    return collect("trivy", findings, digests=digests(metadata.get("RepoDigests")), end_of_life=end_of_life)
