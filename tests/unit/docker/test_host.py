"""Facts from documents, and what a restricted proxy leaves of them."""

from __future__ import annotations

import pytest

from drydock.core.errors import EngineError, EngineUnreachable
from drydock.docker.api import Document
from drydock.docker.host import facts_from, identify

DOCKER = {"Version": "27.1.1", "ApiVersion": "1.46", "Os": "linux", "Arch": "amd64", "Components": [{"Name": "Engine"}]}


class Restricted:
    """An Engine behind a proxy that forbids some calls."""

    def __init__(self, version: Document | EngineError, info: Document | EngineError) -> None:
        self._version, self._info = version, info

    async def version(self) -> Document:
        if isinstance(self._version, EngineError):
            raise self._version
        return self._version

    async def info(self) -> Document:
        if isinstance(self._info, EngineError):
            raise self._info
        return self._info


def test_docker() -> None:
    facts = facts_from(DOCKER, {"Name": " host-1 "})
    assert (facts.kind, facts.name, facts.api_version, facts.changes_restart_policy) == (
        "docker",
        "host-1",
        "1.46",
        True,
    )


def test_podman() -> None:
    facts = facts_from({"Version": "4.3.1", "Components": [{"Name": "Podman Engine"}]}, {"Name": "p"})
    assert (facts.kind, facts.changes_restart_policy, facts.runs_health_checks) == ("podman", False, False)


@pytest.mark.parametrize("info", [{}, {"Name": ""}, {"Name": 5}])
def test_no_name(info: Document) -> None:
    assert facts_from(DOCKER, info).name is None


@pytest.mark.parametrize("components", [None, [], [None], ["x"], [{}]])
def test_odd_components_are_docker(components: object) -> None:
    assert facts_from({"Components": components}).kind == "docker"


async def test_a_forbidden_info_is_only_a_missing_name() -> None:
    facts = await identify(Restricted(DOCKER, EngineError("forbidden", engine_status=403)))  # type: ignore[arg-type]
    assert facts.name is None


async def test_an_engine_that_is_down_is_an_error() -> None:
    with pytest.raises(EngineUnreachable):
        await identify(Restricted(EngineUnreachable("gone"), {}))  # type: ignore[arg-type]
