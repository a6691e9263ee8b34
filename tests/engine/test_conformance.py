"""What every Engine does, asked of each implementation of `docker.api.Engine` (see `lab/bench.py`)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from drydock.core.errors import EngineConflict, EngineError, EngineNotFound, EngineNotSupported
from drydock.docker.api import PullAuth
from drydock.docker.client import pull
from drydock.docker.events import WATCHED
from drydock.docker.logs import LogReader
from lab.bench import MEMBERS, Bench, first
from lab.images import SERVE

pytestmark = pytest.mark.engine

EXITS = {"Cmd": ["/bin/sh", "-c", "exit 3"]}
SAYS_UP = {"Cmd": ["/bin/sh", "-c", SERVE[2].replace(";", "; echo up;", 1)]}
"""Says so once it can be stopped in an orderly way: before that, a shell as process 1 ignores SIGTERM."""


@pytest.fixture(params=MEMBERS)
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    made = MEMBERS[request.param](request)
    yield made
    await made.clean()
    await made.engine.close()


@pytest.fixture
def programs(bench: Bench) -> None:
    """For tests of what runs inside of containers."""
    if why := bench.differences.get("programs"):
        pytest.skip(why)


async def running(bench: Bench, ref: str) -> bool:
    return bool((await bench.engine.inspect_container(ref))["State"]["Running"])


async def printed(bench: Bench, ref: str, **options: object) -> list[tuple[str, str]]:
    tty = (await bench.engine.inspect_container(ref))["Config"]["Tty"]
    reader = LogReader(tty=tty)
    lines = []
    async with aclosing(bench.engine.logs(ref, **options)) as chunks:
        async for chunk in chunks:
            lines += reader.feed(chunk)
    return [(line.type, line.line) for line in [*lines, *reader.finish()]]


# facts


async def test_version_and_info(bench: Bench) -> None:
    assert (await bench.engine.version())["ApiVersion"] >= "1.40"
    assert (await bench.engine.info())["Name"]


# life of a container


async def test_create_start_stop_remove(bench: Bench) -> None:
    made = await bench.create("conf-life", bench.provide("conf/app"), Labels={"a": "1"})
    document = await bench.engine.inspect_container("conf-life")
    assert (document["Id"], document["Name"], document["State"]["Status"]) == (made, "/conf-life", "created")
    assert document["Config"]["Labels"]["a"] == "1"
    await bench.engine.start_container(made)
    assert await running(bench, made)
    await bench.engine.stop_container(made, grace=5)
    state = (await bench.engine.inspect_container(made))["State"]
    assert (state["Running"], state["Status"]) == (False, "exited")
    await bench.engine.remove_container(made)
    with pytest.raises(EngineNotFound):
        await bench.engine.inspect_container(made)


@pytest.mark.usefixtures("programs")
async def test_an_orderly_stop_has_the_programs_own_exit_code(bench: Bench) -> None:
    made = await bench.run("conf-orderly", bench.provide("conf/app"), **SAYS_UP)
    async with aclosing(bench.engine.logs(made, follow=True)) as chunks:
        while b"up" not in await asyncio.wait_for(
            anext(chunks), 20
        ):  # the first chunk may only say "the Engine answered"
            pass
    await bench.engine.stop_container(made, grace=20)
    assert (await bench.engine.inspect_container(made))["State"]["ExitCode"] == 0


async def test_start_and_stop_are_idempotent(bench: Bench) -> None:
    made = await bench.run("conf-twice", bench.provide("conf/app"))
    await bench.engine.start_container(made)
    await bench.engine.stop_container(made, grace=5)
    await bench.engine.stop_container(made, grace=5)
    assert not await running(bench, made)


async def test_restart_gives_a_new_start(bench: Bench) -> None:
    made = await bench.run("conf-restart", bench.provide("conf/app"))
    before = (await bench.engine.inspect_container(made))["State"]["StartedAt"]
    await bench.engine.restart_container(made, grace=5)
    state = (await bench.engine.inspect_container(made))["State"]
    assert state["Running"]
    assert state["StartedAt"] != before


async def test_kill_sends_the_signal(bench: Bench) -> None:
    made = await bench.run("conf-kill", bench.provide("conf/app"))
    await bench.engine.kill_container(made, signal="SIGKILL")
    assert await bench.engine.wait_container(made) == 137


async def test_list_shows_running_ones_or_all(bench: Bench) -> None:
    image = bench.provide("conf/app")
    up = await bench.run("conf-list-up", image, Labels={"conf": "list"})
    down = await bench.create("conf-list-down", image, Labels={"conf": "list"})
    only = {"label": ["conf=list"]}
    assert [entry["Id"] for entry in await bench.engine.list_containers(filters=only)] == [up]
    everything = await bench.engine.list_containers(all=True, filters=only)
    assert {entry["Id"]: entry["Names"] for entry in everything} == {up: ["/conf-list-up"], down: ["/conf-list-down"]}
    assert {entry["Image"] for entry in everything} == {image}


@pytest.mark.usefixtures("programs")
async def test_wait_gives_the_exit_code(bench: Bench) -> None:
    made = await bench.run("conf-wait", bench.provide("conf/app"), **EXITS)
    assert await bench.engine.wait_container(made) == 3


@pytest.mark.usefixtures("programs")
async def test_wait_for_the_next_exit(bench: Bench) -> None:
    made = await bench.create("conf-next", bench.provide("conf/app"), **EXITS)
    waiting = asyncio.create_task(bench.engine.wait_container(made, condition="next-exit"))
    async with asyncio.timeout(30):
        while not waiting.done():  # whether the Engine already waits cannot be seen, so there is more than one exit
            await bench.engine.start_container(made)
            await bench.engine.wait_container(made)
    assert await waiting == 3


async def test_auto_remove(bench: Bench) -> None:
    made = await bench.run("conf-auto", bench.provide("conf/app"), HostConfig={"AutoRemove": True})
    await bench.engine.stop_container(made, grace=5)
    with contextlib.suppress(EngineNotFound):  # gone before the question arrived
        await asyncio.wait_for(bench.engine.wait_container(made, condition="removed"), 20)
    with pytest.raises(EngineNotFound):
        await bench.engine.inspect_container(made)


@pytest.mark.usefixtures("programs")
async def test_start_of_a_missing_command_fails_and_leaves_the_container(bench: Bench) -> None:
    made = await bench.create("conf-missing", bench.provide("conf/app"), Cmd=["/no/such/program"])
    with pytest.raises(EngineError) as caught:
        await bench.engine.start_container(made)
    assert caught.value.engine_status in (400, 404, 500)
    assert not await running(bench, made)


# names


async def test_a_taken_name_is_a_conflict(bench: Bench) -> None:
    image = bench.provide("conf/app")
    await bench.create("conf-taken", image)
    with pytest.raises(EngineConflict):
        await bench.create("conf-taken", image)
    other = await bench.create("conf-other", image)
    with pytest.raises(EngineConflict):
        await bench.engine.rename_container(other, "conf-taken")


async def test_rename_frees_the_old_name(bench: Bench) -> None:
    image = bench.provide("conf/app")
    made = await bench.run("conf-name", image)
    await bench.engine.rename_container(made, "conf-name-old-1")
    assert (await bench.engine.inspect_container(made))["Name"] == "/conf-name-old-1"
    assert await bench.create("conf-name", image) != made


async def test_unknown_things_are_not_found(bench: Bench) -> None:
    for attempt in (
        bench.engine.inspect_container("conf-nobody"),
        bench.engine.start_container("conf-nobody"),
        bench.engine.stop_container("conf-nobody"),
        bench.engine.remove_container("conf-nobody"),
        bench.engine.rename_container("conf-nobody", "conf-somebody"),
        bench.engine.inspect_image("conf/nothing:1"),
        bench.engine.inspect_network("conf-nowhere"),
        bench.engine.exec("conf-nobody", ["true"]),
    ):
        with pytest.raises(EngineNotFound):
            await attempt


async def test_create_from_an_unknown_image_is_not_found(bench: Bench) -> None:
    with pytest.raises(EngineNotFound):
        await bench.create("conf-noimage", "conf/nothing:1")


async def test_removing_a_running_container_needs_force(bench: Bench) -> None:
    made = await bench.run("conf-busy", bench.provide("conf/app"))
    with pytest.raises(EngineConflict if bench.kind == "docker" else EngineError):
        await bench.engine.remove_container(made)
    await bench.engine.remove_container(made, force=True)


# restart policy


async def test_restart_policy_can_be_changed(bench: Bench) -> None:
    policy = {"RestartPolicy": {"Name": "unless-stopped"}}
    made = await bench.run("conf-policy", bench.provide("conf/app"), HostConfig=policy)
    change = bench.engine.update_container(made, {"RestartPolicy": {"Name": "no"}})
    if "restart-policy" in bench.differences:
        with pytest.raises(EngineNotSupported):
            await change
        return
    await change
    document = await bench.engine.inspect_container(made)
    assert document["HostConfig"]["RestartPolicy"]["Name"] == "no"


# networks


async def test_networks_with_alias_and_fixed_address(bench: Bench, network: str) -> None:
    made = await bench.run("conf-net", bench.provide("conf/app"))
    endpoint = {"Aliases": ["shop"], "IPAMConfig": {"IPv4Address": "10.97.5.50"}}
    await bench.engine.connect_network(network, made, endpoint)
    attached = (await bench.engine.inspect_container(made))["NetworkSettings"]["Networks"][network]
    assert attached["IPAddress"] == "10.97.5.50"
    assert "shop" in attached["Aliases"]
    assert bool(attached["EndpointID"]) == (bench.kind != "podman"), "a network with a live endpoint is not asked for"
    assert made in (await bench.engine.inspect_network(network))["Containers"]
    await bench.engine.disconnect_network(network, made)
    assert network not in (await bench.engine.inspect_container(made))["NetworkSettings"]["Networks"]


async def test_two_containers_cannot_have_one_address(bench: Bench, network: str) -> None:
    image = bench.provide("conf/app")
    networking = {"EndpointsConfig": {network: {"IPAMConfig": {"IPv4Address": "10.97.5.60"}}}}
    options = {"HostConfig": {"NetworkMode": network}, "NetworkingConfig": networking}
    await bench.run("conf-addr-1", image, **options)
    other = await bench.create("conf-addr-2", image, **options)
    with pytest.raises(EngineError):
        await bench.engine.start_container(other)


# events, logs, stats, exec


async def test_events_follow_the_life_of_a_container(bench: Bench) -> None:
    image = bench.provide("conf/app")
    opened, happened = asyncio.Event(), asyncio.Event()
    seen: list[str] = []

    async def collect() -> None:
        async with aclosing(bench.engine.events(filters=WATCHED, on_open=opened.set)) as stream:
            async for event in stream:
                if event["Actor"]["Attributes"].get("conf") == "events":
                    seen.append(event["Action"])
                    happened.set()
                if seen and seen[-1] in ("destroy", "remove"):
                    return

    collecting = asyncio.create_task(collect())
    await asyncio.wait_for(opened.wait(), 10)
    made = await bench.run("conf-events", image, Labels={"conf": "events"})
    await bench.engine.rename_container(made, "conf-events-2")
    await bench.engine.stop_container(made, grace=5)
    while "die" not in seen:  # Podman reports it a moment later
        happened.clear()
        await asyncio.wait_for(happened.wait(), 20)
    await bench.engine.remove_container(made)
    await asyncio.wait_for(collecting, 20)
    podman = "event-names" in bench.differences
    wanted = ["create", "start", "rename", "die", *([] if podman else ["stop"]), "remove" if podman else "destroy"]
    assert seen == wanted


async def test_events_since_a_moment_are_replayed(bench: Bench) -> None:
    image = bench.provide("conf/app")
    filters = {"type": ["container"], "event": ["create"]}
    one = await bench.create("conf-since-1", image)
    two = await bench.create("conf-since-2", image)

    async def after(moment: int, wanted: str) -> int:
        async with aclosing(bench.engine.events(filters=filters, since=moment)) as stream:
            event = await asyncio.wait_for(first(stream, lambda e: e["Actor"]["ID"] == wanted), 20)
            return int(event["timeNano"])

    at_one = await after(0, one)
    assert await after(at_one + 1, two) > at_one


@pytest.mark.usefixtures("programs")
async def test_logs_of_both_streams(bench: Bench) -> None:
    script = "echo out; echo err >&2; echo; printf 'h\\303\\251llo'"
    made = await bench.run("conf-logs", bench.provide("conf/app"), Cmd=["/bin/sh", "-c", script])
    await bench.engine.wait_container(made)
    lines = await printed(bench, made)
    assert [text for kind, text in lines if kind == "stdout"] == ["out", "", "héllo"]
    assert ("stderr", "err") in lines
    assert await printed(bench, made, stdout=False) == [("stderr", "err")]
    assert await printed(bench, made, stdout=False, stderr=False) == []
    assert len(await printed(bench, made, tail=1)) == 1


@pytest.mark.usefixtures("programs")
async def test_logs_of_a_terminal_are_not_framed(bench: Bench) -> None:
    made = await bench.run("conf-tty", bench.provide("conf/app"), Tty=True, Cmd=["/bin/sh", "-c", "echo one; echo two"])
    await bench.engine.wait_container(made)
    assert await printed(bench, made) == [("stdout", "one"), ("stdout", "two")]


@pytest.mark.usefixtures("programs")
async def test_a_line_longer_than_the_log_drivers_pieces_stays_one_line(bench: Bench) -> None:
    script = "printf '%040000d\\n' 7; echo end"
    made = await bench.run("conf-long", bench.provide("conf/app"), Cmd=["/bin/sh", "-c", script])
    await bench.engine.wait_container(made)
    assert await printed(bench, made) == [("stdout", "7".zfill(40_000)), ("stdout", "end")]


@pytest.mark.usefixtures("programs")
async def test_followed_logs_end_with_the_container(bench: Bench) -> None:
    made = await bench.run("conf-follow", bench.provide("conf/app"), **SAYS_UP)
    reader = LogReader(tty=False)
    async with aclosing(bench.engine.logs(made, follow=True)) as chunks:
        lines = reader.feed(await asyncio.wait_for(anext(chunks), 20))
        await bench.engine.stop_container(made, grace=5)
        async with asyncio.timeout(20):
            lines += [line async for chunk in chunks for line in reader.feed(chunk)]
    assert [line.line for line in lines] == ["up"]


@pytest.mark.usefixtures("programs")
async def test_stats_of_a_running_container(bench: Bench) -> None:
    made = await bench.run("conf-stats", bench.provide("conf/app"))
    once = await bench.engine.stats_once(made)
    assert once["cpu_stats"]["cpu_usage"]["total_usage"] > 0
    async with aclosing(bench.engine.stats(made)) as stream:
        sample = await asyncio.wait_for(anext(stream), 20)
    assert "memory_stats" in sample


@pytest.mark.usefixtures("programs")
async def test_exec(bench: Bench) -> None:
    made = await bench.run("conf-exec", bench.provide("conf/app"))
    result = await bench.engine.exec(made, ["/bin/sh", "-c", "echo $WORD; echo bad >&2; exit 4"], env=["WORD=good"])
    assert result.exit_code == 4
    assert sorted(result.output.split()) == ["bad", "good"]
    long = await bench.engine.exec(made, ["/bin/sh", "-c", "printf '%0100000d' 1"], limit=1000)
    assert (long.exit_code, len(long.output)) == (0, 1000)


async def test_exec_in_a_stopped_container_is_refused(bench: Bench) -> None:
    made = await bench.create("conf-exec-off", bench.provide("conf/app"))
    with pytest.raises(EngineError):
        await bench.engine.exec(made, ["true"])


# images


async def test_pull_reports_progress_and_the_image_has_its_digest(bench: Bench) -> None:
    reference = bench.publish("conf/pulled", "2.0.0", created="2026-02-02T00:00:00Z")
    async with aclosing(bench.engine.pull_image(reference)) as progress:
        assert [document async for document in progress]
    image = await bench.engine.inspect_image(reference)
    assert image["RepoTags"] == [reference]
    assert "@sha256:" in image["RepoDigests"][0]
    again = await bench.engine.inspect_image(image["Id"])
    assert again["Id"] == image["Id"]
    await pull(bench.engine, image["RepoDigests"][0])


async def test_pull_of_an_unknown_tag_is_not_found(bench: Bench) -> None:
    known = bench.publish("conf/pulled", "2.0.0")
    with pytest.raises(EngineNotFound):
        await pull(bench.engine, known.removesuffix("2.0.0") + "9.9.9")


async def test_tag_and_remove_image(bench: Bench) -> None:
    reference = bench.provide("conf/tagged", created="2026-03-03T00:00:00Z")
    await bench.engine.tag_image(reference, "drydock-backup/conf", "1")
    image = await bench.engine.inspect_image(reference)
    assert len(image["RepoTags"]) == 2
    await bench.engine.remove_image(next(tag for tag in image["RepoTags"] if "drydock-backup" in tag))
    assert (await bench.engine.inspect_image(reference))["RepoTags"] == [reference]
    await bench.engine.remove_image(reference)
    with pytest.raises(EngineNotFound):
        await bench.engine.inspect_image(reference)


async def test_an_image_in_use_cannot_be_removed(bench: Bench) -> None:
    reference = bench.provide("conf/used", created="2026-04-04T00:00:00Z")
    await bench.run("conf-used", reference)
    with pytest.raises(EngineConflict):
        await bench.engine.remove_image((await bench.engine.inspect_image(reference))["Id"])


async def test_images_are_listed(bench: Bench) -> None:
    reference = bench.provide("conf/app")
    assert reference in [tag for image in await bench.engine.list_images() for tag in image["RepoTags"] or ()]


@pytest.mark.usefixtures("programs")
async def test_pull_with_credentials(bench: Bench, private_images) -> None:  # type: ignore[no-untyped-def]
    private_images.push("conf/secret", "1.0.0")
    reference = f"{private_images.host}/conf/secret:1.0.0"
    with pytest.raises(EngineError):
        await pull(bench.engine, reference)
    with pytest.raises(EngineError):
        await pull(bench.engine, reference, auth=PullAuth(username="alice", password="wrong"))
    await pull(bench.engine, reference, auth=PullAuth(username="alice", password="s3cret"))
    assert await bench.engine.inspect_image(reference)


@pytest.fixture
def network(bench: Bench, request: pytest.FixtureRequest) -> str:
    """A user network with the subnet 10.97.5.0/24."""
    return bench.add_network("conf-n", "10.97.5.0/24")


async def test_health_checks_that_somebody_else_must_run(bench: Bench) -> None:
    """Podman runs and counts a check when asked to; a Docker Engine does it by itself and offers no such call."""
    check = {"Test": ["CMD", "/bin/false"], "Interval": 1_000_000_000, "Retries": 2}
    made = await bench.run("conf-check", bench.provide("conf/app"), Healthcheck=check)
    if bench.kind != "podman":
        with pytest.raises(EngineNotSupported):
            await bench.engine.run_health_check(made)
        return
    for _ in range(2):
        await bench.engine.run_health_check(made)
    assert (await bench.engine.inspect_container(made))["State"]["Health"]["Status"] == "unhealthy"


async def test_what_only_podman_tells(bench: Bench) -> None:
    check = {"Test": ["CMD", "/bin/true"], "Interval": 1_000_000_000, "Retries": 2}
    image = bench.provide("conf/checked", config={"Healthcheck": check})
    made = await bench.run("conf-told", image)
    if bench.kind != "podman":
        with pytest.raises(EngineNotSupported):
            await bench.engine.inspect_of_podman("containers", made)
        return
    identity = (await bench.engine.inspect_container(made))["Image"]
    assert (await bench.engine.inspect_of_podman("images", identity))["Healthcheck"] == check
    command = (await bench.engine.inspect_of_podman("containers", made))["Config"]["CreateCommand"]
    assert {"system", "service"} <= set(command)
