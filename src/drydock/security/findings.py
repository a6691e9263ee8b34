"""What a scanner found, before any policy: sorting, cutting, counting, merging, and judging by severities. Pure.

`Found` is what the digest cache keeps, so that a change of DD_SECURITY_BLOCK_SEVERITY takes effect without a new scan.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from drydock.core.times import to_iso
from drydock.security.model import RANK, Finding, RelativeGate, Scan, ScanStatus, Severity, Summary, Wire

STORED = 500
"""How many findings of one scan are kept (security.md §2)."""


class Found(Wire, frozen=True):
    """Everything one scan of one image said. `errors` is not empty when a scanner failed; `digests` name the image."""

    scanner: str
    findings: list[Finding]
    summary: Summary
    total: int
    digests: list[str] = msgspec.field(default_factory=list)
    end_of_life: bool = False
    errors: list[str] = msgspec.field(default_factory=list)


def severity_of(text: object) -> Severity:
    """Upper-cased; anything that is none of the five is `UNKNOWN`."""
    name = text.strip().upper() if isinstance(text, str) else ""
    return name if name in RANK else "UNKNOWN"  # type: ignore[return-value]  # membership was just tested


def count(findings: Iterable[Finding]) -> Summary:
    """How many of each severity."""
    seen = Counter(finding.severity for finding in findings)
    return Summary(
        unknown=seen["UNKNOWN"],
        low=seen["LOW"],
        medium=seen["MEDIUM"],
        high=seen["HIGH"],
        critical=seen["CRITICAL"],
    )


def collect(
    scanner: str,
    findings: Sequence[Finding],
    *,
    digests: Sequence[str] = (),
    end_of_life: bool = False,
    errors: Sequence[str] = (),
) -> Found:
    """Sort, worst first, and count."""
    worst = sorted(findings, key=lambda found: (RANK[found.severity], found.id, found.package_name or ""))
    return Found(
        scanner=scanner,
        findings=worst,
        summary=count(findings),
        total=len(findings),
        digests=list(digests),
        end_of_life=end_of_life,
        errors=list(errors),
    )


def trimmed(found: Found) -> Found:
    """The worst 500; the counts stay those of all. Findings are sorted before the cut, so no critical one is lost."""
    return msgspec.structs.replace(found, findings=found.findings[:STORED])


def merge(groups: Iterable[tuple[str, Sequence[Finding]]]) -> list[Finding]:
    """Findings of several scanners as one list: same id, target, package and version are one (security.md §3.3)."""
    merged: dict[tuple[str, str | None, str | None, str | None], Finding] = {}
    for scanner, findings in groups:
        for finding in findings:
            key = (finding.id, finding.target, finding.package_name, finding.installed_version)
            mine = msgspec.structs.replace(finding, scanners=[scanner])
            merged[key] = _join(merged[key], mine) if key in merged else mine
    return list(merged.values())


def _join(first: Finding, second: Finding) -> Finding:
    worse = min(first, second, key=lambda found: RANK[found.severity])
    return msgspec.structs.replace(
        first,
        severity=worse.severity,
        fixed_version=first.fixed_version or second.fixed_version,
        title=first.title or second.title,
        primary_url=first.primary_url or second.primary_url,
        published_date=first.published_date or second.published_date,
        scanners=sorted({*(first.scanners or []), *(second.scanners or [])}),
    )


def blocking(summary: Summary, severities: Iterable[str]) -> int:
    """How many findings are of a severity that blocks."""
    return sum(summary.of(severity) for severity in severities)


def status_of(blocking_count: int, failed: bool) -> ScanStatus:
    """`blocked` wins over `error`: findings that block are certain, whatever else failed (security.md §2)."""
    if blocking_count:
        return "blocked"
    return "error" if failed else "passed"


def judge(found: Found, image: str, digest: str | None, severities: Sequence[str], now_ms: int) -> Scan:
    """The scan as it is stored and shown, by the severities in force."""
    stopped_by = blocking(found.summary, severities)
    return Scan(
        scanner=found.scanner,
        image=image,
        image_digest=digest,
        scanned_at=to_iso(now_ms),
        status=status_of(stopped_by, bool(found.errors)),
        block_severities=list(severities),
        blocking_count=stopped_by,
        summary=found.summary,
        vulnerabilities=found.findings[:STORED],
        truncated=found.total > STORED,
        total=found.total if found.total > STORED else None,
        end_of_life=found.end_of_life,
        error="; ".join(found.errors) or None,
    )


def failed(scanner: str, error: str) -> Found:
    """Nothing is known, and why."""
    return collect(scanner, [], errors=[error])


def compare(candidate: Scan, current: Scan | None) -> RelativeGate:
    """Whether the candidate has no more findings of any severity than what runs now; None = nothing to compare."""
    if current is None:
        return RelativeGate(decision="blocked", reason="current-scan-unavailable")
    worse = any(candidate.summary.of(name) > current.summary.of(name) for name in RANK)
    return RelativeGate(
        decision="blocked" if worse else "passed",
        reason="candidate-worse" if worse else "no-worse-than-current",
        current_summary=current.summary,
    )
