"""The event stream over HTTP (platform-api.md §12, container-api.md §12)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from contract.product import Product, serve_product
from drydock.events import (
    BatchFinished,
    HealthChanged,
    OperationChanged,
    ScanCompleted,
    ScanCycleCompleted,
    ScanStarted,
    UpdateApplied,
    UpdateFailed,
)
from kit.containers import container, container_id
from kit.wait import until

PATH = "/api/v1/events/ui"
LIMIT_S = 10.0


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Product]:
    async with serve_product(tmp_path, DD_ANONYMOUS_AUTH_CONFIRM="true") as made:
        yield made


class Frame(dict[str, str]):
    """One frame: `id`, `event`, `data`."""

    @property
    def payload(self) -> Any:
        return json.loads(self["data"])


class Listener:
    """Reads frames of one connection."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.aiter_lines()

    async def next(self) -> Frame:
        found = Frame()
        async with asyncio.timeout(LIMIT_S):
            async for line in self._lines:
                if not line and found:
                    return found
                name, _, value = line.partition(": ")
                found[name] = value
        raise AssertionError("the stream ended")

    async def until(self, event: str) -> list[Frame]:
        """Frames up to the first of this name, which is included."""
        found = [await self.next()]
        while found[-1]["event"] != event:
            found.append(await self.next())
        return found


@asynccontextmanager
async def listen(server: Product, path: str = PATH, **headers: str) -> AsyncIterator[Listener]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with server.client().stream("GET", path, headers=sent, timeout=LIMIT_S) as answer:
        yield Listener(answer)


async def test_the_connection_greets_without_an_id(server: Product) -> None:
    async with listen(server, Accept_Encoding="gzip") as stream:
        headers = stream.answer.headers
        assert headers["content-type"].startswith("text/event-stream")
        assert headers["cache-control"] == "no-cache, no-transform"
        assert headers["x-accel-buffering"] == "no"
        assert "content-encoding" not in headers
        hello = await stream.next()
        assert "id" not in hello
        assert hello["event"] == "dd:connected"
        assert hello.payload["clientId"].startswith("sse-client-")
        assert hello.payload["clientToken"].startswith("sse-token-")


async def test_heartbeats_have_no_id(server: Product) -> None:
    async with listen(server) as stream:
        await stream.until("dd:connected")
        server.clock.advance(15)
        assert dict(await stream.next()) == {"event": "dd:heartbeat", "data": "{}"}


