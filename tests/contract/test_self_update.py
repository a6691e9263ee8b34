"""A self-update over HTTP: admission, the word to the browsers, status, the helper's report (platform-api.md §12.5–§12.7)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from contract.updating import LOCAL, WATCHER, Host, serve
from drydock.api.application import build
from drydock.core.audit import AuditFilter
from drydock.core.labels import SELF_UPDATE_HELPER
from drydock.events import UpdateApplied
from drydock.hosts.settings import WatcherSettings
from drydock.updates.actions import Action
from drydock.updates.self_update import process
from drydock.updates.self_update.helper import read_order
from drydock.updates.self_update.identity import Signs
from drydock.updates.target import new_operation
from fakes.engine import FakeEngine
from fakes.hosts import local_host
from kit.clock import SkippingClock
from kit.wait import until

SOCKET = "/var/run/docker.sock"
WITH_SOCKET: dict[str, Any] = {"HostConfig": {"Binds": [f"/run/docker.sock:{SOCKET}"]}}
FINALIZE = "/internal/self-update/finalize"


@asynccontextmanager
async def drydock(
    folder: Path, *, actions: tuple[Action, ...] = (LOCAL,), watched: WatcherSettings = WATCHER, **container: Any
) -> AsyncIterator[tuple[Host, str]]:
    """A server that runs in the container `drydock`, and that container's id. Time moves when a test moves it."""
    engine = FakeEngine(SkippingClock(longest_s=1.0))
    engine.add_image("app:1")
    engine.add_image("app:2", local=False)
    own = engine.add_container("drydock", {"Image": "app:1", **container})

    async with serve(folder, engine, actions=actions, own=Signs(ids=(own,)), watched=watched) as host:
        await host.watcher.look_again(check=False)
        await host.offer(own, "2")
        yield host, own


async def begin(host: Host, own: str) -> str:
    """Ask for the update and wait until the helper runs; the operation's id."""
    answer = await host.api.post(f"/containers/{own}/update")
    assert answer.status_code == 202, answer.text
    await until(lambda: any(one["State"]["Running"] for one in helpers(host)))
    return str(answer.json()["operationId"])


def helpers(host: Host) -> list[dict[str, Any]]:
    return [one for one in host.engine.containers.values() if SELF_UPDATE_HELPER in one["Config"]["Labels"]]


def order(host: Host) -> Any:
    return read_order(dict(entry.split("=", 1) for entry in helpers(host)[0]["Config"]["Env"]))


async def play_helper(host: Host) -> None:
    """Do what the program in the helper does, while time passes."""
    work = asyncio.ensure_future(process.run(order(host), local_host(host.engine, host.clock), host.clock))
    await pass_time(host, work.done)
    await work


async def pass_time(host: Host, done: Any) -> None:
    """Let time pass until `done`."""
    await until(lambda: host.clock.advance(1) or done(), "the end")


async def status_of(host: Host, operation: str) -> dict[str, Any]:
    answer = await host.api.get(f"/self-update/{operation}/status")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_from_the_request_to_the_new_container(tmp_path: Path) -> None:
    async with drydock(tmp_path, **WITH_SOCKET) as (host, own):
        operation = await begin(host, own)
        assert await status_of(host, operation) == {
            "operationId": operation,
            "status": "in-progress",
            "phase": "new-created",
        }
        await play_helper(host)
        await pass_time(host, lambda: not host.updates.queue.owns(operation))
        ended = await status_of(host, operation)
        assert (ended["status"], ended["phase"]) == ("succeeded", "succeeded")
        assert ended["completedAt"].endswith("Z")
        assert host.engine.names() == {"drydock": "running"}
        listed = (await host.api.get("/containers")).json()["data"]
        assert [(one["name"], one["id"] == own) for one in listed] == [("drydock", False)], "one record, the new one"
        assert not [event for event in host.events if isinstance(event, UpdateApplied)], "nobody is notified"
        entries, _ = await host.store.audit.query(AuditFilter(), 100, 0)
        assert "update-applied" in [entry.action for entry in entries]


async def test_nobody_sees_what_is_only_there_for_the_exchange(tmp_path: Path) -> None:
    async with drydock(tmp_path, **WITH_SOCKET) as (host, own):
        await begin(host, own)
        await host.watcher.look_again(check=False, light=False)
        names = {one["name"] for one in (await host.api.get("/containers")).json()["data"]}
        assert names == {"drydock"}
        labels = [one["labels"] for one in (await host.api.get("/containers")).json()["data"]]
        assert not any(label.startswith(("dd.self-update", "dd.update.op")) for one in labels for label in one)


