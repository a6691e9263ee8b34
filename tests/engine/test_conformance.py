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
from lab.engine_under_test import MEMBERS, EngineUnderTest, first
from lab.images import SERVE

pytestmark = pytest.mark.engine

EXITS = {"Cmd": ["/bin/sh", "-c", "exit 3"]}
SAYS_UP = {"Cmd": ["/bin/sh", "-c", SERVE[2].replace(";", "; echo up;", 1)]}
"""Says so once it can be stopped in an orderly way: before that, a shell as process 1 ignores SIGTERM."""


@pytest.fixture(params=MEMBERS)
async def under_test(request: pytest.FixtureRequest) -> AsyncIterator[EngineUnderTest]:
    made = MEMBERS[request.param](request)
    yield made
    await made.clean()
    await made.engine.close()


@pytest.fixture
def programs(under_test: EngineUnderTest) -> None:
    """For tests of what runs inside of containers."""
    if why := under_test.differences.get("programs"):
        pytest.skip(why)


async def running(under_test: EngineUnderTest, ref: str) -> bool:
    return bool((await under_test.engine.inspect_container(ref))["State"]["Running"])


async def printed(under_test: EngineUnderTest, ref: str, **options: object) -> list[tuple[str, str]]:
    tty = (await under_test.engine.inspect_container(ref))["Config"]["Tty"]
    reader = LogReader(tty=tty)
    lines = []
    async with aclosing(under_test.engine.logs(ref, **options)) as chunks:
        async for chunk in chunks:
            lines += reader.feed(chunk)
    return [(line.type, line.line) for line in [*lines, *reader.finish()]]


# facts


async def test_version_and_info(under_test: EngineUnderTest) -> None:
    assert (await under_test.engine.version())["ApiVersion"] >= "1.40"
    assert (await under_test.engine.info())["Name"]


# life of a container


async def test_create_start_stop_remove(under_test: EngineUnderTest) -> None:
    made = await under_test.create("conf-life", under_test.provide("conf/app"), Labels={"a": "1"})
    document = await under_test.engine.inspect_container("conf-life")
    assert (document["Id"], document["Name"], document["State"]["Status"]) == (made, "/conf-life", "created")
    assert document["Config"]["Labels"]["a"] == "1"
    await under_test.engine.start_container(made)
    assert await running(under_test, made)
    await under_test.engine.stop_container(made, grace=5)
    state = (await under_test.engine.inspect_container(made))["State"]
    assert (state["Running"], state["Status"]) == (False, "exited")
    await under_test.engine.remove_container(made)
    with pytest.raises(EngineNotFound):
        await under_test.engine.inspect_container(made)


@pytest.mark.usefixtures("programs")
async def test_an_orderly_stop_has_the_programs_own_exit_code(under_test: EngineUnderTest) -> None:
    made = await under_test.run("conf-orderly", under_test.provide("conf/app"), **SAYS_UP)
    async with aclosing(under_test.engine.logs(made, follow=True)) as chunks:
        while b"up" not in await asyncio.wait_for(
            anext(chunks), 20
        ):  # the first chunk may only say "the Engine answered"
            pass
    await under_test.engine.stop_container(made, grace=20)
    assert (await under_test.engine.inspect_container(made))["State"]["ExitCode"] == 0


async def test_start_and_stop_are_idempotent(under_test: EngineUnderTest) -> None:
    made = await under_test.run("conf-twice", under_test.provide("conf/app"))
    await under_test.engine.start_container(made)
    await under_test.engine.stop_container(made, grace=5)
    await under_test.engine.stop_container(made, grace=5)
    assert not await running(under_test, made)


async def test_restart_gives_a_new_start(under_test: EngineUnderTest) -> None:
    made = await under_test.run("conf-restart", under_test.provide("conf/app"))
    before = (await under_test.engine.inspect_container(made))["State"]["StartedAt"]
    await under_test.engine.restart_container(made, grace=5)
    state = (await under_test.engine.inspect_container(made))["State"]
    assert state["Running"]
    assert state["StartedAt"] != before


async def test_kill_sends_the_signal(under_test: EngineUnderTest) -> None:
    made = await under_test.run("conf-kill", under_test.provide("conf/app"))
    await under_test.engine.kill_container(made, signal="SIGKILL")
    assert await under_test.engine.wait_container(made) == 137


