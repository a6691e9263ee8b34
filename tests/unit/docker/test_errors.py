"""What the Engine's words mean, and what to do about them."""

from __future__ import annotations

import json

import pytest

from drydock.core.errors import EngineError, EngineNotFound
from drydock.docker.errors import message_of, pull_failure, refusal


@pytest.mark.parametrize(
    ("message", "error", "hint"),
    [
        ("manifest for shop/web:9 not found: manifest unknown: manifest unknown", EngineNotFound, None),
        ("toomanyrequests: You have reached your pull rate limit", EngineError, "pull limit"),
        ("unauthorized: authentication required", EngineError, "credentials"),
        (
            "pull access denied for x, repository does not exist or may require 'docker login'",
            EngineError,
            "credentials",
        ),
        ("x509: certificate signed by unknown authority", EngineError, "certs.d"),
        ("server gave HTTP response to HTTPS client", EngineError, "insecure-registries"),
        ("dial tcp 10.0.0.1:443: connect: connection refused", EngineError, "reach"),
        ("write /x: no space left on device", EngineError, "full"),
        ("something new", EngineError, None),
    ],
)
def test_a_failed_pull(message: str, error: type[EngineError], hint: str | None) -> None:
    made = pull_failure(message)
    assert type(made) is error
    assert made.message == message
    assert made.hint is None if hint is None else hint in str(made.hint)


def test_a_refused_pull_has_the_same_hint() -> None:
    body = json.dumps({"message": "Get https://r/v2/: x509: certificate signed by unknown authority"}).encode()
    assert "certs.d" in str(refusal(500, body, "POST /images/create").hint)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"message":"m"}', "m"),
        (b'{"cause":"c","message":"","response":500}', "c"),
        (b"plain\n", "plain"),
        (b"", ""),
        (b"[1]", "[1]"),
        (b"\xff" * 400, "\ufffd" * 300),
    ],
)
def test_the_engines_own_words(body: bytes, text: str) -> None:
    assert message_of(body) == text
