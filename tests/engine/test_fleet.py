"""The demonstration fleet has what it says."""

from __future__ import annotations

import pytest

from kit.wait import eventually
from lab.engine import DockerEngine
from lab.fleet import SERVICES, Fleet

pytestmark = pytest.mark.engine


def test_every_service_is_there_as_described(docker: DockerEngine, demo_fleet: Fleet) -> None:
    for service in SERVICES:
        document = docker.api.call("GET", f"/containers/{demo_fleet.ids[service.name]}/json")
        assert document["State"]["Running"] is service.running
        assert document["Config"]["Image"] == demo_fleet.reference(service)
        image = docker.api.call("GET", f"/images/{document['Image']}/json")
        assert bool(image["RepoDigests"]) is not service.local


def test_the_moved_tag_has_another_digest_than_what_runs(docker: DockerEngine, demo_fleet: Fleet) -> None:
    running = docker.api.call("GET", f"/images/{demo_fleet.registry.host}/shop/search:latest/json")["RepoDigests"]
    connection = demo_fleet.registry.connection()
    accept = "application/vnd.docker.distribution.manifest.list.v2+json"
    connection.request("HEAD", "/v2/shop/search/manifests/latest", headers={"Accept": accept})
    assert connection.getresponse().headers["Docker-Content-Digest"] not in running[0]


@pytest.mark.parametrize(("host", "repository", "status"), [("vault", "billing", 401), ("registry", "legacy", 404)])
def test_the_faulty_ones_are_refused(demo_fleet: Fleet, host: str, repository: str, status: int) -> None:
    connection = getattr(demo_fleet, host).connection()
    connection.request("GET", f"/v2/shop/{repository}/tags/list")
    assert connection.getresponse().status == status


def test_health_checks_run(docker: DockerEngine, demo_fleet: Fleet) -> None:
    def health(name: str) -> str:
        return str(docker.api.call("GET", f"/containers/{demo_fleet.ids[name]}/json")["State"]["Health"]["Status"])

    eventually(lambda: health("storefront") == "healthy", "a healthy one", 30)
    eventually(lambda: health("proxy") == "unhealthy", "an unhealthy one", 30)
