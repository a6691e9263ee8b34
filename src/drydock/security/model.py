"""The stored state `container.security` as typed values, wire names included (container-api.md §2.11, security.md §2).

The record itself keeps a plain dict, because rooms below this one store and send it; `read` converts.
"""

from __future__ import annotations

import contextlib
from typing import Any, Literal

import msgspec

Severity = Literal["UNKNOWN", "LOW", "MEDIUM", "HIGH", "CRITICAL"]
WORST_FIRST: tuple[Severity, ...] = ("CRITICAL", "HIGH", "MEDIUM", "LOW", "UNKNOWN")
RANK: dict[str, int] = {name: place for place, name in enumerate(WORST_FIRST)}

ScanStatus = Literal["passed", "blocked", "error"]
SbomFormat = Literal["spdx-json", "cyclonedx-json"]
FORMATS: tuple[SbomFormat, ...] = ("spdx-json", "cyclonedx-json")


class Wire(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Base: immutable, camelCase, fields that do not apply are omitted."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """How many findings of each severity; every count is always present."""

    unknown: int
    low: int
    medium: int
    high: int
    critical: int

    def of(self, severity: str) -> int:
        """The count of one severity."""
        count: int = getattr(self, severity.lower())
        return count

    @property
    def serious(self) -> int:
        """Critical and high together: what alerts and counters go by."""
        return self.critical + self.high

    def text(self) -> str:
        """`critical=1, high=4, medium=0, low=2, unknown=0`."""
        return ", ".join(f"{name.lower()}={self.of(name)}" for name in WORST_FIRST)


NOTHING_FOUND = Summary(unknown=0, low=0, medium=0, high=0, critical=0)


class Finding(Wire, frozen=True):
    """One vulnerability of one package."""

    id: str
    severity: Severity
    target: str | None = None
    package_name: str | None = None
    installed_version: str | None = None
    fixed_version: str | None = None
    title: str | None = None
    primary_url: str | None = None
    published_date: str | None = None
    scanners: list[str] | None = None


class RelativeGate(Wire, frozen=True):
    """Whether the candidate is no worse than what runs now (security.md §4 step 3)."""

    decision: Literal["passed", "blocked"]
    reason: Literal["no-worse-than-current", "candidate-worse", "current-scan-unavailable"]
    current_summary: Summary | None = None


class Scan(Wire, frozen=True):
    """The result of one scan, judged by the severities in force when it was written.

    `vulnerabilities` holds at most 500, worst first; `truncated` and `total` appear when more were found. `summary`
    counts all of them.
    """

    scanner: str
    image: str
    scanned_at: str
    status: ScanStatus
    block_severities: list[str]
    blocking_count: int
    summary: Summary
    vulnerabilities: list[Finding]
    image_digest: str | None = None
    truncated: bool = False
    total: int | None = None
    relative_gate: RelativeGate | None = None
    end_of_life: bool = False
    error: str | None = None


class Signature(Wire, frozen=True):
    """What the verifier said about an image."""

    verifier: Literal["cosign"]
    image: str
    verified_at: str
    status: Literal["verified", "unverified", "error"]
    keyless: bool
    signatures: int
    error: str | None = None


class DocumentRef(Wire, frozen=True):
    """Where a stored SBOM document is, and what it must be."""

    key: str
    sha256: str
    bytes: int


class Sbom(Wire, frozen=True):
    """Which SBOM documents of an image exist; never the documents themselves."""

    generator: str
    image: str
    generated_at: str
    status: Literal["generated", "error"]
    formats: list[str]
    subject_digest: str | None = None
    document_refs: dict[str, DocumentRef] | None = None
    error: str | None = None


class Security(Wire, frozen=True):
    """All six slots: the running image, and the candidate (`update_…`)."""

    scan: Scan | None = None
    signature: Signature | None = None
    sbom: Sbom | None = None
    update_scan: Scan | None = None
    update_signature: Signature | None = None
    update_sbom: Sbom | None = None


def read(stored: dict[str, Any] | None) -> Security:
    """The typed form. A slot that cannot be read (written by another release) counts as absent: scan again."""
    slots: dict[str, Any] = {}
    for field, wire in zip(Security.__struct_fields__, Security.__struct_encode_fields__, strict=True):
        value = (stored or {}).get(wire)
        if value is not None:
            with contextlib.suppress(msgspec.ValidationError):
                slots[field] = msgspec.convert(value, _TYPES[field])
    return Security(**slots)


_TYPES: dict[str, type[Any]] = {
    "scan": Scan,
    "signature": Signature,
    "sbom": Sbom,
    "update_scan": Scan,
    "update_signature": Signature,
    "update_sbom": Sbom,
}
