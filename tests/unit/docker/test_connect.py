"""From a watcher's settings to an address (watching.md §1.2–§1.4)."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import trustme

from drydock.core.errors import ConfigError, EngineAuthBlocked
from drydock.core.secret import Secret
from drydock.docker.connect import connect, from_docker_host, resolve, tls_context
from drydock.docker.settings import EngineSettings


def given(**keys: Any) -> dict[str, Any]:
    """Credentials of a watcher, without the `auth_` of their names."""
    return {f"auth_{key}": value for key, value in keys.items()}


PASSWORD = given(user="u", password=Secret("p"))


@pytest.mark.parametrize(
    ("settings", "base", "socket", "key"),
    [
        (EngineSettings(), "http://localhost", "/var/run/docker.sock", "agent:a|socket:/var/run/docker.sock"),
        (EngineSettings(socket="/s", host="H"), "http://h:2375", None, "agent:a|tcp:http://h:2375"),
        (EngineSettings(host="h", port=1, protocol="https"), "https://h:1", None, "agent:a|tcp:https://h:1"),
        (EngineSettings(host="h", cafile="/ca"), "https://h:2375", None, "agent:a|tcp:https://h:2375"),
        (EngineSettings(host="h", cafile="/ca", protocol="http"), "http://h:2375", None, "agent:a|tcp:http://h:2375"),
        (EngineSettings(host="fd00::1"), "http://[fd00::1]:2375", None, "agent:a|tcp:http://[fd00::1]:2375"),
    ],
)
def test_address(settings: EngineSettings, base: str, socket: str | None, key: str) -> None:
    address = resolve(settings)
    assert (address.base, address.socket, address.source_key("a")) == (base, socket, key)


@pytest.mark.parametrize(
    ("auth", "https", "header", "blocked"),
    [
        ({}, False, None, None),
        (PASSWORD, True, "Basic dTpw", None),
        (given(bearer=Secret("t")), True, "Bearer t", None),
        (given(bearer=Secret("t"), user="u", password=Secret("p")), True, "Bearer t", None),
        (given(type="basic", bearer=Secret("t"), user="u", password=Secret("p")), True, "Basic dTpw", None),
        (given(user="u"), True, None, "incomplete"),
        (given(type="bearer", user="u", password=Secret("p")), True, None, "AUTH_BEARER"),
        (given(type="basic", bearer=Secret("t")), True, None, "AUTH_USER and AUTH_PASSWORD"),
        (PASSWORD, False, None, "HTTPS"),
        (given(type="oidc"), True, None, "OIDC"),
    ],
)
def test_credentials_fail_closed(auth: dict[str, Any], https: bool, header: str | None, blocked: str | None) -> None:
    address = resolve(EngineSettings(host="h", protocol="https" if https else None, **auth))
    assert (address.authorization.reveal() if address.authorization else None) == header
    assert (address.blocked is None) if blocked is None else (blocked in str(address.blocked))


def test_insecure_sends_complete_credentials_with_a_warning() -> None:
    auth = given(user="u", password=Secret("p"), insecure=True)
    address = resolve(EngineSettings(host="h", **auth))
    assert address.blocked is None
    assert address.authorization == Secret("Basic dTpw")
    assert "HTTPS" in address.warnings[0]


def test_credentials_are_ignored_on_a_socket() -> None:
    assert resolve(EngineSettings(**given(user="u"))).blocked is None


def test_no_secret_in_any_text() -> None:
    assert "p'" not in repr(resolve(EngineSettings(host="h", protocol="https", **PASSWORD)))
    assert "dTpw" not in repr(resolve(EngineSettings(host="h", protocol="https", **PASSWORD)))


async def test_a_blocked_address_sends_nothing() -> None:
    client = connect(resolve(EngineSettings(host="127.0.0.1", port=1, **PASSWORD)))
    with pytest.raises(EngineAuthBlocked, match="HTTPS"):
        await client.list_containers()


@pytest.mark.parametrize(
    ("environ", "base", "socket"),
    [
        ({}, "http://localhost", "/var/run/docker.sock"),
        ({"DOCKER_HOST": "unix:///x.sock"}, "http://localhost", "/x.sock"),
        ({"DOCKER_HOST": "tcp://h:9"}, "http://h:9", None),
        ({"DOCKER_HOST": "tcp://h"}, "http://h:2375", None),
        ({"DOCKER_HOST": "https://h"}, "https://h:2376", None),
        ({"DOCKER_HOST": "tcp://h", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/c"}, "https://h:2376", None),
    ],
)
def test_docker_host(environ: dict[str, str], base: str, socket: str | None) -> None:
    address = resolve(from_docker_host(environ))
    assert (address.base, address.socket) == (base, socket)


@pytest.mark.parametrize("value", ["ssh://h", "npipe:////./pipe/x", "h:2375", "tcp://"])
def test_docker_host_that_cannot_be_used(value: str) -> None:
    with pytest.raises(ConfigError, match="DOCKER_HOST"):
        from_docker_host({"DOCKER_HOST": value})


def test_unreadable_tls_files_name_the_variable(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match=r"CAFILE=.*missing\.pem"):
        connect(resolve(EngineSettings(host="h", cafile=str(tmp_path / "missing.pem"))))
    (tmp_path / "bad.pem").write_text("not PEM")
    with pytest.raises(ConfigError, match="cannot be used"):
        tls_context(EngineSettings(host="h", certfile=str(tmp_path / "bad.pem")))
    ca = trustme.CA()
    ca.private_key_pem.write_to_path(tmp_path / "key.pem")
    with pytest.raises(ConfigError, match="CERTFILE"):
        tls_context(EngineSettings(host="h", keyfile=str(tmp_path / "key.pem")))
