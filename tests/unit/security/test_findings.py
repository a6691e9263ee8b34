"""Counting, cutting, merging and judging."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drydock.security.findings import (
    STORED,
    blocking,
    collect,
    compare,
    failed,
    judge,
    merge,
    severity_of,
    status_of,
    trimmed,
)
from drydock.security.model import RANK, WORST_FIRST, Finding, Summary

findings = st.lists(
    st.builds(Finding, id=st.text("CVE-0123456789", min_size=1, max_size=8), severity=st.sampled_from(WORST_FIRST)),
    max_size=30,
)


def summary(**counts: int) -> Summary:
    return Summary(**{"unknown": 0, "low": 0, "medium": 0, "high": 0, "critical": 0, **counts})


@pytest.mark.parametrize(
    ("text", "expected"),
    [("high", "HIGH"), (" Critical ", "CRITICAL"), ("Negligible", "UNKNOWN"), ("", "UNKNOWN"), (None, "UNKNOWN")],
)
def test_severities(text: object, expected: str) -> None:
    assert severity_of(text) == expected


def test_the_cut_at_500_keeps_the_criticals_that_came_last() -> None:
    many = [Finding(id=f"CVE-{n:05}", severity="LOW") for n in range(3000)]
    worst = [Finding(id=f"CVE-9{n:04}", severity="CRITICAL") for n in range(7)]
    scan = judge(trimmed(collect("trivy", [*many, *worst])), "x:1", None, ["CRITICAL"], 0)
    assert [found.id for found in scan.vulnerabilities[:7]] == [found.id for found in worst]
    assert (len(scan.vulnerabilities), scan.truncated, scan.total) == (STORED, True, 3007)
    assert (scan.summary.low, scan.summary.critical, scan.blocking_count) == (3000, 7, 7)


@given(findings)
def test_nothing_is_lost_in_the_counts(some: list[Finding]) -> None:
    found = collect("trivy", some)
    assert sum(found.summary.of(name) for name in WORST_FIRST) == found.total == len(some)
    ranks = [RANK[one.severity] for one in found.findings]
    assert ranks == sorted(ranks)


@given(findings, findings)
def test_merging_with_itself_adds_nothing_and_never_lowers(first: list[Finding], second: list[Finding]) -> None:
    merged = merge([("trivy", first), ("grype", second)])
    by_id = {one.id: one for one in merged}
    assert len(by_id) == len(merged)
    for one in [*first, *second]:
        assert RANK[by_id[one.id].severity] <= RANK[one.severity]


def test_merge_takes_the_worse_severity_and_the_first_text() -> None:
    key = {"id": "CVE-1", "target": "/a", "package_name": "p", "installed_version": "1"}
    ours = Finding(**key, severity="LOW", title="first")
    theirs = Finding(**key, severity="HIGH", title="second", fixed_version="2")
    merged = merge([("trivy", [ours]), ("grype", [theirs])])
    assert merged == [
        Finding(**key, severity="HIGH", title="first", fixed_version="2", scanners=["grype", "trivy"]),
    ]


@pytest.mark.parametrize(
    ("count", "failing", "status"),
    [(0, False, "passed"), (0, True, "error"), (2, False, "blocked"), (2, True, "blocked")],
)
def test_blocked_wins_over_error(count: int, failing: bool, status: str) -> None:
    assert status_of(count, failing) == status


def test_none_blocks_nothing() -> None:
    found = collect("trivy", [Finding(id="CVE-1", severity="CRITICAL")])
    assert judge(found, "x:1", None, [], 0).status == "passed"
    assert blocking(found.summary, ["HIGH", "CRITICAL"]) == 1


def test_a_failure_is_an_error_with_its_text() -> None:
    scan = judge(failed("trivy", "no database"), "x:1", "sha256:1", ["CRITICAL"], 0)
    assert (scan.status, scan.error, scan.image_digest) == ("error", "no database", "sha256:1")


def test_relative_gate() -> None:
    def scan(**counts: int):
        severities = [s.upper() for s, n in counts.items() for _ in range(n)]
        found = collect("trivy", [Finding(id=str(i), severity=severity_of(s)) for i, s in enumerate(severities)])
        return judge(found, "x", None, ["CRITICAL", "HIGH"], 0)

    same = compare(scan(high=1, low=2), scan(high=1, low=2))
    assert (same.decision, same.reason) == ("passed", "no-worse-than-current")
    assert same.current_summary == summary(high=1, low=2)
    assert compare(scan(high=1), scan(critical=1, high=1)).decision == "passed"
    worse = compare(scan(high=1, low=1), scan(high=2))
    assert (worse.decision, worse.reason) == ("blocked", "candidate-worse")
    unknown = compare(scan(high=1), None)
    assert (unknown.decision, unknown.reason) == ("blocked", "current-scan-unavailable")
