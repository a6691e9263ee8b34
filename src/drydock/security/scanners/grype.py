"""Grype as a program (security.md §3.3)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import structlog

from drydock.clock import Clock
from drydock.core.errors import ScanFailed
from drydock.security.commands import check_extra, check_reference
from drydock.security.findings import Found, collect, severity_of
from drydock.security.model import Finding
from drydock.security.scanners.base import ProgramOptions, Target
from drydock.security.scanners.program import Program, objects, part, text_of

log = structlog.get_logger("security.grype")

PROTECTED = ("-o", "--output", "-f", "--file")
DATABASE_TIMEOUT_MS = 10_000
DATABASE_KEPT_S = 300.0


class Grype:
    """The scanner of this name; it reads images from their registry."""

    name = "grype"

    def __init__(self, options: ProgramOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._program = Program("Grype", options)
        self._database: tuple[float, str | None] | None = None

    async def scan(self, target: Target) -> Found:
        """Vulnerabilities of all severities."""
        extra = check_extra("Grype", self._options.extra, PROTECTED)
        reference = check_reference(target.reference)
        output = await self._program.call(
            ["--output", "json", *extra, f"registry:{reference}"], target, registry_login(target)
        )
        return await asyncio.to_thread(self._parse, output)

    async def prepare(self) -> None:
        """Nothing: Grype keeps its database fresh by itself."""

    async def version(self) -> str | None:
        return await self._program.version()

    async def database(self) -> str | None:
        """When the database was built, asked at most every five minutes."""
        now = self._clock.monotonic()
        if self._database is None or now - self._database[0] > DATABASE_KEPT_S:
            self._database = (now, await self._ask_database())
        return self._database[1]

    async def _ask_database(self) -> str | None:
        try:
            output = await self._program.call(["db", "status", "-o", "json"], timeout_ms=DATABASE_TIMEOUT_MS)
            document = self._program.document(output)
        except ScanFailed as error:
            log.warning("security.database_unknown", scanner=self.name, error=error.message)
            return None
        places = (document, part(document.get("database")), part(document.get("db")))
        return next((built for place in places if (built := text_of(place.get("built")))), None)

    def _parse(self, output: bytes) -> Found:
        return parse(self._program.document(output))


def registry_login(target: Target) -> dict[str, str]:
    """The login as Grype and Syft read it."""
    if target.login is None:
        return {}
    return {
        "SYFT_REGISTRY_AUTH_AUTHORITY": target.registry,
        "SYFT_REGISTRY_AUTH_USERNAME": target.login.username,
        "SYFT_REGISTRY_AUTH_PASSWORD": target.login.password.reveal(),
    }


def parse(document: dict[str, Any]) -> Found:
    """A Grype report."""
    target = part(part(document.get("source")).get("target"))
    digests = [text.rpartition("@")[2] for text in target.get("repoDigests") or [] if isinstance(text, str)]
    return collect("grype", [_finding(match) for match in objects(document.get("matches"))], digests=digests)


def _finding(match: dict[str, Any]) -> Finding:
    vulnerability, artifact = part(match.get("vulnerability")), part(match.get("artifact"))
    paths = _sorted(place.get("path") for place in objects(artifact.get("locations")))
    urls = vulnerability.get("urls")
    return Finding(
        id=text_of(vulnerability.get("id")) or "unknown-vulnerability",
        severity=severity_of(vulnerability.get("severity")),
        target=paths[0] if paths else None,
        package_name=text_of(artifact.get("name")),
        installed_version=text_of(artifact.get("version")),
        fixed_version=", ".join(_sorted(part(vulnerability.get("fix")).get("versions") or [])) or None,
        title=text_of(vulnerability.get("description")),
        primary_url=text_of(vulnerability.get("dataSource")) or next(iter(_sorted(urls or [])), None),
    )


def _sorted(values: Iterable[object]) -> list[str]:
    return sorted({value for value in values if isinstance(value, str) and value})