async def test_list_shows_running_ones_or_all(under_test: EngineUnderTest) -> None:
    image = under_test.provide("conf/app")
    up = await under_test.run("conf-list-up", image, Labels={"conf": "list"})
    down = await under_test.create("conf-list-down", image, Labels={"conf": "list"})
    only = {"label": ["conf=list"]}
    assert [entry["Id"] for entry in await under_test.engine.list_containers(filters=only)] == [up]
    everything = await under_test.engine.list_containers(all=True, filters=only)
    assert {entry["Id"]: entry["Names"] for entry in everything} == {up: ["/conf-list-up"], down: ["/conf-list-down"]}
    assert {entry["Image"] for entry in everything} == {image}


@pytest.mark.usefixtures("programs")
async def test_wait_gives_the_exit_code(under_test: EngineUnderTest) -> None:
    made = await under_test.run("conf-wait", under_test.provide("conf/app"), **EXITS)
    assert await under_test.engine.wait_container(made) == 3


@pytest.mark.usefixtures("programs")
async def test_wait_for_the_next_exit(under_test: EngineUnderTest) -> None:
    made = await under_test.create("conf-next", under_test.provide("conf/app"), **EXITS)
    waiting = asyncio.create_task(under_test.engine.wait_container(made, condition="next-exit"))
    async with asyncio.timeout(30):
        while not waiting.done():  # whether the Engine already waits cannot be seen, so there is more than one exit
            await under_test.engine.start_container(made)
            await under_test.engine.wait_container(made)
    assert await waiting == 3


async def test_auto_remove(under_test: EngineUnderTest) -> None:
    made = await under_test.run("conf-auto", under_test.provide("conf/app"), HostConfig={"AutoRemove": True})
    await under_test.engine.stop_container(made, grace=5)
    with contextlib.suppress(EngineNotFound):  # gone before the question arrived
        await asyncio.wait_for(under_test.engine.wait_container(made, condition="removed"), 20)
    with pytest.raises(EngineNotFound):
        await under_test.engine.inspect_container(made)


@pytest.mark.usefixtures("programs")
async def test_start_of_a_missing_command_fails_and_leaves_the_container(under_test: EngineUnderTest) -> None:
    made = await under_test.create("conf-missing", under_test.provide("conf/app"), Cmd=["/no/such/program"])
    with pytest.raises(EngineError) as caught:
        await under_test.engine.start_container(made)
    assert caught.value.engine_status in (400, 404, 500)
    assert not await running(under_test, made)


# names


async def test_a_taken_name_is_a_conflict(under_test: EngineUnderTest) -> None:
    image = under_test.provide("conf/app")
    await under_test.create("conf-taken", image)
    with pytest.raises(EngineConflict):
        await under_test.create("conf-taken", image)
    other = await under_test.create("conf-other", image)
    with pytest.raises(EngineConflict):
        await under_test.engine.rename_container(other, "conf-taken")


async def test_rename_frees_the_old_name(under_test: EngineUnderTest) -> None:
    image = under_test.provide("conf/app")
    made = await under_test.run("conf-name", image)
    await under_test.engine.rename_container(made, "conf-name-old-1")
    assert (await under_test.engine.inspect_container(made))["Name"] == "/conf-name-old-1"
    assert await under_test.create("conf-name", image) != made


async def test_unknown_things_are_not_found(under_test: EngineUnderTest) -> None:
    for attempt in (
        under_test.engine.inspect_container("conf-nobody"),
        under_test.engine.start_container("conf-nobody"),
        under_test.engine.stop_container("conf-nobody"),
        under_test.engine.remove_container("conf-nobody"),
        under_test.engine.rename_container("conf-nobody", "conf-somebody"),
        under_test.engine.inspect_image("conf/nothing:1"),
        under_test.engine.inspect_network("conf-nowhere"),
        under_test.engine.exec("conf-nobody", ["true"]),
    ):
        with pytest.raises(EngineNotFound):
            await attempt


async def test_create_from_an_unknown_image_is_not_found(under_test: EngineUnderTest) -> None:
    with pytest.raises(EngineNotFound):
        await under_test.create("conf-noimage", "conf/nothing:1")


