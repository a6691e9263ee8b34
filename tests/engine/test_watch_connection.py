"""An Engine that dies, comes back, or was never there; Swarm (watching.md §1.2, §5.2, §6, B14; §17.4 items 7, 9, 16)."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import AsyncIterator, Callable

import pytest

from drydock.watch.component import metadata
from kit.wait import until
from lab.engine import DockerEngine
from lab.images import Pusher
from lab.proxy import Proxy
from lab.watching import WatchHarness, watch_harness

pytestmark = pytest.mark.engine


@pytest.fixture
async def proxy(images: Pusher) -> AsyncIterator[Proxy]:
    made = await Proxy(f"http://{images.host}").start()
    yield made
    await made.stop()


@pytest.fixture(scope="session")
def app(images: Pusher) -> Pusher:
    images.push("watch/conn", "1.0.0")
    images.push("watch/conn", "1.1.0", created="2026-02-01T00:00:00Z")
    return images


def status(place: WatchHarness) -> str:
    return str(metadata(place.one)["status"])


async def test_17_4_07_09_b14_a_killed_engine_keeps_the_picture_and_is_followed_again(
    start_engine: Callable[..., DockerEngine], app: Pusher, images: Pusher, proxy: Proxy, tmp_path: pathlib.Path
) -> None:
    engine = await asyncio.to_thread(start_engine, "--live-restore")
    async with watch_harness(engine, images, proxy, tmp_path) as place:
        made = await place.run("wc-kept", "watch/conn:1.0.0", Labels={"dd.tag.family": "loose"})
        await place.service.watch_all()
        before = place.fleet.view(made)
        assert (status(place), before.update_available) == ("connected", True)
        async with place.listening() as listener:
            await asyncio.to_thread(engine.kill)
            await until(lambda: status(place) == "unreachable", "the loss")
            assert place.fleet.view(made).result == before.result
            assert await place.watcher.scan("cron") == ()
            assert place.fleet.need(made) == place.get("wc-kept"), "a scan without Engine changes nothing"
            assert metadata(place.one)["error"]
            await asyncio.to_thread(engine.start)
            new = await place.run("wc-missed", "watch/conn:1.0.0")
            await asyncio.wait_for(listener.listening.wait(), 30)
            await until(lambda: place.fleet.get(new), "what happened meanwhile")
            assert status(place) == "connected"
            assert place.fleet.view(made).result == before.result


async def test_an_engine_that_comes_later_is_scanned_then(
    start_engine: Callable[..., DockerEngine], app: Pusher, images: Pusher, proxy: Proxy, tmp_path: pathlib.Path
) -> None:
    engine = await asyncio.to_thread(start_engine)
    async with watch_harness(engine, images, proxy, tmp_path, WATCHALL="true") as place:
        made = await place.run("wc-late", "watch/conn:1.0.0", Labels={"dd.tag.family": "loose"})
        await asyncio.to_thread(engine.stop)
        await place.one.scan("start")
        assert (status(place), place.names()) == ("unreachable", [])
        rescans = asyncio.ensure_future(place.one.run_rescans())
        await asyncio.to_thread(engine.start)
        await until(lambda: place.fleet.get(made) and place.fleet.trace(made), "the owed scan", 30)
        rescans.cancel()
        assert status(place) == "connected"
        assert place.fleet.view(made).update_available


async def test_17_4_16_swarm_service_labels(
    start_engine: Callable[..., DockerEngine], app: Pusher, images: Pusher, proxy: Proxy, tmp_path: pathlib.Path
) -> None:
    engine = await asyncio.to_thread(start_engine)
    async with watch_harness(engine, images, proxy, tmp_path) as place:
        await place.call("POST", "/swarm/init", {"ListenAddr": "127.0.0.1:2377", "AdvertiseAddr": "127.0.0.1"})
        reference = f"{images.host}/watch/conn:1.0.0"
        await asyncio.to_thread(engine.api.pull, reference)
        template = {
            "Image": reference,
            "Command": ["/bin/sleep", "300"],
            "Labels": {"dd.display.name": "From the template"},
        }
        lookup = {"dd.registry.lookup.image": f"{proxy.host}/watch/conn"}
        labels = {"dd.watch": "true", "dd.tag.include": r"^1\.", "dd.display.name": "From the service", **lookup}
        document = {"Name": "wc-swarm", "Labels": labels, "TaskTemplate": {"ContainerSpec": template}}
        await place.call("POST", "/services/create", document)
        await asyncio.to_thread(_wait_for_task, engine)
        await place.service.watch_all()
        record = place.fleet.all()[0]
        assert (record.include_tags, record.display_name) == (r"^1\.", "From the template")
        assert record.result is not None
        assert record.result.tag == "1.1.0"
        await place.call("POST", "/swarm/leave?force=1")


def _wait_for_task(engine: DockerEngine) -> None:
    from kit.wait import eventually

    eventually(lambda: engine.api.call("GET", "/containers/json"), "the service's container", 30)
