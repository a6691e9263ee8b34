"""Grype as a program (security.md §3.3)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from drydock.config import kinds
from drydock.config.schema import option, section
from drydock.security.findings import Found, collect, severity_of
from drydock.security.model import Finding
from drydock.security.scanners.base import ProgramSettings, Target, further_arguments
from drydock.security.scanners.program import ScannerProgram, digests, objects, part, text_of


@section("DD_SECURITY_GRYPE_", "Grype", "How the Grype program is called.")
class GrypeSettings(ProgramSettings):
    """`DD_SECURITY_GRYPE_*`."""

    command: str = option("COMMAND", kinds.text(), default="grype", help="Name or absolute path.")
    args: tuple[str, ...] = further_arguments()


class Grype(ScannerProgram[GrypeSettings]):
    """The scanner of this name; it reads images from their registry, and keeps its database fresh by itself."""

    name = "grype"
    title = "Grype"
    section = GrypeSettings
    protected = ("-o", "--output", "-f", "--file")
    generator = "syft"
    database_question = ("db", "status", "-o", "json")

    async def scan(self, target: Target) -> Found:
        """Vulnerabilities of all severities."""
        arguments = ["--output", "json", *self.extra(), f"registry:{target.reference}"]
        output = await self.call(arguments, target, registry_login(target))
        return await asyncio.to_thread(lambda: parse(self.document(output)))

    @staticmethod
    def built_at(document: dict[str, Any]) -> str | None:
        """Releases differ in where they put it."""
        places = (document, part(document.get("database")), part(document.get("db")))
        return next((built for place in places if (built := text_of(place.get("built")))), None)


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
    findings = [_finding(match) for match in objects(document.get("matches"))]
    return collect("grype", findings, digests=digests(target.get("repoDigests")))


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
