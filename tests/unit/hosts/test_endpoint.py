"""How a host tells the way to its Engine, and whether a program of this machine may take it."""

from __future__ import annotations

from typing import Any

import pytest

from drydock.core.secret import Secret
from drydock.docker.connect import resolve
from drydock.hosts.host import Endpoint
from drydock.hosts.local import endpoint
from drydock.hosts.settings import WatcherSettings


def of(**settings: Any) -> Endpoint:
    return endpoint(resolve(WatcherSettings(name="a", **settings)))


def test_a_socket() -> None:
    assert of(socket="/run/e.sock") == Endpoint(kind="socket", socket="/run/e.sock", docker_host="unix:///run/e.sock")


def test_plain_tcp() -> None:
    assert of(host="engine.lan") == Endpoint(
        kind="direct", host="engine.lan", port=2375, protocol="http", docker_host="tcp://engine.lan:2375"
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"protocol": "https"},
        {"cafile": "/ca.pem"},
        {"auth_type": "basic"},
        {"auth_user": "ann", "auth_password": Secret("pw"), "auth_insecure": True},
        {"auth_bearer": Secret("token"), "protocol": "https"},
    ],
)
def test_what_needs_files_or_credentials_is_for_no_other_program(settings: dict[str, Any]) -> None:
    assert of(host="engine.lan", **settings).docker_host is None
