"""Discovery and events against real Engines: what is recorded, what one event costs, what survives (watching.md §5, §6, §17.4)."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import AsyncIterator, Mapping

import msgspec
import pytest

from drydock.clock import SystemClock
from drydock.core.model import UpdatePolicy
from drydock.events import ChecksFinished, ContainerRemoved
from kit.clock import ManualClock
from kit.wait import until
from lab.images import Pusher
from lab.proxy import Proxy
from lab.watching import WatchHarness, watch_harness

pytestmark = pytest.mark.engine

SWITCHES: Mapping[str, frozenset[str]] = {
    "docker": frozenset(),
    "podman": frozenset({"no-stop-event", "health-checks-on-demand"}),  # its timers need systemd
}
"""Where the engines differ in what these tests look at."""

COMPOSE = {"com.docker.compose.project": "w", "com.docker.compose.service": "web"}


@pytest.fixture
async def proxy(images: Pusher) -> AsyncIterator[Proxy]:
    made = await Proxy(f"http://{images.host}").start()
    yield made
    await made.stop()


@pytest.fixture(params=["docker", "podman"])
async def place(
    request: pytest.FixtureRequest, images: Pusher, proxy: Proxy, tmp_path: pathlib.Path
) -> AsyncIterator[WatchHarness]:
    async with watch_harness(request.getfixturevalue(request.param), images, proxy, tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def app(images: Pusher) -> Pusher:
    """`watch/app` in three versions, `watch/other` in two, `watch/moving:latest`."""
    for repository, tags in (("watch/app", ("1.0.0", "1.1.0", "2.0.0")), ("watch/other", ("1.0.0", "1.0.1"))):
        for number, tag in enumerate(tags):
            images.push(repository, tag, created=f"2026-01-0{number + 1}T00:00:00Z", config={"Labels": {"v": tag}})
    return images


async def test_a_container_is_recorded_as_it_is(place: WatchHarness, app: Pusher) -> None:
    labels = {"dd.tag.include": r"^1\.", "dd.display.name": "Web", "dd.display.icon": "si:nginx"}
    made = await place.run("wd-record", "watch/app:1.0.0", Labels=labels, Env=["A=1", "DB_PASSWORD=x"])
    await place.service.watch_all()
    record = place.get("wd-record")
    assert (record.id, record.status, record.watcher) == (made, "running", "local")
    assert (record.display_name, record.display_icon, record.include_tags) == ("Web", "si:nginx", r"^1\.")
    image = record.image
    assert (image.registry.url, image.name, image.tag.value) == (app.host, "watch/app", "1.0.0")
    assert image.registry.name == "custom.lab"
    assert (image.os, image.architecture, image.created) == ("linux", "amd64", "2026-01-01T00:00:00.000Z")
    assert image.digest.repo is not None
    assert record.details is not None
    assert ("A", "1") in [(entry.key, entry.value) for entry in record.details.env]
    assert record.details.started_at is not None
    assert record.result is not None
    assert record.result.tag == "1.1.0"
    assert record.error is None


async def test_17_4_02_and_03_stop_remove_recreate_keep_the_clock(place: WatchHarness, app: Pusher) -> None:
    labels = {"dd.tag.family": "loose"}
    made = await place.run("wd-life", "watch/app:1.0.0", Labels=labels)
    await place.service.watch_all()
    first = place.get("wd-life")
    assert first.update_detected_at is not None
    await place.call("POST", f"/containers/{made}/stop?t=1")
    await place.service.watch_all()
    stopped = place.get("wd-life")
    assert (stopped.status, stopped.result) == ("exited", first.result)
    assert place.watcher.watched == 0
    await place.remove(made)
    await place.service.watch_all()
    assert place.names() == []
    place.clock.advance(600)
    again = await place.run("wd-life", "watch/app:1.0.0", Labels=labels)
    await place.service.watch_all()
    assert place.get("wd-life").update_detected_at == first.update_detected_at
    await place.remove(again)
    await place.service.watch_all()
    await place.run("wd-life", "watch/app:1.0.0", Labels={"dd.tag.include": r"^1\."})
    await place.service.watch_all()
    other = place.get("wd-life")
    assert other.update_detected_at is not None
    assert other.update_detected_at > first.update_detected_at, "another candidate has a clock of its own"


@pytest.mark.parametrize(("days", "kept"), [(1, True), (8, False)])
async def test_17_4_04_overrides_survive_a_recreation(place: WatchHarness, app: Pusher, days: int, kept: bool) -> None:
    made = await place.run("wd-policy", "watch/app:1.0.0", Labels=COMPOSE)
    await place.service.watch_all()
    overrides = UpdatePolicy(skip_tags=["9"])
    await place.fleet.change_policy(made, lambda _: overrides)
    await place.remove(made)
    await place.service.watch_all()
    place.clock.advance(days * 86_400)
    await place.run("wd-policy-again", "watch/app:1.0.0", Labels=COMPOSE)
    await place.service.watch_all()
    assert place.get("wd-policy-again").update_policy_overrides == (overrides if kept else None)


async def test_17_4_15_a_recreation_with_dd_watch_false_leaves(place: WatchHarness, app: Pusher) -> None:
    made = await place.run("wd-off", "watch/app:1.0.0")
    await place.service.watch_all()
    await place.remove(made)
    await place.run("wd-off", "watch/app:1.0.0", Labels={"dd.watch": "false"})
    await place.service.watch_all()
    assert place.names() == []


async def test_one_event_touches_one_container(place: WatchHarness, app: Pusher) -> None:
    await place.run("wd-quiet", "watch/other:1.0.0")
    made = await place.run("wd-busy", "watch/app:1.0.0")
    await place.service.watch_all()
    quiet = place.get("wd-quiet")
    async with place.listening():
        place.forget_counts()
        await place.call("POST", f"/containers/{made}/pause")
        await until(lambda: place.get("wd-busy").status == "paused", "the event")
    assert place.engine.calls["inspect_container"] == 1
    assert place.engine.calls["list_containers"] == 0
    assert place.proxy.seen == []
    assert place.get("wd-quiet") is quiet


async def test_a_new_container_costs_two_registry_requests_and_no_other_check(place: WatchHarness, app: Pusher) -> None:
    await place.run("wd-old", "watch/other:1.0.0")
    await place.service.watch_all()
    checked = place.fleet.trace(place.get("wd-old").id)
    place.events.clear()
    async with place.listening():
        place.forget_counts()
        await place.run("wd-new", "watch/app:1.0.0")
        await until(lambda: place.fleet.trace(place.get("wd-new").id), "the check")
    assert len(place.proxy.seen) <= 2, place.proxy.count()
    assert place.fleet.trace(place.get("wd-old").id) == checked
    batches = [[r.container.name for r in batch.reports] for batch in place.published(ChecksFinished)]
    assert batches == [["wd-new"]]


async def test_removal_is_seen_by_its_event(place: WatchHarness, app: Pusher) -> None:
    made = await place.run("wd-gone", "watch/app:1.0.0")
    await place.service.watch_all()
    async with place.listening():
        place.forget_counts()
        await place.remove(made)
        await until(lambda: place.published(ContainerRemoved), "its removal")
    assert place.names() == []
    assert place.proxy.seen == []


async def test_rename_and_stop_are_followed(place: WatchHarness, app: Pusher) -> None:
    made = await place.run("wd-name", "watch/app:1.0.0")
    await place.service.watch_all()
    async with place.listening():
        await place.call("POST", f"/containers/{made}/rename?name=wd-renamed")
        await until(lambda: place.get("wd-renamed"), "the new name")
        await place.call("POST", f"/containers/{made}/stop?t=1")
        await until(lambda: place.get("wd-renamed").status == "exited", "the state")
    assert place.get("wd-renamed").display_name == "wd-renamed"
    actions = {event.action for event in place.one.events.seen}
    assert ("stop" in actions) is ("no-stop-event" not in SWITCHES[place.kind])


async def test_health_is_followed_by_events(place: WatchHarness, app: Pusher) -> None:
    second = 1_000_000_000
    check = {"Test": ["CMD-SHELL", "test -f /tmp/ok"], "Interval": second, "Timeout": second, "Retries": 1}
    made = await place.run("wd-health", "watch/app:1.0.0", Healthcheck=check)
    await place.service.watch_all()
    async with place.listening():
        if "health-checks-on-demand" in SWITCHES[place.kind]:
            await place.call("GET", f"/v4.0.0/libpod/containers/{made}/healthcheck")
        await until(lambda: place.get("wd-health").health == "unhealthy", "bad health", 30)
    assert place.get("wd-health").id == made


async def test_a_compose_style_recreation_is_one_container(place: WatchHarness, app: Pusher) -> None:
    old = await place.run("wd-compose", "watch/app:1.0.0", Labels=COMPOSE)
    await place.service.watch_all()
    async with place.listening():
        await place.call("POST", f"/containers/{old}/rename?name={old[:12]}_wd-compose")
        new = await place.run("wd-compose", "watch/app:1.1.0", Labels=COMPOSE)
        await place.remove(old)
        await until(lambda: [c.id for c in place.fleet.all()] == [new], "the new one alone")
    assert place.names() == ["wd-compose"]
    assert not any("_wd-compose" in event.container.name for event in place.published(ContainerRemoved))


async def test_17_4_06_the_updater_s_own_rename_is_invisible(place: WatchHarness, app: Pusher) -> None:
    made = await place.run("wd-upd", "watch/app:1.0.0")
    await place.service.watch_all()
    async with place.listening():
        await place.call("POST", f"/containers/{made}/rename?name=wd-upd-old-1767225600000")
        await until(lambda: any(e.action == "rename" for e in place.one.events.seen), "the event")
        await place.call("POST", f"/containers/{made}/pause")
        await until(lambda: any(e.action == "pause" for e in place.one.events.seen), "the event after it")
        await place.call("POST", f"/containers/{made}/unpause")
    assert place.get("wd-upd").id == made


async def test_a_restart_shows_the_last_picture_and_asks_nobody(
    place: WatchHarness,
    app: Pusher,
    images: Pusher,
    proxy: Proxy,
    tmp_path: pathlib.Path,
    request: pytest.FixtureRequest,
) -> None:
    await place.run("wd-again", "watch/app:1.0.0", Labels={"dd.tag.family": "loose"})
    await place.one.scan("cron")
    before = place.get("wd-again")
    place.forget_counts()
    engine = request.getfixturevalue(place.kind)
    folder = tmp_path / "again"
    await _copy(tmp_path, folder)
    clock = ManualClock(SystemClock().now_ms())
    async with watch_harness(engine, images, proxy, folder, clock) as again:
        assert again.get("wd-again") == before, "known before anything is asked"
        schedule = asyncio.create_task(again.one.run_schedule())
        await until(lambda: clock.slept, "the start")
        clock.advance(clock.slept[0])
        await until(lambda: len(clock.slept) > 1, "the first look, and the wait for the next tick")
        schedule.cancel()
        assert again.get("wd-again").result == before.result
        assert again.get("wd-again").update_detected_at == before.update_detected_at
    assert place.proxy.seen == []


async def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    """The store as a killed process leaves it."""
    import shutil

    shutil.copytree(source, target, ignore=shutil.ignore_patterns("again", "*.lock"))


async def test_image_sets_reach_real_containers(
    docker: object, images: Pusher, app: Pusher, proxy: Proxy, tmp_path: pathlib.Path
) -> None:
    variables = {"IMGSET_APP_IMAGE": f"{images.host}/watch/app", "IMGSET_APP_TAG_INCLUDE": r"^1\."}
    async with watch_harness(docker, images, proxy, tmp_path, **variables) as place:
        await place.run("wd-set", "watch/app:1.0.0")
        await place.run("wd-label", "watch/app:1.0.0", Labels={"dd.tag.include": r"^2\."})
        await place.service.watch_all()
        found = {record.name: record.result.tag for record in place.fleet.all() if record.result}
    assert found == {"wd-set": "1.1.0", "wd-label": "2.0.0"}


async def test_watchall_lists_stopped_ones_too(
    docker: object, images: Pusher, app: Pusher, proxy: Proxy, tmp_path: pathlib.Path
) -> None:
    async with watch_harness(docker, images, proxy, tmp_path, WATCHALL="true") as place:
        await place.run("wd-created", "watch/app:1.0.0", start=False, Labels={"dd.tag.family": "loose"})
        await place.service.watch_all()
        record = place.get("wd-created")
    assert (record.status, record.result and record.result.tag) == ("created", "2.0.0")
    assert msgspec.to_builtins(record)["details"].get("startedAt") is None