async def test_removing_a_running_container_needs_force(under_test: EngineUnderTest) -> None:
    made = await under_test.run("conf-busy", under_test.provide("conf/app"))
    with pytest.raises(EngineConflict if under_test.kind == "docker" else EngineError):
        await under_test.engine.remove_container(made)
    await under_test.engine.remove_container(made, force=True)


# restart policy


async def test_restart_policy_can_be_changed(under_test: EngineUnderTest) -> None:
    policy = {"RestartPolicy": {"Name": "unless-stopped"}}
    made = await under_test.run("conf-policy", under_test.provide("conf/app"), HostConfig=policy)
    change = under_test.engine.update_container(made, {"RestartPolicy": {"Name": "no"}})
    if "restart-policy" in under_test.differences:
        with pytest.raises(EngineNotSupported):
            await change
        return
    await change
    document = await under_test.engine.inspect_container(made)
    assert document["HostConfig"]["RestartPolicy"]["Name"] == "no"


# networks


async def test_networks_with_alias_and_fixed_address(under_test: EngineUnderTest, network: str) -> None:
    made = await under_test.run("conf-net", under_test.provide("conf/app"))
    endpoint = {"Aliases": ["shop"], "IPAMConfig": {"IPv4Address": "10.97.5.50"}}
    await under_test.engine.connect_network(network, made, endpoint)
    attached = (await under_test.engine.inspect_container(made))["NetworkSettings"]["Networks"][network]
    assert attached["IPAddress"] == "10.97.5.50"
    assert "shop" in attached["Aliases"]
    assert bool(attached["EndpointID"]) == (under_test.kind != "podman"), (
        "a network with a live endpoint is not asked for"
    )
    assert made in (await under_test.engine.inspect_network(network))["Containers"]
    await under_test.engine.disconnect_network(network, made)
    assert network not in (await under_test.engine.inspect_container(made))["NetworkSettings"]["Networks"]


async def test_two_containers_cannot_have_one_address(under_test: EngineUnderTest, network: str) -> None:
    image = under_test.provide("conf/app")
    networking = {"EndpointsConfig": {network: {"IPAMConfig": {"IPv4Address": "10.97.5.60"}}}}
    options = {"HostConfig": {"NetworkMode": network}, "NetworkingConfig": networking}
    await under_test.run("conf-addr-1", image, **options)
    other = await under_test.create("conf-addr-2", image, **options)
    with pytest.raises(EngineError):
        await under_test.engine.start_container(other)


# events, logs, stats, exec


async def test_events_follow_the_life_of_a_container(under_test: EngineUnderTest) -> None:
    image = under_test.provide("conf/app")
    opened, happened = asyncio.Event(), asyncio.Event()
    seen: list[str] = []

    async def collect() -> None:
        async with aclosing(under_test.engine.events(filters=WATCHED, on_open=opened.set)) as stream:
            async for event in stream:
                if event["Actor"]["Attributes"].get("conf") == "events":
                    seen.append(event["Action"])
                    happened.set()
                if seen and seen[-1] in ("destroy", "remove"):
                    return

    collecting = asyncio.create_task(collect())
    await asyncio.wait_for(opened.wait(), 10)
    made = await under_test.run("conf-events", image, Labels={"conf": "events"})
    await under_test.engine.rename_container(made, "conf-events-2")
    await under_test.engine.stop_container(made, grace=5)
    while "die" not in seen:  # Podman reports it a moment later
        happened.clear()
        await asyncio.wait_for(happened.wait(), 20)
    await under_test.engine.remove_container(made)
    await asyncio.wait_for(collecting, 20)
    podman = "event-names" in under_test.differences
    wanted = ["create", "start", "rename", "die", *([] if podman else ["stop"]), "remove" if podman else "destroy"]
    assert seen == wanted


async def test_events_since_a_moment_are_replayed(under_test: EngineUnderTest) -> None:
    image = under_test.provide("conf/app")
    filters = {"type": ["container"], "event": ["create"]}
    one = await under_test.create("conf-since-1", image)
    two = await under_test.create("conf-since-2", image)

    async def after(moment: int, wanted: str) -> int:
        async with aclosing(under_test.engine.events(filters=filters, since=moment)) as stream:
            event = await asyncio.wait_for(first(stream, lambda e: e["Actor"]["ID"] == wanted), 20)
            return int(event["timeNano"])

    at_one = await after(0, one)
    assert await after(at_one + 1, two) > at_one