async def test_browsers_are_told_and_one_of_them_is_waited_for(tmp_path: Path) -> None:
    async with drydock(tmp_path, **WITH_SOCKET) as (host, own), host.api.stream("GET", "/events/ui") as stream:
        lines = stream.aiter_lines()
        hello = await payload_of(lines, "dd:connected")
        answer = await host.api.post(f"/containers/{own}/update")
        operation = answer.json()["operationId"]
        told = await payload_of(lines, "dd:self-update")
        assert (told["opId"], told["requiresAck"], told["ackTimeoutMs"]) == (operation, True, 3000)
        assert not helpers(host), "it waits for the browser"
        client = {"clientId": hello["clientId"], "clientToken": hello["clientToken"]}
        acknowledged = await host.api.post(f"/events/ui/self-update/{operation}/ack", json=client)
        assert acknowledged.json()["status"] == "accepted"
        await until(lambda: helpers(host))


async def payload_of(lines: AsyncIterator[str], name: str) -> dict[str, Any]:
    async with asyncio.timeout(10):
        async for line in lines:
            if line == f"event: {name}":
                return dict(json.loads((await anext(lines)).removeprefix("data: ")))
    raise AssertionError("the stream ended")


async def test_the_report_is_checked_in_order(tmp_path: Path) -> None:
    async with drydock(tmp_path, **WITH_SOCKET) as (host, own):
        operation = await begin(host, own)
        secret = {"X-DD-Self-Update-Secret": order(host).finalize_secret}

        async def answer(body: dict[str, Any], headers: dict[str, str] | None = None) -> tuple[int, str]:
            found = await host.api.post(FINALIZE, json=body, headers=headers)
            return found.status_code, found.json().get("error") or found.json()["status"]

        good = {"operationId": operation, "status": "rolled-back", "lastError": "It did not come up"}
        assert await answer({}) == (400, "operationId is required")
        wrong = (400, "status must be a terminal update-operation status")
        assert await answer({"operationId": operation}) == wrong
        assert await answer({"operationId": operation, "status": "in-progress"}) == wrong
        wrong = (400, "phase must be valid for the supplied terminal status")
        assert await answer({**good, "phase": "succeeded"}) == wrong
        assert (await answer({**good, "operationId": "no-such-operation"}))[0] == 404
        assert await answer(good) == (403, "Valid self-update finalize secret required")
        assert await answer(good, {"X-DD-Self-Update-Secret": "guessed"}) == (
            403,
            "Valid self-update finalize secret required",
        )
        assert (await status_of(host, operation))["status"] == "in-progress"
        assert await answer(good, secret) == (202, "accepted")
        assert (await status_of(host, operation))["status"] == "rolled-back"
        again = await host.api.post(FINALIZE, json=good, headers=secret)
        assert again.json() == {"status": "ignored", "operationId": operation, "reason": "already-terminal"}
        await pass_time(host, lambda: not host.updates.queue.owns(operation))
        shown = (await host.api.get(f"/update-operations/{operation}")).json()
        assert (shown["detail"], shown["rollbackReason"]) == ("It did not come up", "New container failed to start")


async def test_reports_come_from_the_loopback_only(tmp_path: Path) -> None:
    async with drydock(tmp_path, **WITH_SOCKET) as (host, own):
        await begin(host, own)
        app: Any = build(host.services)
        for address, status in (("10.0.0.9", 403), ("::ffff:127.0.0.2", 400), ("::1", 400), ("unknown", 403)):
            transport = httpx.ASGITransport(app=app, client=(address, 4711))
            async with httpx.AsyncClient(transport=transport, base_url="http://drydock/api/v1") as stranger:
                told = await stranger.post(FINALIZE, json={}, headers={"X-Forwarded-For": "127.0.0.1"})
                assert told.status_code == status, address
                if status == 403:
                    assert told.json()["error"] == "Loopback access required"


async def test_other_operations_are_none_of_this_business(tmp_path: Path) -> None:
    async with drydock(tmp_path, **WITH_SOCKET) as (host, _):
        other = await host.container("web")
        answer = await host.api.post(f"/containers/{other}/update")
        operation = answer.json()["operationId"]
        await pass_time(host, lambda: not host.updates.queue.owns(operation))
        told = await host.api.get(f"/self-update/{operation}/status")
        assert (told.status_code, told.json()["error"]) == (404, "Self-update operation not found")
        body = {"operationId": operation, "status": "succeeded"}
        refused = await host.api.post(FINALIZE, json=body)
        assert (refused.status_code, refused.json()["error"]) == (
            409,
            "Update operation is not a self-update operation",
        )


