"""The whole product on the demonstration fleet: what `lab/fleet.py` says a check finds is what the server shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lab.engine import DockerEngine
from lab.fleet import SERVICES, Fleet, Service
from lab.server import ProductServer

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def found(
    docker: DockerEngine, demo_fleet: Fleet, start_server: Callable[..., ProductServer]
) -> dict[str, dict[str, Any]]:
    watched = {"DD_WATCHER_LOCAL_SOCKET": docker.host.removeprefix("unix://"), "DD_WATCHER_LOCAL_WATCHALL": "true"}
    return start_server(**watched, **demo_fleet.variables()).scanned()


@pytest.mark.parametrize("service", SERVICES, ids=[service.name for service in SERVICES])
def test_finding(found: dict[str, dict[str, Any]], service: Service) -> None:
    assert finding(found[service.name]) == service.finds


def finding(container: dict[str, Any]) -> str:
    kind = container["updateKind"]
    if "error" in container:
        return "error"
    if container["updateAvailable"]:
        return kind["semverDiff"] if kind["semverDiff"] != "unknown" else kind["kind"]
    if container["image"].get("isLocalImage"):
        return "local"
    return "insight" if "updateInsight" in container.get("result", {}) else "nothing"