@pytest.mark.usefixtures("programs")
async def test_logs_of_both_streams(under_test: EngineUnderTest) -> None:
    script = "echo out; echo err >&2; echo; printf 'h\\303\\251llo'"
    made = await under_test.run("conf-logs", under_test.provide("conf/app"), Cmd=["/bin/sh", "-c", script])
    await under_test.engine.wait_container(made)
    lines = await printed(under_test, made)
    assert [text for kind, text in lines if kind == "stdout"] == ["out", "", "héllo"]
    assert ("stderr", "err") in lines
    assert await printed(under_test, made, stdout=False) == [("stderr", "err")]
    assert await printed(under_test, made, stdout=False, stderr=False) == []
    assert len(await printed(under_test, made, tail=1)) == 1


@pytest.mark.usefixtures("programs")
async def test_logs_of_a_terminal_are_not_framed(under_test: EngineUnderTest) -> None:
    made = await under_test.run(
        "conf-tty", under_test.provide("conf/app"), Tty=True, Cmd=["/bin/sh", "-c", "echo one; echo two"]
    )
    await under_test.engine.wait_container(made)
    assert await printed(under_test, made) == [("stdout", "one"), ("stdout", "two")]


@pytest.mark.usefixtures("programs")
async def test_a_line_longer_than_the_log_drivers_pieces_stays_one_line(under_test: EngineUnderTest) -> None:
    script = "printf '%040000d\\n' 7; echo end"
    made = await under_test.run("conf-long", under_test.provide("conf/app"), Cmd=["/bin/sh", "-c", script])
    await under_test.engine.wait_container(made)
    assert await printed(under_test, made) == [("stdout", "7".zfill(40_000)), ("stdout", "end")]


@pytest.mark.usefixtures("programs")
async def test_followed_logs_end_with_the_container(under_test: EngineUnderTest) -> None:
    made = await under_test.run("conf-follow", under_test.provide("conf/app"), **SAYS_UP)
    reader = LogReader(tty=False)
    async with aclosing(under_test.engine.logs(made, follow=True)) as chunks:
        lines = reader.feed(await asyncio.wait_for(anext(chunks), 20))
        await under_test.engine.stop_container(made, grace=5)
        async with asyncio.timeout(20):
            lines += [line async for chunk in chunks for line in reader.feed(chunk)]
    assert [line.line for line in lines] == ["up"]


@pytest.mark.usefixtures("programs")
async def test_stats_of_a_running_container(under_test: EngineUnderTest) -> None:
    made = await under_test.run("conf-stats", under_test.provide("conf/app"))
    once = await under_test.engine.stats_once(made)
    assert once["cpu_stats"]["cpu_usage"]["total_usage"] > 0
    async with aclosing(under_test.engine.stats(made)) as stream:
        sample = await asyncio.wait_for(anext(stream), 20)
    assert "memory_stats" in sample


@pytest.mark.usefixtures("programs")
async def test_exec(under_test: EngineUnderTest) -> None:
    made = await under_test.run("conf-exec", under_test.provide("conf/app"))
    result = await under_test.engine.exec(
        made, ["/bin/sh", "-c", "echo $WORD; echo bad >&2; exit 4"], env=["WORD=good"]
    )
    assert result.exit_code == 4
    assert sorted(result.output.split()) == ["bad", "good"]
    long = await under_test.engine.exec(made, ["/bin/sh", "-c", "printf '%0100000d' 1"], limit=1000)
    assert (long.exit_code, len(long.output)) == (0, 1000)


async def test_exec_in_a_stopped_container_is_refused(under_test: EngineUnderTest) -> None:
    made = await under_test.create("conf-exec-off", under_test.provide("conf/app"))
    with pytest.raises(EngineError):
        await under_test.engine.exec(made, ["true"])


# images


async def test_pull_reports_progress_and_the_image_has_its_digest(under_test: EngineUnderTest) -> None:
    reference = under_test.publish("conf/pulled", "2.0.0", created="2026-02-02T00:00:00Z")
    async with aclosing(under_test.engine.pull_image(reference)) as progress:
        assert [document async for document in progress]
    image = await under_test.engine.inspect_image(reference)
    assert image["RepoTags"] == [reference]
    assert "@sha256:" in image["RepoDigests"][0]
    again = await under_test.engine.inspect_image(image["Id"])
    assert again["Id"] == image["Id"]
    await pull(under_test.engine, image["RepoDigests"][0])


