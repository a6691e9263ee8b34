"""Release notes: where the source is, what is asked, what is cached, what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from drydock.core.errors import NotFound, Unprocessable
from drydock.core.model import Container, ImageRegistry, Result
from drydock.core.secret import Secret
from drydock.events import Bus, ContainerChecked
from drydock.fleet.fleet import Fleet
from drydock.http.client import HttpClient
from drydock.release_notes.providers import GitHub, HubDescriptions
from drydock.release_notes.room import ReleaseNotesService
from drydock.release_notes.source import mentioned, parse, source_of
from drydock.store.settings import StoreSettings
from drydock.store.store import open_store
from fakes.github_server import GitHubServer
from kit.clock import ManualClock
from kit.containers import container, image


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("acme/app", "github.com/acme/app"),
        ("github.com/acme/app", "github.com/acme/app"),
        ("https://github.com/acme/app", "github.com/acme/app"),
        ("https://github.com/acme/app.git", "github.com/acme/app"),
        ("https://GitHub.com/Acme/App/tree/main/docker?x#y", "github.com/Acme/App"),
        ("http://www.github.com/acme/app/", "github.com/acme/app"),
        ("git@github.com:acme/app.git", "github.com/acme/app"),
        ("ssh://git@github.com/acme/app", "github.com/acme/app"),
        ("git+https://user:pass@github.com/acme/app", "github.com/acme/app"),
        ("https://codeberg.org/acme/app", "codeberg.org/acme/app"),
        ("https://acme.example.org", None),
        ("acme", None),
        ("", None),
        ("https://github.com/../app/x", None),
        ("https://github.com/ac me/app", None),
    ],
)
def test_reading_a_repository(text: str, name: str | None) -> None:
    found = parse(text)
    assert (found.name if found else None) == name


def sample(
    update: str | None = "1.1.0", registry: str = "docker.io", name: str = "library/nginx", **labels: str
) -> Any:
    picture = msgspec.structs.replace(image("1.0.0"), name=name, registry=ImageRegistry(name="x", url=registry))
    named = {key.replace("_", "."): value for key, value in labels.items()}
    return container(1, image=picture, result=Result(tag=update) if update else None, labels=named)


def test_the_order_of_sources() -> None:
    oci = "org_opencontainers_image_source"
    assert source_of(sample(dd_source_repo="a/one", **{oci: "b/two"})).name == "github.com/a/one"
    assert source_of(sample(dd_source_repo="a/one")).trusted is False
    assert source_of(sample(**{oci: "b/two", "org_opencontainers_image_url": "c/three"})).name == "github.com/b/two"
    assert source_of(sample(org_opencontainers_image_url="https://github.com/c/three")).name == "github.com/c/three"
    found = msgspec.structs.replace(sample(), source_repo="github.com/d/four")
    assert source_of(found).name == "github.com/d/four"
    assert source_of(sample(registry="ghcr.io", name="e/five/web")).name == "github.com/e/five"
    assert source_of(sample()) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("see https://github.com/acme/app and https://github.com/Acme/App/issues", "github.com/Acme/App"),
        ("https://github.com/acme/app https://github.com/acme/other", None),
        ("nothing", None),
    ],
)
def test_one_link_in_a_description(text: str, name: str | None) -> None:
    found = mentioned(text)
    assert (found.name if found else None) == name


class Scene:
    def __init__(self, server: GitHubServer, http: HttpClient, fleet: Fleet) -> None:
        self.server, self.http, self.fleet, self.clock = server, http, fleet, ManualClock()
        self.service = self.build()

    def build(
        self, *, token: str | None = None, hub: HubDescriptions | None = None, most: int = 20
    ) -> ReleaseNotesService:
        provider = GitHub(self.http, self.server.url, Secret(token) if token else None)
        self.service = ReleaseNotesService(provider, hub, self.clock, self.fleet, most)
        return self.service


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    server = await GitHubServer().start()
    store = await open_store(StoreSettings(path=str(tmp_path)))
    fleet = Fleet(store.containers, store.retention, Bus(), ManualClock())
    async with HttpClient() as http:
        yield Scene(server, http, fleet)
    await store.close()
    await server.stop()


APP = {"dd_source_repo": "acme/app"}


async def test_notes_of_the_pending_tag(scene: Scene) -> None:
    scene.server.add("acme/app", "1.0.0", "1.1.0", body="x" * 5000)
    found = await scene.service.of_update(sample(**APP))
    assert (found.title, found.provider, len(found.body)) == ("Release 1.1.0", "github", 5000)
    assert found.url == "https://github.com/acme/app/releases/tag/1.1.0"
    assert found.published_at == "2026-02-01T10:00:00.000Z"


@pytest.mark.parametrize(("published", "running"), [("v1.1.0", "1.1.0"), ("1.1.0", "v1.1.0")])
async def test_with_and_without_v(scene: Scene, published: str, running: str) -> None:
    scene.server.add("acme/app", published)
    assert (await scene.service.of_update(sample(running, **APP))).title == f"Release {published}"


@pytest.mark.parametrize(
    "one",
    [
        sample(None, **APP),
        sample("1.0.0", **APP),
        sample("9.9.9", **APP),
        sample(),
        sample(dd_source_repo="codeberg.org/acme/app"),
    ],
)
async def test_not_available(scene: Scene, one: Container) -> None:
    scene.server.add("acme/app", "1.0.0", "1.1.0")
    with pytest.raises(NotFound, match="Release notes not available"):
        await scene.service.of_update(one)


@pytest.mark.parametrize("broken", ["status", "garbage", "shape", "gone"])
async def test_an_unreachable_provider(scene: Scene, broken: str) -> None:
    scene.server.add("acme/app", "1.1.0")
    if broken == "status":
        scene.server.status = 503
    elif broken == "garbage":
        scene.server.body = b"<html>"
    elif broken == "shape":
        scene.server.body = b'{"tag_name": 5}'
    else:
        await scene.server.stop()
    with pytest.raises(NotFound):
        await scene.service.of_update(sample(**APP))


async def test_hits_are_kept_for_an_hour_and_misses_for_ten_minutes(scene: Scene) -> None:
    one = sample(**APP)
    with pytest.raises(NotFound):
        await scene.service.of_update(one)
    asked = len(scene.server.seen)
    scene.server.add("acme/app", "1.1.0")
    scene.clock.advance(599)
    with pytest.raises(NotFound):
        await scene.service.of_update(one)
    assert len(scene.server.seen) == asked
    scene.clock.advance(2)
    await scene.service.of_update(one)
    asked = len(scene.server.seen)
    scene.clock.advance(3_599)
    await scene.service.of_update(one)
    assert len(scene.server.seen) == asked
    scene.clock.advance(2)
    await scene.service.of_update(one)
    assert len(scene.server.seen) == asked + 1


async def test_the_token_goes_to_trusted_sources_only(scene: Scene) -> None:
    scene.server.add("acme/app", "1.1.0")
    service = scene.build(token="t0ken")
    await service.of_update(sample(**APP))
    assert {header for _, header in scene.server.seen} == {None}
    scene.server.seen.clear()
    await service.of_update(sample(org_opencontainers_image_source="https://github.com/acme/app"))
    assert {header for _, header in scene.server.seen} == {"Bearer t0ken"}


async def test_docker_hub_knows_the_source(scene: Scene) -> None:
    scene.server.descriptions["library/nginx"] = "Source: https://github.com/nginx/nginx"
    scene.server.add("nginx/nginx", "1.1.0")
    service = scene.build(hub=HubDescriptions(scene.http, scene.server.url))
    assert (await service.of_update(sample())).title == "Release 1.1.0"
    assert (await service.source(sample(registry="quay.io"))) is None


async def test_between_two_versions(scene: Scene) -> None:
    scene.server.add("acme/app", "v1.0.0", "v1.0.1", "nightly", "v1.1.0-rc.1", "v1.1.0", "v1.2.0")
    scene.server.add("acme/app", "v1.0.5", draft=True)
    found = await scene.service.between(sample(**APP), "1.0.0", "1.1.0")
    assert [notes.title for notes in found.release_notes] == ["Release v1.1.0", "Release v1.1.0-rc.1", "Release v1.0.1"]
    assert found.hidden_count == 0
    found = await scene.service.between(sample("1.2.0", **APP), "v1.1.0", None)
    assert [notes.title for notes in found.release_notes] == ["Release v1.2.0"]


async def test_between_is_limited_and_cut(scene: Scene) -> None:
    scene.server.add("acme/app", *(f"1.0.{n}" for n in range(250)), body="y" * 3000)
    found = await scene.build(most=20).between(sample(**APP), "1.0.0", "1.1.0")
    assert (len(found.release_notes), found.hidden_count) == (20, 229)
    assert found.release_notes[0].title == "Release 1.0.249"
    assert {(len(notes.body), notes.body[-3:]) for notes in found.release_notes} == {(2000, "...")}
    assert (await scene.build(most=0).between(sample(**APP), "1.0.0", "1.1.0")).release_notes == []


@pytest.mark.parametrize(
    ("first", "last"),
    [("1.0.0", "1.0.0"), ("latest", "1.1.0"), ("1.0", "1.1.0"), ("1.0.0", "1.1.0.0"), ("1.2.0", "1.1.0")],
)
async def test_nothing_between(scene: Scene, first: str, last: str) -> None:
    scene.server.add("acme/app", "1.0.0", "1.1.0", "1.2.0")
    assert (await scene.service.between(sample(**APP), first, last)).release_notes == []


async def test_between_wants_a_target(scene: Scene) -> None:
    with pytest.raises(Unprocessable):
        await scene.service.between(sample(None, **APP), "1.0.0", None)


async def test_decorating_a_record(scene: Scene) -> None:
    scene.server.add("acme/app", "1.0.0", "1.1.0", body="z" * 2001)
    found = await scene.service.decorate(sample(**APP))
    assert found.source_repo == "github.com/acme/app"
    assert found.current_release_notes.title == "Release 1.0.0"
    assert found.result.release_notes.title == "Release 1.1.0"
    assert len(found.result.release_notes.body) == 2000
    assert await scene.service.decorate(sample()) == sample()


async def test_a_checked_record_gets_its_notes(scene: Scene) -> None:
    scene.server.add("acme/app", "1.0.0", "1.1.0")
    fleet, service = scene.fleet, scene.service
    one, other = sample(**APP), sample()
    await fleet.put(one)
    await service.on_event(ContainerChecked(container=one, changed=True))
    assert fleet.need(one.id).result.release_notes.title == "Release 1.1.0"
    moved = msgspec.structs.replace(one, result=Result(tag="1.2.0"))
    await fleet.put(moved)
    await service.on_event(ContainerChecked(container=one, changed=True))
    assert fleet.need(one.id).result == Result(tag="1.2.0")
    asked = len(scene.server.seen)
    await service.on_event(ContainerChecked(container=other, changed=True))
    await fleet.remove(one.id)
    await service.on_event(ContainerChecked(container=one, changed=True))
    assert len(scene.server.seen) == asked
