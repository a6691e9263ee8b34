"""What may stand on a command line, and what a child may see."""

from __future__ import annotations

import dataclasses
import pathlib

import pytest

from drydock.core.errors import ScanFailed
from drydock.core.secret import Secret
from drydock.security.commands import check_command, check_extra, check_reference, inherited, signed_in
from drydock.security.failures import explain, is_transient, scrub


@dataclasses.dataclass
class Credentials:
    username: str
    password: Secret


@pytest.mark.parametrize("command", ["trivy", "/opt/bin/trivy", "/opt/my tools/trivy", "trivy-0.59"])
def test_usable_commands(command: str) -> None:
    assert check_command(command) == command


@pytest.mark.parametrize(
    "command", ["", "trivy; rm -rf x", "trivy|cat", "$HOME/trivy", "tri\0vy", "bin/trivy", "./trivy", "trivy x", "-x"]
)
def test_unusable_commands(command: str) -> None:
    with pytest.raises(ScanFailed, match="is invalid; use a command name or absolute path"):
        check_command(command)


@pytest.mark.parametrize("argument", ["--format", "--format=table", "-f", "--severity=LOW", "--timeout"])
def test_protected_arguments(argument: str) -> None:
    protected = ("-f", "--format", "--severity", "--timeout")
    with pytest.raises(ScanFailed, match=f"Trivy extra arguments cannot override {argument.split('=')[0]}"):
        check_extra("Trivy", ["--ignore-unfixed", argument], protected)


@pytest.mark.parametrize(
    "reference",
    ["redis:7.2", "ghcr.io/acme/api@sha256:" + "0" * 64, "127.0.0.1:5000/a/b:1", "sha256:" + "0" * 64],
)
def test_references(reference: str) -> None:
    assert check_reference(reference) == reference


@pytest.mark.parametrize("reference", ["--help", "-f", "", "a b", "a;b", "a\nb", "$(x)", "a" * 2000])
def test_what_is_no_reference(reference: str) -> None:
    with pytest.raises(ScanFailed, match="is not an image reference"):
        check_reference(reference)


def test_the_child_sees_none_of_our_variables() -> None:
    ours = {
        "PATH": "/bin",
        "HTTPS_PROXY": "http://p:3128",
        "TRIVY_CACHE_DIR": "/c",
        "DOCKER_HOST": "unix:///x",
        "SSL_CERT_FILE": "/ca",
        "DD_AUTH_BASIC_ADMIN_HASH": "secret",
        "DATABASE_PASSWORD": "secret",
    }
    assert set(inherited(ours)) == {"PATH", "HTTPS_PROXY", "TRIVY_CACHE_DIR", "DOCKER_HOST", "SSL_CERT_FILE"}


def test_the_login_lies_in_a_private_folder_that_goes_away() -> None:
    login = Credentials("alice", Secret("s3cret"))
    with signed_in({"PATH": "/bin"}, "127.0.0.1:5000", login) as env:
        folder = pathlib.Path(env["DOCKER_CONFIG"])
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / "config.json").stat().st_mode & 0o777 == 0o600
        assert "s3cret" not in str(env)
    assert not folder.exists()


def test_without_login_the_operators_own_folder_is_used() -> None:
    with signed_in({"DOCKER_CONFIG": "/mine"}, "docker.io", None) as env:
        assert env["DOCKER_CONFIG"] == "/mine"


@pytest.mark.parametrize(
    "text",
    [
        "pull https://alice:s3cret@host/v2/",
        "Authorization: Basic s3cret",
        'header "authorization":"Bearer s3cret" refused',
        "password s3cret refused",
    ],
)
def test_scrubbing(text: str) -> None:
    assert "s3cret" not in scrub(text, ["s3cret"] if "password" in text else [])


def test_the_useful_line_comes_first() -> None:
    text = (
        "2026-01-01T00:00:00Z\tFATAL\tFatal error\tunable to find the image\n"
        "\t* docker error: no socket\n\t* remote error: GET http://r/v2/: MANIFEST_UNKNOWN\n\t* podman error: no\n"
    )
    assert explain(text).startswith("remote error: GET http://r/v2/: MANIFEST_UNKNOWN; ")
    assert "docker error" in explain(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dial tcp: connection refused", True),
        ("failed to download vulnerability DB", True),
        ("context deadline exceeded", True),
        ("lookup x: no such host", True),
        ("MANIFEST_UNKNOWN", False),
        ("UNAUTHORIZED", False),
    ],
)
def test_transient(text: str, expected: bool) -> None:
    assert is_transient(text) is expected