async def test_pull_of_an_unknown_tag_is_not_found(under_test: EngineUnderTest) -> None:
    known = under_test.publish("conf/pulled", "2.0.0")
    with pytest.raises(EngineNotFound):
        await pull(under_test.engine, known.removesuffix("2.0.0") + "9.9.9")


async def test_tag_and_remove_image(under_test: EngineUnderTest) -> None:
    reference = under_test.provide("conf/tagged", created="2026-03-03T00:00:00Z")
    await under_test.engine.tag_image(reference, "drydock-backup/conf", "1")
    image = await under_test.engine.inspect_image(reference)
    assert len(image["RepoTags"]) == 2
    await under_test.engine.remove_image(next(tag for tag in image["RepoTags"] if "drydock-backup" in tag))
    assert (await under_test.engine.inspect_image(reference))["RepoTags"] == [reference]
    await under_test.engine.remove_image(reference)
    with pytest.raises(EngineNotFound):
        await under_test.engine.inspect_image(reference)


async def test_an_image_in_use_cannot_be_removed(under_test: EngineUnderTest) -> None:
    reference = under_test.provide("conf/used", created="2026-04-04T00:00:00Z")
    await under_test.run("conf-used", reference)
    with pytest.raises(EngineConflict):
        await under_test.engine.remove_image((await under_test.engine.inspect_image(reference))["Id"])


async def test_images_are_listed(under_test: EngineUnderTest) -> None:
    reference = under_test.provide("conf/app")
    assert reference in [tag for image in await under_test.engine.list_images() for tag in image["RepoTags"] or ()]


@pytest.mark.usefixtures("programs")
async def test_pull_with_credentials(under_test: EngineUnderTest, private_images) -> None:  # type: ignore[no-untyped-def]
    private_images.push("conf/secret", "1.0.0")
    reference = f"{private_images.host}/conf/secret:1.0.0"
    with pytest.raises(EngineError):
        await pull(under_test.engine, reference)
    with pytest.raises(EngineError):
        await pull(under_test.engine, reference, auth=PullAuth(username="alice", password="wrong"))
    await pull(under_test.engine, reference, auth=PullAuth(username="alice", password="s3cret"))
    assert await under_test.engine.inspect_image(reference)


@pytest.fixture
def network(under_test: EngineUnderTest, request: pytest.FixtureRequest) -> str:
    """A user network with the subnet 10.97.5.0/24."""
    return under_test.add_network("conf-n", "10.97.5.0/24")


async def test_health_checks_that_somebody_else_must_run(under_test: EngineUnderTest) -> None:
    """Podman runs and counts a check when asked to; a Docker Engine does it by itself and offers no such call."""
    check = {"Test": ["CMD", "/bin/false"], "Interval": 1_000_000_000, "Retries": 2}
    made = await under_test.run("conf-check", under_test.provide("conf/app"), Healthcheck=check)
    if under_test.kind != "podman":
        with pytest.raises(EngineNotSupported):
            await under_test.engine.run_health_check(made)
        return
    for _ in range(2):
        await under_test.engine.run_health_check(made)
    assert (await under_test.engine.inspect_container(made))["State"]["Health"]["Status"] == "unhealthy"


async def test_what_only_podman_tells(under_test: EngineUnderTest) -> None:
    check = {"Test": ["CMD", "/bin/true"], "Interval": 1_000_000_000, "Retries": 2}
    image = under_test.provide("conf/checked", config={"Healthcheck": check})
    made = await under_test.run("conf-told", image)
    if under_test.kind != "podman":
        with pytest.raises(EngineNotSupported):
            await under_test.engine.inspect_of_podman("containers", made)
        return
    identity = (await under_test.engine.inspect_container(made))["Image"]
    assert (await under_test.engine.inspect_of_podman("images", identity))["Healthcheck"] == check
    command = (await under_test.engine.inspect_of_podman("containers", made))["Config"]["CreateCommand"]
    assert {"system", "service"} <= set(command)