async def test_every_event_has_its_name_and_payload(server: Product) -> None:
    one = container(1, update="1.1.0")
    operation = {
        "id": "op-1",
        "containerName": one.name,
        "containerId": one.id,
        "status": "in-progress",
        "phase": "pulling",
        "snapshot": {"Env": ["DB_PASSWORD=s3cret"]},
    }
    batch = {"batchId": "b", "total": 1, "succeeded": 1, "failed": 0, "durationMs": 5, "items": []}
    cycle = {"cycleId": "c", "scannedCount": 1, "alertCount": 0, "scope": "scheduled"}
    async with listen(server) as stream:
        await stream.until("dd:connected")
        await server.seed(one)
        await server.seed(container(1, update="1.2.0"))
        bus = server.application.bus
        bus.publish(HealthChanged(container=one, previous="healthy"))
        bus.publish(ScanStarted(container_id=one.id))
        bus.publish(ScanCompleted(container_id=one.id, status="passed"))
        bus.publish(ScanCycleCompleted(summary=cycle))
        bus.publish(OperationChanged(operation=operation))
        bus.publish(UpdateApplied(operation={**operation, "status": "succeeded", "newContainerId": "n"}, container=one))
        bus.publish(
            UpdateFailed(operation={**operation, "phase": "failed"}, error="401 for Authorization: Bearer abcdefghij")
        )
        bus.publish(BatchFinished(summary=batch))
        await server.application.fleet.remove(one.id, replacement_expected=True)
        frames = {frame["event"]: frame for frame in await stream.until("dd:container-removed")}
    added, removed = frames["dd:container-added"].payload, frames["dd:container-removed"].payload
    assert added["id"] == one.id
    assert set(msgspec.to_builtins(server.application.fleet.view_of(one))) <= set(added)
    assert {entry["value"] for entry in added["details"]["env"] if entry["sensitive"]} == {"***"}
    assert removed["replacementExpected"] is True
    assert "updateEligibility" not in removed
    assert frames["dd:container-updated"].payload["result"]["tag"] == "1.2.0"
    assert frames["dd:container-unhealthy"].payload["previousHealth"] == "healthy"
    assert frames["dd:scan-started"].payload == {"containerId": one.id}
    assert frames["dd:scan-completed"].payload == {"containerId": one.id, "status": "passed"}
    assert frames["dd:security-scan-cycle-complete"].payload == cycle
    changed = frames["dd:update-operation-changed"].payload
    assert changed == {
        "operationId": "op-1",
        "containerName": one.name,
        "containerId": one.id,
        "status": "in-progress",
        "phase": "pulling",
    }
    applied = frames["dd:update-applied"].payload
    assert {
        "previousDigest": None,
        "newDigest": None,
        "batchId": None,
        "newContainerId": "n",
    }.items() <= applied.items()
    failed = frames["dd:update-failed"].payload
    assert failed["phase"] == "failed"
    assert "abcdefghij" not in failed["error"]
    assert frames["dd:batch-update-completed"].payload == batch
    assert "s3cret" not in str(frames)
    numbers = [int(frame["id"].split(":")[1]) for frame in frames.values()]
    assert len(numbers) == len(set(numbers))


async def clients(server: Product, number: int) -> None:
    """Wait until so many clients are connected."""
    await until(lambda: len(server.services.live.events) == number, f"{number} clients")


async def seen(server: Product) -> str:
    """The id of one event, after which the client goes away."""
    async with listen(server) as stream:
        await stream.until("dd:connected")
        server.services.live.events.send("dd:scan-started", {"containerId": "x"})
        return (await stream.next())["id"]


@pytest.mark.parametrize("how", ["header", "query"])
async def test_replay_of_what_was_missed(server: Product, how: str) -> None:
    last = await seen(server)
    for number in range(3):
        server.services.live.events.send("dd:agent-stats-changed", {"agentName": f"a{number}"})
    options = {"Last_Event_ID": last} if how == "header" else {}
    path = PATH if how == "header" else f"{PATH}?last-event-id={last}"
    async with listen(server, path, **options) as stream:
        frames = await stream.until("dd:connected")
        assert [frame.payload.get("agentName") for frame in frames[:-1]] == ["a0", "a1", "a2"]
        boot, _, number = last.partition(":")
        assert [frame["id"] for frame in frames[:-1]] == [f"{boot}:{int(number) + step}" for step in (1, 2, 3)]


async def test_another_process_means_read_everything_again(server: Product) -> None:
    await seen(server)
    for last in ("other-boot:1", f"{server.services.live.events.boot_id}:99999"):
        async with listen(server, Last_Event_ID=last) as stream:
            first = await stream.next()
            assert (first["event"], first.payload) == ("dd:resync-required", {"reason": "boot-mismatch"})
            assert (await stream.next())["event"] == "dd:connected"


async def test_too_old_means_read_everything_again(server: Product) -> None:
    last = await seen(server)
    server.services.live.events.send("dd:scan-started", {"containerId": "missed"})
    server.clock.advance(301)
    async with listen(server, Last_Event_ID=last) as stream:
        assert (await stream.next()).payload == {"reason": "buffer-evicted"}


async def test_nothing_missed_means_nothing_replayed(server: Product) -> None:
    last = await seen(server)
    server.clock.advance(301)
    for odd in (last, "nonsense", "a b:1"):
        async with listen(server, Last_Event_ID=odd) as stream:
            assert (await stream.next())["event"] == "dd:connected"


