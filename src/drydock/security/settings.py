"""Scanning, gate, signatures, SBOM (security.md §1). The programs declare theirs: `scanners/`, `signatures/cosign.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

from drydock.config import kinds
from drydock.config.kinds import Kind
from drydock.config.reader import Reading
from drydock.config.schema import option, section
from drydock.config.source import Problem
from drydock.security.model import FORMATS, WORST_FIRST, SbomFormat, Severity
from drydock.security.scanners import AUTO, CHOICES, GENERATOR_CHOICES
from drydock.security.scanners.base import empty_or
from drydock.security.scanners.trivy import Trivy, TrivySettings

SEVERITIES: tuple[Severity, ...] = WORST_FIRST[::-1]
DEFAULT_BLOCK: tuple[Severity, ...] = ("CRITICAL", "HIGH")


def severities() -> Kind[tuple[str, ...]]:
    """A list of severities; unknown words are ignored, and without a known one the default holds. `NONE` is empty."""

    def read(value: str) -> tuple[str, ...]:
        words = [word.strip().upper() for word in value.split(",") if word.strip()]
        if words == ["NONE"]:
            return ()
        return tuple(dict.fromkeys(word for word in words if word in SEVERITIES)) or DEFAULT_BLOCK

    return Kind("list", f"NONE, or a comma-separated list of {', '.join(SEVERITIES)}", read)


def formats() -> Kind[tuple[SbomFormat, ...]]:
    """A list of SBOM formats; unknown words are ignored."""

    def read(value: str) -> tuple[SbomFormat, ...]:
        words = [word.strip().lower() for word in value.split(",") if word.strip()]
        known = tuple(form for word in dict.fromkeys(words) for form in FORMATS if form == word)
        if not known:
            raise ValueError(value)
        return known

    return Kind("list", f"a comma-separated list of {', '.join(FORMATS)}", read)


@section("DD_SECURITY_", "Security", "Vulnerability scans, the update gate, signatures and SBOM.")
class SecuritySettings:
    """`DD_SECURITY_*`."""

    scanner: str | None = option(
        "SCANNER",
        empty_or(kinds.choice(*CHOICES)),
        default=None,
        help="Scanner program; empty switches scanning off.",
    )
    backend: Literal["command", "remote"] = option(
        "BACKEND",
        kinds.choice("command", "remote"),
        default="command",
        help="`command`: run the program here; `remote`: as client of a Trivy server.",
    )
    availability: Literal["block", "warn"] = option(
        "AVAILABILITY_POLICY",
        kinds.choice("block", "warn"),
        default="block",
        help="What happens to an update when the scanner fails.",
    )
    block_severities: tuple[str, ...] = option(
        "BLOCK_SEVERITY",
        severities(),
        default=DEFAULT_BLOCK,
        help="Severities that stop an update; `NONE` = advisory only.",
    )
    verify_signatures: bool = option(
        "VERIFY_SIGNATURES", kinds.boolean(), default=False, help="Verify cosign signatures before an update."
    )
    sbom_enabled: bool = option("SBOM_ENABLED", kinds.boolean(), default=False, help="Generate an SBOM with each scan.")
    sbom_formats: tuple[SbomFormat, ...] = option(
        "SBOM_FORMATS", formats(), default=("spdx-json",), help="Formats generated with each scan.", lenient=True
    )
    sbom_generator: str = option(
        "SBOM_GENERATOR",
        kinds.choice(*GENERATOR_CHOICES),
        default=AUTO,
        help="`auto`: Trivy, but Syft where Grype is the scanner.",
    )
    scan_cron: str | None = option(
        "SCAN_CRON", kinds.cron(), default=None, help="When all containers are scanned (UTC).", lenient=True
    )
    scan_jitter_s: float = option(
        "SCAN_JITTER", kinds.milliseconds(), default=60.0, help="Random delay before a scheduled scan, milliseconds."
    )
    scan_concurrency: int = option("SCAN_CONCURRENCY", kinds.integer(1), default=4, help="Scans at a time.")
    scan_batch_timeout_s: float = option(
        "SCAN_BATCH_TIMEOUT",
        kinds.milliseconds(),
        default=1800.0,
        help="Milliseconds until a scheduled cycle is stopped; 0 = never.",
    )
    scan_notifications: bool = option(
        "SCAN_NOTIFICATIONS", kinds.boolean(), default=False, help="Scheduled scans may send alerts."
    )
    cache_entries: int | None = option(
        "SCAN_DIGEST_CACHE_MAX_ENTRIES",
        kinds.integer(1),
        default=None,
        help="Scan results kept by digest; default DD_DEFAULT_CACHE_MAX_ENTRIES.",
        lenient=True,
    )
    gate_mode: Literal["on", "off"] = option(
        "GATE_MODE", kinds.choice("on", "off"), default="on", help="Whether updates wait for a scan that passes."
    )
    gate_relative: bool = option(
        "GATE_RELATIVE",
        kinds.boolean(),
        default=False,
        help="Let a candidate pass that is no worse than the running image.",
    )
    prune_refused: bool = option(
        "PRUNE_ONBLOCK", kinds.boolean(), default=True, help="Remove a pulled image that the gate blocked."
    )

    @staticmethod
    def problems(reading: Reading[SecuritySettings]) -> Iterator[Problem]:
        """Words of lists that were ignored."""
        for variable, known in (("BLOCK_SEVERITY", (*SEVERITIES, "NONE")), ("SBOM_FORMATS", FORMATS)):
            name = f"DD_SECURITY_{variable}"
            given = next((line.value for line in reading.effective if line.variable == name), "")
            allowed = {word.lower() for word in known}
            ignored = [
                word.strip() for word in given.split(",") if word.strip() and word.strip().lower() not in allowed
            ]
            if ignored:
                yield Problem(name, f"{', '.join(ignored)} is not known and ignored; known are {', '.join(known)}")

    @staticmethod
    def conflicts(read: Callable[[type[Any]], Any]) -> Iterator[Problem]:
        """A remote backend needs its server."""
        security, trivy = read(SecuritySettings), read(TrivySettings)
        if security is None or trivy is None or security.backend != "remote":
            return
        if security.scanner != Trivy.name or not trivy.server:
            needs = "remote requires DD_SECURITY_SCANNER=trivy and DD_SECURITY_TRIVY_SERVER"
            yield Problem("DD_SECURITY_BACKEND", needs, fatal=True)
