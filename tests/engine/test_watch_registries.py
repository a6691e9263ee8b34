"""What a watcher asks of a registry, and what it makes of refusals (watching.md §13–§15, §17.4 items 10, 11, 13)."""

from __future__ import annotations

import pathlib
from collections.abc import AsyncIterator

import pytest

from lab.engine import DockerEngine
from lab.images import Pusher
from lab.proxy import Fault, Proxy
from lab.watching import WatchHarness, watch_harness

pytestmark = pytest.mark.engine


@pytest.fixture
async def proxy(images: Pusher) -> AsyncIterator[Proxy]:
    made = await Proxy(f"http://{images.host}").start()
    yield made
    await made.stop()


@pytest.fixture
async def place(
    docker: DockerEngine, images: Pusher, proxy: Proxy, tmp_path: pathlib.Path
) -> AsyncIterator[WatchHarness]:
    async with watch_harness(docker, images, proxy, tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def app(images: Pusher) -> Pusher:
    """`watch/five` in three versions."""
    for number, tag in enumerate(("1.0.0", "1.1.0", "2.0.0")):
        images.push("watch/five", tag, created=f"2026-02-0{number + 1}T00:00:00Z")
    return images


async def test_17_4_11_one_tag_list_for_five_containers(place: WatchHarness, app: Pusher) -> None:
    for number in range(5):
        await place.run(f"wr-five-{number}", "watch/five:1.0.0")
    place.forget_counts()
    await place.service.watch_all()
    assert place.proxy.count() == {"tags": 1, "head": 1}
    place.forget_counts()
    await place.service.watch_all()
    assert place.proxy.count() == {"tags": 1, "head": 1}, "a second scan asks again"
    place.forget_counts()
    for container in place.fleet.all():
        await place.service.watch_one(container.id)
    assert place.proxy.count()["tags"] == 5, "each check that was asked for asks"
    place.forget_counts()
    await place.service.watch_some([container.id for container in place.fleet.all()])
    assert place.proxy.count()["tags"] == 1, "checks asked for together share"


async def test_17_4_13_a_digest_update_and_its_end(place: WatchHarness, images: Pusher) -> None:
    images.push_index("watch/moves", "latest", created="2026-01-01T00:00:00Z")
    made = await place.run("wr-moves", "watch/moves:latest")
    await place.service.watch_all()
    assert not place.fleet.view(made).update_available
    images.push_index("watch/moves", "latest", created="2026-03-01T00:00:00Z")
    await place.service.watch_all()
    view = place.fleet.view(made)
    assert (view.update_available, view.update_kind.kind) == (True, "digest")
    assert view.result is not None
    assert view.result.digest not in (None, view.image.digest.value)
    await place.remove(made)
    again = await place.run("wr-moves", "watch/moves:latest")
    await place.service.watch_all()
    assert [container.id for container in place.fleet.all()] == [again]
    assert not place.fleet.view(again).update_available


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "registry-auth-failed"),
        (404, "manifest-fetch-failed"),
        (429, "registry-rate-limited"),
        (503, "registry-network-error"),
    ],
)
async def test_17_4_10_a_refusal_is_an_error_and_keeps_the_last_result(
    place: WatchHarness, app: Pusher, status: int, code: str
) -> None:
    made = await place.run("wr-refused", "watch/five:1.0.0", Labels={"dd.tag.family": "loose"})
    await place.service.watch_all()
    good = place.fleet.view(made)
    assert good.update_available
    place.clock.advance(3600)
    place.forget_counts()
    place.proxy.faults = [Fault("tags/list", status=status, headers={"Retry-After": "2"} if status == 429 else {})]
    await place.one.scan("cron")
    bad = place.fleet.view(made)
    assert bad.error is not None
    assert bad.error.code == code
    assert bad.error.message
    assert (bad.result, bad.update_available, bad.update_kind) == (good.result, True, good.update_kind)
    assert bad.update_detected_at == good.update_detected_at
    explanation = place.fleet.explain(made)
    assert explanation.verdict == "unknown"
    if status == 429:
        assert place.proxy.count()["tags"] == 4
        assert sum(place.clock.slept) > 5, "it waited as the registry wished"
    place.proxy.faults = []
    place.clock.advance(3600)
    await place.one.scan("cron")
    assert place.fleet.view(made).error is None
    assert place.fleet.explain(made).verdict == "update-available"


async def test_a_first_check_that_fails_is_unknown_not_up_to_date(place: WatchHarness, app: Pusher) -> None:
    place.proxy.faults = [Fault("tags/list", status=404)]
    made = await place.run("wr-first", "watch/five:1.0.0")
    await place.service.watch_all()
    view = place.fleet.view(made)
    assert view.result is not None
    assert (view.result.tag, view.update_available) == ("1.0.0", False)
    assert view.error is not None
    assert place.fleet.summary().containers.unknown == 1


async def test_b6_a_failed_digest_leaves_no_false_update(place: WatchHarness, app: Pusher) -> None:
    made = await place.run("wr-digest", "watch/five:1.0.0")
    await place.service.watch_all()
    good = place.fleet.view(made)
    place.proxy.faults = [Fault("manifests", status=500)]
    place.clock.advance(3600)
    await place.service.watch_all()
    bad = place.fleet.view(made)
    assert bad.error is not None
    assert (bad.update_available, bad.result, bad.image.digest) == (False, good.result, good.image.digest)


async def test_one_refused_repository_does_not_touch_the_others(
    place: WatchHarness, app: Pusher, images: Pusher
) -> None:
    images.push("watch/refused", "1.0.0")
    await place.run("wr-good", "watch/five:1.0.0", Labels={"dd.tag.family": "loose"})
    await place.run("wr-bad", "watch/refused:1.0.0")
    place.proxy.faults = [Fault("watch/refused", status=401)]
    await place.service.watch_all()
    assert place.get("wr-good").error is None
    assert place.get("wr-bad").error is not None


async def test_a_local_image_is_never_asked_for(place: WatchHarness, app: Pusher) -> None:
    reference = f"{app.host}/watch/five:1.0.0"
    await place.call("POST", f"/images/{reference}/tag?repo=wr-built&tag=dev")
    place.made.append(
        (
            await place.call(
                "POST",
                "/containers/create?name=wr-local",
                {"Image": "wr-built:dev", "Labels": {"dd.watch": "true"}, "Cmd": ["/bin/sleep", "60"]},
            )
        )["Id"]
    )
    await place.call("POST", f"/containers/{place.made[0]}/start")
    place.forget_counts()
    await place.service.watch_all()
    record = place.get("wr-local")
    assert record.image.name == "library/wr-built"
    assert place.proxy.seen == []
