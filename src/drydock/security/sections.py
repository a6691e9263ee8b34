"""Scanning, gate, signatures, SBOM (security.md §1)."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from typing import Literal

from drydock.config import kinds
from drydock.config.kinds import Kind
from drydock.config.reader import Reading
from drydock.config.schema import option, section
from drydock.config.source import Problem

SEVERITIES = ("UNKNOWN", "LOW", "MEDIUM", "HIGH", "CRITICAL")
DEFAULT_BLOCK = ("CRITICAL", "HIGH")
SBOM_FORMATS = ("spdx-json", "cyclonedx-json")


def arguments() -> Kind[tuple[str, ...]]:
    """A JSON array of non-empty strings."""

    def read(value: str) -> tuple[str, ...]:
        try:
            found = json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(value) from error
        if not isinstance(found, list) or not all(isinstance(one, str) and one.strip() for one in found):
            raise ValueError(value)
        return tuple(found)

    return Kind("JSON array", "a JSON array of strings", read)


def severities() -> Kind[tuple[str, ...]]:
    """A list of severities; unknown words are ignored, and without a known one the default holds. `NONE` is empty."""

    def read(value: str) -> tuple[str, ...]:
        words = [word.strip().upper() for word in value.split(",") if word.strip()]
        if words == ["NONE"]:
            return ()
        return tuple(dict.fromkeys(word for word in words if word in SEVERITIES)) or DEFAULT_BLOCK

    return Kind("list", f"NONE, or a comma-separated list of {', '.join(SEVERITIES)}", read)


def formats() -> Kind[tuple[str, ...]]:
    """A list of SBOM formats; unknown words are ignored."""

    def read(value: str) -> tuple[str, ...]:
        words = [word.strip().lower() for word in value.split(",") if word.strip()]
        known = tuple(dict.fromkeys(word for word in words if word in SBOM_FORMATS))
        if not known:
            raise ValueError(value)
        return known

    return Kind("list", f"a comma-separated list of {', '.join(SBOM_FORMATS)}", read)


def public_key() -> Kind[str]:
    """An existing file, or a URI that the cosign program understands (`k8s://`, `awskms://` …)."""

    def read(value: str) -> str:
        stripped = value.strip()
        if "://" in stripped:
            return stripped
        path = pathlib.Path(stripped)
        if ".." in path.parts or not path.is_file():
            raise ValueError(value)
        return stripped

    return Kind("key", "an existing regular file", read)


def empty_or(kind: Kind[str]) -> Kind[str | None]:
    """The kind, or nothing for an empty value."""
    return Kind(kind.name, f"empty or {kind.allowed}", lambda value: kind.read(value) if value.strip() else None)


@section("DD_SECURITY_", "Security", "Vulnerability scans, the update gate, signatures and SBOM.")
class SecuritySettings:
    """`DD_SECURITY_*`."""

    scanner: str | None = option(
        "SCANNER",
        empty_or(kinds.choice("trivy", "grype", "both")),
        default=None,
        help="Scanner program; empty switches scanning off.",
    )
    backend: str = option(
        "BACKEND",
        kinds.choice("command", "remote"),
        default="command",
        help="`command`: run the program here; `remote`: as client of a Trivy server.",
    )
    availability_policy: Literal["block", "warn"] = option(
        "AVAILABILITY_POLICY",
        kinds.choice("block", "warn"),
        default="block",
        help="What happens to an update when the scanner gives no answer.",
    )
    block_severity: tuple[str, ...] = option(
        "BLOCK_SEVERITY",
        severities(),
        default=DEFAULT_BLOCK,
        help="Severities that stop an update; `NONE` = advisory only.",
    )
    trivy_command: str = option("TRIVY_COMMAND", kinds.text(), default="trivy", help="Name or absolute path.")
    trivy_server: str | None = option(
        "TRIVY_SERVER", empty_or(kinds.url("http", "https")), default=None, help="Trivy server to ask."
    )
    trivy_timeout: int = option("TRIVY_TIMEOUT", kinds.integer(1000), default=600_000, help="Milliseconds per image.")
    trivy_args: tuple[str, ...] = option("TRIVY_ARGS", arguments(), default=(), help="Further arguments.")
    trivy_image_src: str | None = option(
        "TRIVY_IMAGE_SRC", empty_or(kinds.text()), default=None, help="Value of Trivy's `--image-src`."
    )
    grype_command: str = option("GRYPE_COMMAND", kinds.text(), default="grype", help="Name or absolute path.")
    grype_timeout: int = option("GRYPE_TIMEOUT", kinds.integer(1000), default=600_000, help="Milliseconds per image.")
    grype_args: tuple[str, ...] = option("GRYPE_ARGS", arguments(), default=(), help="Further arguments.")
    syft_command: str = option("SYFT_COMMAND", kinds.text(), default="syft", help="Name or absolute path.")
    syft_timeout: int = option("SYFT_TIMEOUT", kinds.integer(1000), default=600_000, help="Milliseconds per image.")
    syft_args: tuple[str, ...] = option("SYFT_ARGS", arguments(), default=(), help="Further arguments.")
    verify_signatures: bool = option(
        "VERIFY_SIGNATURES", kinds.boolean(), default=False, help="Verify cosign signatures before an update."
    )
    cosign_command: str = option("COSIGN_COMMAND", kinds.text(), default="cosign", help="Name or absolute path.")
    cosign_timeout: int = option("COSIGN_TIMEOUT", kinds.integer(1000), default=60_000, help="Milliseconds per image.")
    cosign_key: str | None = option(
        "COSIGN_KEY",
        empty_or(public_key()),
        default=None,
        help="Public key file; with it no program is needed. Empty = keyless.",
    )
    cosign_identity: str | None = option(
        "COSIGN_IDENTITY", empty_or(kinds.text()), default=None, help="Identity that keyless signatures must have."
    )
    cosign_issuer: str | None = option(
        "COSIGN_ISSUER", empty_or(kinds.text()), default=None, help="Issuer that keyless signatures must have."
    )
    sbom_enabled: bool = option("SBOM_ENABLED", kinds.boolean(), default=False, help="Generate an SBOM with each scan.")
    sbom_formats: tuple[str, ...] = option(
        "SBOM_FORMATS", formats(), default=("spdx-json",), help="Formats generated with each scan.", lenient=True
    )
    sbom_generator: str = option(
        "SBOM_GENERATOR",
        kinds.choice("auto", "trivy", "syft"),
        default="auto",
        help="`auto`: Trivy, but Syft where Grype is the scanner.",
    )
    scan_cron: str | None = option(
        "SCAN_CRON", kinds.cron(), default=None, help="When all containers are scanned (UTC).", lenient=True
    )
    scan_jitter: int = option(
        "SCAN_JITTER", kinds.integer(0), default=60_000, help="Random delay before a scheduled scan, milliseconds."
    )
    scan_concurrency: int = option("SCAN_CONCURRENCY", kinds.integer(1), default=4, help="Scans at a time.")
    scan_batch_timeout: int = option(
        "SCAN_BATCH_TIMEOUT",
        kinds.integer(0),
        default=1_800_000,
        help="Milliseconds until a scheduled cycle is stopped; 0 = never.",
    )
    scan_notifications: bool = option(
        "SCAN_NOTIFICATIONS", kinds.boolean(), default=False, help="Scheduled scans may send alerts."
    )
    scan_digest_cache_max_entries: int | None = option(
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
    prune_onblock: bool = option(
        "PRUNE_ONBLOCK", kinds.boolean(), default=True, help="Remove a pulled image that the gate refused."
    )

    @staticmethod
    def problems(reading: Reading[SecuritySettings]) -> Iterator[Problem]:
        """Rules that involve two variables, and words of lists that were ignored."""
        settings = reading.settings
        if settings is None:
            return
        if settings.backend == "remote" and not (settings.scanner == "trivy" and settings.trivy_server):
            needs = "remote requires DD_SECURITY_SCANNER=trivy and DD_SECURITY_TRIVY_SERVER"
            yield Problem("DD_SECURITY_BACKEND", needs, fatal=True)
        for variable, known in (("BLOCK_SEVERITY", (*SEVERITIES, "NONE")), ("SBOM_FORMATS", SBOM_FORMATS)):
            name = f"DD_SECURITY_{variable}"
            given = next((line.value for line in reading.effective if line.variable == name), "")
            allowed = {word.lower() for word in known}
            ignored = [
                word.strip() for word in given.split(",") if word.strip() and word.strip().lower() not in allowed
            ]
            if ignored:
                yield Problem(name, f"{', '.join(ignored)} is not known and ignored; known are {', '.join(known)}")