async def test_without_a_way_to_the_engine_it_is_refused(tmp_path: Path) -> None:
    async with drydock(tmp_path) as (host, own):
        answer = await host.api.post(f"/containers/{own}/update")
        assert answer.status_code == 409
        assert "cannot update itself" in answer.json()["error"]
        shown = (await host.api.get(f"/containers/{own}")).json()
        assert "self-update-unavailable" in [one["reason"] for one in shown["updateEligibility"]["blockers"]]
        assert host.engine.names() == {"drydock": "running"}


async def test_over_tcp_the_helper_gets_the_address(tmp_path: Path) -> None:
    async with drydock(tmp_path, watched=replace(WATCHER, host="engine.lan", port=2376)) as (host, own):
        host.engine.add_network("engine")
        await host.engine.connect_network("engine", own, {})
        await begin(host, own)
        told = order(host)
        assert (told.docker_host, told.docker_port, told.docker_protocol) == ("engine.lan", 2376, "http")
        assert helpers(host)[0]["HostConfig"]["NetworkMode"] == host.engine.containers[own]["HostConfig"]["NetworkMode"]
        assert helpers(host)[0]["HostConfig"]["RestartPolicy"]["Name"] == "on-failure"
        joined = helpers(host)[0]["NetworkSettings"]["Networks"]
        assert set(joined) == {"bridge", "engine"}, "each of them may lead to the Engine"


@pytest.mark.parametrize("connection", [{"host": "engine.lan", "cafile": "/ca.pem"}, {"host": "tcp://engine.lan"}])
async def test_a_connection_that_no_helper_could_have(tmp_path: Path, connection: dict[str, str]) -> None:
    async with drydock(tmp_path, watched=replace(WATCHER, **connection)) as (host, own):
        answer = await host.api.post(f"/containers/{own}/update")
        if answer.status_code == 202:
            operation = answer.json()["operationId"]
            await pass_time(host, lambda: not host.updates.queue.owns(operation))
            row = (await host.api.get(f"/update-operations/{operation}")).json()
            assert row["status"] == "failed"
            assert "bare host name" in row["lastError"]
        else:
            assert answer.status_code == 409
        assert host.engine.names() == {"drydock": "running"}


async def test_a_dry_run_changes_nothing_and_says_so(tmp_path: Path) -> None:
    dry = Action(type="docker", name="local", dry_run=True)
    async with drydock(tmp_path, actions=(dry,), **WITH_SOCKET) as (host, own):
        answer = await host.api.post(f"/containers/{own}/update")
        operation = answer.json()["operationId"]
        await pass_time(host, lambda: not host.updates.queue.owns(operation))
        row = (await host.api.get(f"/update-operations/{operation}")).json()
        assert (row["status"], row["kind"]) == ("expired", "self-update")
        assert row["detail"].startswith("Dry run")
        assert host.engine.names() == {"drydock": "running"}


async def test_it_needs_no_permit(tmp_path: Path) -> None:
    async with drydock(tmp_path, **WITH_SOCKET) as (host, own):
        await begin(host, own)
        assert host.updates.queue.locks.dump(), "it holds its own lock"
        answer = await host.api.post(f"/containers/{own}/update")
        assert (answer.status_code, answer.json()["error"]) == (409, "Container update already in progress")


async def test_the_new_server_ends_the_operation_of_the_old_one(tmp_path: Path) -> None:
    async with drydock(tmp_path, **WITH_SOCKET) as (host, own):
        operation = await begin(host, own)
        engine, told = host.engine, order(host)
    await let_pass(engine, process.run(told, local_host(engine, engine.clock), engine.clock))
    new = engine.by_name("drydock")
    assert new is not None
    async with serve(tmp_path, engine, own=Signs(ids=(new["Id"],))) as host:
        await pass_time(host, lambda: not host.updates.queue.owns(operation))
        assert (await status_of(host, operation))["status"] == "succeeded"
        await host.watcher.look_again(check=False)
        confirmed = {"X-DD-Confirm-Action": "container-rollback"}
        answer = await host.api.post(f"/containers/{new['Id']}/rollback", headers=confirmed)
        assert (answer.status_code, answer.json()["error"]) == (409, "Drydock cannot roll back what it runs on")


