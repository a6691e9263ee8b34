"""Release notes over HTTP (container-api.md §7.8, §7.9)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from contract.http_app import HttpApp
from drydock.core.model import Result
from drydock.http.client import HttpClient
from drydock.release_notes.providers import GitHub
from drydock.release_notes.room import ReleaseNotesService
from fakes.github_server import GitHubServer
from kit.api_site import give
from kit.containers import container, container_id

ONE, TWO, THREE = container_id(1), container_id(2), container_id(3)
LABELS = {"dd.source.repo": "acme/app"}


@pytest.fixture
async def scene(http_app: HttpApp) -> AsyncIterator[HttpApp]:
    server = await GitHubServer().start()
    server.add("acme/app", "1.0.0", "1.0.1", "1.1.0")
    await http_app.seed(
        container(1, labels=LABELS, result=Result(tag="1.1.0")), container(2, labels=LABELS), container(3, update="2")
    )
    async with HttpClient() as http:
        notes = ReleaseNotesService(GitHub(http, server.url), None, http_app.clock, http_app.fleet)
        give(http_app.services, release_notes=notes)
        yield http_app
    await server.stop()


@pytest.mark.rows("C-292")
async def test_notes_of_the_update(scene: HttpApp) -> None:
    answer = await scene.api.get(f"/containers/{ONE}/release-notes")
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "title": "Release 1.1.0",
            "body": "What is new in 1.1.0",
            "url": "https://github.com/acme/app/releases/tag/1.1.0",
            "publishedAt": "2026-02-01T10:00:00.000Z",
            "provider": "github",
        },
    )


@pytest.mark.rows("C-293")
async def test_only_when_available(scene: HttpApp) -> None:
    for id in (TWO, THREE):
        answer = await scene.api.get(f"/containers/{id}/release-notes")
        assert (answer.status_code, answer.json()["error"]) == (404, "Release notes not available")
    answer = await scene.api.get(f"/containers/{'0' * 64}/release-notes")
    assert (answer.status_code, answer.json()["error"]) == (404, "Container not found")


async def test_notes_between(scene: HttpApp) -> None:
    base = f"/containers/{ONE}/intermediate-release-notes"
    answer = await scene.api.get(f"{base}?from=1.0.0")
    assert [notes["title"] for notes in answer.json()["releaseNotes"]] == ["Release 1.1.0", "Release 1.0.1"]
    assert answer.json()["hiddenCount"] == 0
    assert len((await scene.api.get(f"{base}?from=1.0.0&to=1.0.1")).json()["releaseNotes"]) == 1
    for query in ("", "?from=", "?from=%20"):
        assert (await scene.api.get(base + query)).status_code == 400
    await scene.seed(container(4, labels=LABELS, result=None))
    path = f"/containers/{container_id(4)}/intermediate-release-notes?from=1.0.0"
    assert (await scene.api.get(path)).status_code == 422
    assert (await scene.api.get("/containers/x/intermediate-release-notes")).status_code == 404
