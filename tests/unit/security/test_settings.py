"""DD_SECURITY_*: words, units, and the rules that involve two sections (security.md §1)."""

from __future__ import annotations

import pytest

from drydock.app.settings import SCHEMA
from drydock.config.load import load
from drydock.security.scanners import CHOICES, GENERATOR_CHOICES, SECTIONS
from drydock.security.scanners.grype import GrypeSettings
from drydock.security.scanners.trivy import TrivySettings
from drydock.security.settings import SecuritySettings
from drydock.security.signatures.cosign import CosignSettings


def problems(**variables: str) -> list[str]:
    return [str(problem) for problem in load(variables, SCHEMA).problems if problem.variable.startswith("DD_SECURITY_")]


def test_the_lists_of_programs_give_the_words() -> None:
    assert CHOICES == ("trivy", "grype", "both")
    assert GENERATOR_CHOICES == ("auto", "trivy", "syft")
    assert set(SECTIONS) <= set(SCHEMA.sections)
    assert problems(DD_SECURITY_SCANNER="clair") == [
        "DD_SECURITY_SCANNER: 'clair' is not allowed, must be empty or one of trivy, grype, both"
    ]


def test_milliseconds_become_seconds() -> None:
    given = {
        "DD_SECURITY_SCAN_JITTER": "1500",
        "DD_SECURITY_SCAN_BATCH_TIMEOUT": "0",
        "DD_SECURITY_TRIVY_TIMEOUT": "61500",
        "DD_SECURITY_GRYPE_ARGS": '["--only-fixed"]',
        "DD_SECURITY_COSIGN_TIMEOUT": "2000",
    }
    settings = load(given, SCHEMA).settings
    assert settings is not None
    own = settings[SecuritySettings]
    assert (own.scan_jitter_s, own.scan_batch_timeout_s) == (1.5, 0.0)
    assert (settings[TrivySettings].timeout_s, settings[CosignSettings].timeout_s) == (61.5, 2.0)
    assert (settings[GrypeSettings].timeout_s, settings[GrypeSettings].args) == (600.0, ("--only-fixed",))


REMOTE = "DD_SECURITY_BACKEND: remote requires DD_SECURITY_SCANNER=trivy and DD_SECURITY_TRIVY_SERVER"
SERVER = {"DD_SECURITY_TRIVY_SERVER": "http://trivy:4954"}


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({}, True),
        ({"DD_SECURITY_SCANNER": "trivy"}, True),
        ({"DD_SECURITY_SCANNER": "grype", **SERVER}, True),
        ({"DD_SECURITY_SCANNER": "trivy", **SERVER}, False),
    ],
)
def test_a_remote_backend_needs_its_server(given: dict[str, str], fault: bool) -> None:
    loaded = load({"DD_SECURITY_BACKEND": "remote", **given}, SCHEMA)
    assert (REMOTE in map(str, loaded.problems), loaded.settings is None) == (fault, fault)


def test_words_of_lists_that_are_ignored_are_named() -> None:
    told = problems(DD_SECURITY_BLOCK_SEVERITY="high,urgent", DD_SECURITY_SBOM_FORMATS="cyclonedx-json,pdf")
    assert [text.partition(" is not known")[0] for text in told] == [
        "DD_SECURITY_BLOCK_SEVERITY: urgent",
        "DD_SECURITY_SBOM_FORMATS: pdf",
    ]