async def let_pass(engine: FakeEngine, work: Any) -> None:
    """Carry `work` out while time passes, and no server runs."""
    task = asyncio.ensure_future(work)
    clock = engine.clock
    assert isinstance(clock, SkippingClock)
    await until(lambda: clock.advance(1) or task.done(), "the end")
    await task


@pytest.mark.parametrize(("status", "phase"), [("queued", "queued"), ("in-progress", "pulling")])
async def test_what_had_not_begun_expires_at_a_start(tmp_path: Path, status: Any, phase: str) -> None:
    async with drydock(tmp_path, **WITH_SOCKET) as (host, own):
        engine = host.engine
        row = new_operation(host.fleet.need(own), host.clock.now_ms(), kind="self-update", by_helper=True)
        await host.store.operations.save(msgspec.structs.replace(row, status=status, phase=phase))
    async with serve(tmp_path, engine, own=Signs(ids=(own,))) as host:
        await pass_time(host, lambda: not host.updates.queue.owns(row.id))
        shown = (await host.api.get(f"/update-operations/{row.id}")).json()
        assert (shown["status"], shown["detail"]) == ("expired", "Interrupted by a restart before anything was changed")
        assert host.engine.names() == {"drydock": "running"}


async def test_a_helper_that_was_left_behind_is_removed_at_a_start(tmp_path: Path) -> None:
    async with drydock(tmp_path, **WITH_SOCKET) as (host, own):
        operation = await begin(host, own)
        body = {"operationId": operation, "status": "rolled-back"}
        secret = {"X-DD-Self-Update-Secret": order(host).finalize_secret}
        assert (await host.api.post(FINALIZE, json=body, headers=secret)).status_code == 202
        engine = host.engine
        assert helpers(host)
    async with serve(tmp_path, engine, own=Signs(ids=(own,))) as host:
        await until(lambda: not helpers(host))


async def test_a_container_that_lends_drydock_its_network_is_not_touched(tmp_path: Path) -> None:
    async with drydock(tmp_path, **WITH_SOCKET) as (host, own):
        host.engine.containers[own]["HostConfig"]["NetworkMode"] = f"container:{(await host.container('vpn'))}"
        host.watcher.host.namespaces.learn(host.engine.containers[own])
        vpn = host.id_of("vpn")
        answer = await host.api.post(f"/containers/{vpn}/update")
        operation = answer.json()["operationId"]
        await pass_time(host, lambda: not host.updates.queue.owns(operation))
        row = (await host.api.get(f"/update-operations/{operation}")).json()
        assert (row["status"], "shares a namespace" in row["lastError"]) == ("failed", True)
        assert host.engine.names() == {"drydock": "running", "vpn": "running"}


async def test_infrastructure_is_exchanged_through_its_own_socket(tmp_path: Path) -> None:
    labels = {"dd.update.mode": "infrastructure"}
    async with drydock(tmp_path, watched=replace(WATCHER, host="proxy.lan"), **WITH_SOCKET) as (host, own):
        proxy = await host.container(
            "proxy", Labels=labels, User="haproxy", HostConfig={"Binds": ["/run/user/docker.sock:/var/run/docker.sock"]}
        )
        operation = await begin(host, proxy)
        made = helpers(host)[0]
        assert {mount["Source"] for mount in made["HostConfig"]["Mounts"]} == {"/run/user/docker.sock"}
        assert made["Config"]["Image"] == host.engine.containers[own]["Image"], "the image of Drydock, not of the proxy"
        assert made["Config"]["User"] == "0", "a name means nothing in another image"
        await play_helper(host)
        await pass_time(host, lambda: not host.updates.queue.owns(operation))
        row = (await host.api.get(f"/update-operations/{operation}")).json()
        assert (row["status"], row["kind"]) == ("succeeded", "container-update")
        assert host.engine.names() == {"drydock": "running", "proxy": "running"}
        assert [event for event in host.events if isinstance(event, UpdateApplied)]


async def test_infrastructure_without_a_way_around_itself_is_left_alone(tmp_path: Path) -> None:
    async with drydock(tmp_path, watched=replace(WATCHER, host="proxy"), **WITH_SOCKET) as (host, _):
        proxy = await host.container("proxy")
        answer = await host.api.post(f"/containers/{proxy}/update")
        operation = answer.json()["operationId"]
        await pass_time(host, lambda: not host.updates.queue.owns(operation))
        row = (await host.api.get(f"/update-operations/{operation}")).json()
        assert (row["status"], host.id_of("proxy")) == ("failed", proxy)
        assert "could not reach the Docker Engine" in row["lastError"]