async def test_ten_streams_per_address_and_a_place_is_free_again(server: Product) -> None:
    async def hold(done: asyncio.Event, held: asyncio.Semaphore) -> None:
        async with listen(server) as stream:
            await stream.until("dd:connected")
            held.release()
            await done.wait()

    done, held = asyncio.Event(), asyncio.Semaphore(0)
    tasks = [asyncio.create_task(hold(done, held)) for _ in range(10)]
    async with asyncio.timeout(LIMIT_S):
        for _ in tasks:
            await held.acquire()
    refused = await server.client().get(PATH)
    assert (refused.status_code, refused.json()) == (429, {"error": "Too many SSE connections"})
    done.set()
    await asyncio.gather(*tasks)
    async with asyncio.timeout(LIMIT_S):
        await clients(server, 0)
    async with listen(server) as stream:
        assert (await stream.next())["event"] == "dd:connected"


async def test_a_stalled_client_delays_nobody(server: Product) -> None:
    """One client never reads; another gets every event, and the stalled one is let go with bounded memory."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    _, stalled = await asyncio.open_connection(host, int(port), limit=1024)
    stalled.write(f"GET {PATH} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    async with asyncio.timeout(LIMIT_S):
        await clients(server, 1)
    padding = "x" * 20_000
    async with listen(server) as stream:
        await stream.until("dd:connected")
        for number in range(600):
            server.services.live.events.send("dd:agent-stats-changed", {"agentName": f"{number}{padding}"})
            assert (await stream.next()).payload["agentName"] == f"{number}{padding}"
    stalled.close()
    async with asyncio.timeout(LIMIT_S):
        await clients(server, 0)


async def test_acknowledging_a_self_update(server: Product) -> None:
    client = server.client()
    async with listen(server) as stream:
        hello = (await stream.until("dd:connected"))[-1].payload
        path = f"{PATH}/self-update/op-9/ack"
        assert (await client.post(path, json=hello)).json()["reason"] == "no-pending-ack"
        waiting = asyncio.create_task(
            server.services.live.acknowledgements.announce("op-9", requires_ack=True, wait_ms=8000)
        )
        told = (await stream.until("dd:self-update"))[-1].payload
        assert (told["opId"], told["requiresAck"], told["ackTimeoutMs"]) == ("op-9", True, 8000)
        assert (await client.post(path, json={})).json() == {"error": "clientId is required"}
        assert (await client.post(path, json={"clientId": "x"})).json() == {"error": "clientToken is required"}
        wrong = await client.post(path, json={**hello, "clientToken": "sse-token-invented"})
        assert (wrong.status_code, wrong.json()["reason"]) == (403, "client-token-mismatch")
        right = await client.post(path, json=hello)
        assert right.status_code == 202
        assert right.json() == {"status": "accepted", "operationId": "op-9", "ackedClients": 1, "clientsAtEmit": 1}
        assert await waiting is True


async def test_a_stranger_hears_nothing(tmp_path: Path) -> None:
    async with serve_product(tmp_path) as server:
        assert (await server.client().get(PATH)).status_code == 401


async def test_audit_follows_events(server: Product) -> None:
    one = container(7, update="1.1.0")
    await server.seed(one)
    await server.seed(container(7, update="1.1.0", status="exited"))
    await server.application.bus.drain()
    (found,) = await server.audit("update-available")
    assert (found["from_version"], found["to_version"], found["semver_diff"]) == ("1.0.0", "1.1.0", "minor")
    assert found["container_identity_key"] == f"::local::{one.name}"
    assert len(await server.audit("container-added")) == 1
    assert (await server.audit("container-update"))[0]["details"] == "status: exited"
    assert found["container_name"] == one.name
    assert one.id == container_id(7)
