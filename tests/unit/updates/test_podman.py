"""Podman's documents in Docker's words: what the image left open is not taken for the operator's choice."""

from __future__ import annotations

from typing import Any

import pytest

from drydock.updates.plan.podman import as_docker, volumes_at_risk

SERVICE = ["podman", "system", "service", "--time=0", "unix:///run/podman.sock"]


def container(**config: Any) -> dict[str, Any]:
    base = {
        "Entrypoint": [],
        "Cmd": ["serve"],
        "WorkingDir": "/",
        "StopSignal": "15",
        "Env": ["container=podman", "A=1"],
    }
    network = {"IPAddress": "10.0.0.9", "IPAMConfig": None}
    return {
        "Config": {**base, **config},
        "NetworkSettings": {"Networks": {"front": network, "podman": {"IPAddress": "10.88.0.2"}}},
    }


def test_what_the_image_left_open_is_nobodys_choice() -> None:
    found, _ = as_docker(container(), {"Cmd": ["serve"], "Env": ["A=1"]}, None, SERVICE)
    assert found["Config"] == {"Entrypoint": None, "Cmd": ["serve"], "WorkingDir": "", "Env": ["A=1"]}


@pytest.mark.parametrize(
    ("shown", "of_the_image", "kept"),
    [("3", "SIGQUIT", False), ("3", "QUIT", False), ("9", "SIGQUIT", True), ("15", None, False), ("9", None, True)],
)
def test_signals_are_compared_by_name(shown: str, of_the_image: str | None, kept: bool) -> None:
    found, _ = as_docker(container(StopSignal=shown), {"StopSignal": of_the_image}, None, SERVICE)
    assert ("StopSignal" in found["Config"]) == kept


def test_a_health_check_of_the_image_is_not_the_containers_own() -> None:
    check = {"Test": ["CMD", "true"], "Interval": 5, "Timeout": 30_000_000_000, "Retries": 2}
    of_the_image = {"Test": ["CMD", "true"], "Interval": 5, "Retries": 2}
    assert "Healthcheck" not in as_docker(container(Healthcheck=check), {}, of_the_image, SERVICE)[0]["Config"]
    assert (
        "Healthcheck"
        in as_docker(container(Healthcheck=check), {}, {**of_the_image, "Retries": 3}, SERVICE)[0]["Config"]
    )
    assert "Healthcheck" in as_docker(container(Healthcheck=check), {}, None, SERVICE)[0]["Config"]


@pytest.mark.parametrize(
    ("command", "kept", "told"),
    [
        (SERVICE, True, True),
        ([], True, True),
        (["podman", "run", "--ip", "10.0.0.9", "x"], True, False),
        (["podman", "run", "--network", "front:ip=10.0.0.9", "x"], True, False),
        (["podman", "run", "--network", "front", "x"], False, False),
    ],
)
def test_addresses_are_kept_unless_nobody_asked_for_one(command: list[str], kept: bool, told: bool) -> None:
    found, notes = as_docker(container(), {}, None, command)
    networks = found["NetworkSettings"]["Networks"]
    assert networks["front"]["IPAMConfig"] == ({"IPv4Address": "10.0.0.9"} if kept else None)
    assert "IPAMConfig" not in networks["podman"]
    assert bool(notes) == told


def test_nameless_volumes_of_a_container_that_removes_itself_are_at_risk() -> None:
    mounts = [
        {"Name": "a" * 64, "Destination": "/data"},
        {"Name": "mine", "Destination": "/other"},
        {"Destination": "/x"},
    ]
    assert volumes_at_risk({"HostConfig": {"AutoRemove": True}, "Mounts": mounts}) == ["/data"]
    assert volumes_at_risk({"HostConfig": {"AutoRemove": False}, "Mounts": mounts}) == []
