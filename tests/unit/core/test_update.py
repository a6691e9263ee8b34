"""Raw updates, kinds, identities, links and redaction (watching.md §8; container-api.md §1.13)."""

from __future__ import annotations

from typing import Any

import pytest

from drydock.core.model import Details, EnvEntry, Result, UpdateInsight, UpdatePolicy
from drydock.core.policy.suppression import is_available
from drydock.core.redact import is_sensitive, redact
from drydock.core.update import candidate_identity, has_raw_update, update_kind
from drydock.core.view import render
from unit.core.build import NOW, container

T1, T2 = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


@pytest.mark.parametrize(
    ("fields", "result", "policy", "available", "kind"),
    [
        ({"tag": "1.4.0"}, Result(tag="1.5.0"), None, True, ("tag", "minor")),
        ({"tag": "1.4.0"}, Result(tag="1.5.0"), UpdatePolicy(skip_tags=["1.5.0"]), False, ("tag", "minor")),
        ({"tag": "1.4.0"}, Result(tag="1.6.0"), UpdatePolicy(skip_tags=["1.5.0"]), True, ("tag", "minor")),
        ({"tag": "latest", "value": "d1"}, Result(tag="latest", digest="d2"), None, True, ("digest", "unknown")),
        (
            {"tag": "latest", "value": "d1"},
            Result(tag="latest", digest="d2"),
            UpdatePolicy(skip_digests=["d2"]),
            False,
            ("digest", "unknown"),
        ),
        ({"tag": "1.4.0", "value": "d1"}, Result(tag="1.5.0", digest="d2"), None, True, ("tag", "minor")),
        ({"tag": "1.4.0", "value": "d1"}, Result(tag="1.4.0", digest="d1"), None, False, ("unknown", "unknown")),
        ({"tag": "1.4.0", "value": "d1"}, Result(digest="d2"), None, True, ("digest", "unknown")),
        ({"tag": "1.4.0"}, Result(), None, False, ("unknown", "unknown")),
        ({"tag": "v1", "created": T1}, Result(created=T2), None, True, ("unknown", "unknown")),
        (
            {"tag": "1.4.0"},
            Result(tag="1.4.0", update_insight=UpdateInsight(tag="2.0.0", kind="major")),
            None,
            False,
            ("unknown", "unknown"),
        ),
        ({"tag": "nightly"}, Result(tag="v1.2.3"), None, True, ("tag", "unknown")),
        (
            {"tag": "1.4.0"},
            Result(tag="1.5.0"),
            UpdatePolicy(snooze_until="2026-02-13T00:00:00Z"),
            False,
            ("tag", "minor"),
        ),
        (
            {"tag": "v1.4.0", "transform_tags": "^v(.+)$ => $1"},
            Result(tag="1.4.0"),
            None,
            False,
            ("unknown", "unknown"),
        ),
    ],
)
def test_availability_and_kind(
    fields: dict[str, Any],
    result: Result,
    policy: UpdatePolicy | None,
    available: bool,
    kind: tuple[str, str],
) -> None:
    record = container(**fields, result=result, update_policy_overrides=policy)
    found = update_kind(record)
    assert is_available(record, NOW) is available
    assert (found.kind, found.semver_diff) == kind
    assert (found.remote_value is None) == (found.kind == "unknown")


def test_no_result_is_no_update() -> None:
    assert not has_raw_update(container())
    assert update_kind(container()).kind == "unknown"
    assert candidate_identity(container()) is None


def test_build_dates_decide_only_without_digests() -> None:
    result = Result(tag="1.4.0", digest="d1", created=T2)
    assert not has_raw_update(container(value="d1", created=T1, result=result))
    assert has_raw_update(container(value=None, created=T1, result=result))
    same_instant = Result(tag="1.4.0", created="2026-01-01T00:00:00.000999Z")
    assert not has_raw_update(container(created=T1, result=same_instant))


def test_digests_count_only_while_they_are_watched() -> None:
    assert not has_raw_update(container(value="d1", watch=False, result=Result(tag="1.4.0", digest="d2")))


@pytest.mark.parametrize(
    ("local", "remote", "expected"),
    [
        ("5.14.0.8821-ls240", "5.14.0.9017-ls244", "prerelease"),
        ("1.2.3-ls99", "1.2.3-ls100", "prerelease"),
        ("2024-06-01", "2024-09-30", "prerelease"),
        ("1.2.3_8-jre", "1.2.3_11-jre", "prerelease"),
        ("22.04", "24.10", "unknown"),
        ("2.0.0-rc.1", "2.1.0-rc.1", "minor"),
        ("3.3", "3.3.0", "unknown"),
    ],
)
def test_severity_follows_the_natural_order(local: str, remote: str, expected: str) -> None:
    assert update_kind(container(local, Result(tag=remote))).semver_diff == expected


def test_identity_ignores_suggestions_and_dates_beside_a_digest() -> None:
    one = container(result=Result(tag="1", digest="d", created=T1, suggested_tag="2"))
    two = container(result=Result(tag="1", digest="d", created=T2))
    assert candidate_identity(one) == candidate_identity(two)
    assert candidate_identity(container(result=Result(tag="1", created=T1))) != candidate_identity(
        container(result=Result(tag="1", created=T2)),
    )


@pytest.mark.parametrize(
    ("template", "tag", "formula", "expected"),
    [
        ("https://ex.org/r/v${major}.${minor}.${patch}", "4.7-alpine", None, "https://ex.org/r/v4.7.0"),
        ("${original}?p=${prerelease}", "2.0.0-rc.4", None, "2.0.0-rc.4?p=rc"),
        ("${transformed}", "5.14.0.8821-ls99", r"^([\d.]+)-ls\d+$ => $1", "5.14.0.8821"),
        ("${raw}${nope}", "1", None, "1"),
        ("${transformed}", "1", "( => x", "1"),
    ],
)
def test_links(template: str, tag: str, formula: str | None, expected: str) -> None:
    assert render(template, tag, formula=formula, semver=True) == expected


def test_version_words_are_empty_for_other_tags() -> None:
    assert render("${major}", "latest", formula=None, semver=False) == ""
    assert render("${major}", "7", formula=None, semver=False) == ""


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("DB_PASSWORD", True),
        ("db_pass", True),
        ("PASS", True),
        ("COMPASS_DIR", False),
        ("GITHUB_TOKEN", True),
        ("MyApiKey", True),
        ("OAUTH_URL", True),
        ("AWS_ACCESS_KEY_ID", True),
        ("TZ", False),
        ("PATH", False),
    ],
)
def test_sensitive_keys(key: str, expected: bool) -> None:
    assert is_sensitive(key) is expected


def test_redaction_hides_values_also_empty_ones_and_keeps_the_original() -> None:
    stored = Details(
        ports=[],
        volumes=[],
        env=[
            EnvEntry(key="TOKEN", value=""),
            EnvEntry(key="A_SECRET", value="s3cret"),
            EnvEntry(key="TZ", value="UTC"),
        ],
    )
    shown = redact(stored)
    assert [(entry.value, entry.sensitive) for entry in shown.env] == [("***", True), ("***", True), ("UTC", False)]
    assert stored.env[1].value == "s3cret"
