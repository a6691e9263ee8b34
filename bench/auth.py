"""Sign-in, event fan-out and audit: what it costs that somebody stands at the door and looks on."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp

from bench.processes import DRYDOCK, ask, free_port, program, until
from bench.report import Figure, show
from drydock.auth.passwords import make_hash
from drydock.core.audit import AuditEntry
from drydock.core.times import to_iso
from drydock.store.settings import StoreSettings
from drydock.store.store import open_store

PASSWORD = "bench password"
TOKEN = "dd_benchmarks_" + "k" * 43
REQUESTS, ROUNDS, CLIENTS, EVENTS, ENTRIES = 200, 5, 500, 40, 300
PATH = "/api/v1/app"


def everything() -> list[Figure]:
    """All figures of this module."""
    return [*requests(), *fan_out(), *audit()]


def signed_in() -> dict[str, str]:
    """Variables of a server with one user and one key."""
    return {
        "DD_AUTH_BASIC_ADMIN_USER": "admin",
        "DD_AUTH_BASIC_ADMIN_HASH": make_hash(PASSWORD),
        "DD_AUTH_APIKEY_BENCH_HASH": hashlib.sha256(TOKEN.encode()).hexdigest(),
        "DD_AUTH_APIKEY_BENCH_SCOPES": "read",
        "DD_SERVER_TRUSTPROXY": "1",
    }


@asynccontextmanager
async def server(**environ: str) -> AsyncIterator[tuple[int, int]]:
    """A server that watches nothing; its port and process id."""
    port = free_port()
    with tempfile.TemporaryDirectory() as home:
        own = {"DD_STORE_PATH": home, "DD_SERVER_HOST": "127.0.0.1", "DD_SERVER_PORT": str(port)}
        own |= {"DD_LOCAL_WATCHER": "false", "DD_LOG_LEVEL": "error", "DD_SERVER_RATELIMIT_MAX": "100000000"}
        with program(DRYDOCK, "serve", env={**own, **environ}) as process:
            await asyncio.to_thread(until, lambda: ask(port, "GET", "/health"), "the server")
            yield port, process.pid


def requests() -> list[Figure]:
    """How much longer a request takes with a session, a key, or a password than in anonymous mode."""
    return asyncio.run(_requests())


async def _requests() -> list[Figure]:
    async with AsyncExitStack() as stack:
        open_port, _ = await stack.enter_async_context(server(DD_ANONYMOUS_AUTH_CONFIRM="true"))
        port, _ = await stack.enter_async_context(server(**signed_in()))
        http = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
        ways = {
            "anonymous": (open_port, {}),
            "session": (port, {"Cookie": await _session(http, port)}),
            "key": (port, {"Authorization": f"Bearer {TOKEN}"}),
            "basic": (port, {"Authorization": _basic()}),
        }
        rounds = [{name: await _median(http, *way) for name, way in ways.items()} for _ in range(ROUNDS)]
    cost = {name: statistics.median(one[name] - one["anonymous"] for one in rounds) for name in ways}
    return [
        Figure(f"extra time of a request with a {name}", round(cost[name], 3), 0.3, "ms")
        for name in ("session", "key", "basic")
    ]


def _basic() -> str:
    return "Basic " + base64.b64encode(f"admin:{PASSWORD}".encode()).decode()


async def _session(http: aiohttp.ClientSession, port: int) -> str:
    async with http.post(f"http://127.0.0.1:{port}/auth/login", headers={"Authorization": _basic()}) as answer:
        return answer.headers["Set-Cookie"].split(";")[0]


async def _median(http: aiohttp.ClientSession, port: int, headers: Mapping[str, str]) -> float:
    """Median time of a request in ms."""
    times = []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        async with http.get(f"http://127.0.0.1:{port}{PATH}", headers=headers) as answer:
            await answer.read()
            assert answer.status == 200, answer.status
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def fan_out() -> list[Figure]:
    """CPU time of the server for one event to 500 clients."""
    return asyncio.run(_fan_out())


async def _fan_out() -> list[Figure]:
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        server(**signed_in()) as (port, pid),
        aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(), read_bufsize=1024) as http,
    ):
        received = asyncio.Semaphore(0)
        listeners = [asyncio.create_task(_listen(http, port, number, received)) for number in range(CLIENTS)]
        await _acquire(received, CLIENTS)
        cookie = await _session(http, port)
        spent = _cpu_s(pid)
        for number in range(EVENTS):
            await _publish(http, port, cookie, number)
            await _acquire(received, CLIENTS)
        cost = (_cpu_s(pid) - spent) * 1000 / EVENTS
        for listener in listeners:
            listener.cancel()
        await asyncio.gather(*listeners, return_exceptions=True)
    return [Figure(f"server CPU for one event to {CLIENTS} clients", round(cost, 1), 25, "ms")]


async def _listen(http: aiohttp.ClientSession, port: int, number: int, received: asyncio.Semaphore) -> None:
    """One client, under an address of its own; every frame that carries an event is counted."""
    headers = {"Authorization": f"Bearer {TOKEN}", "X-Forwarded-For": f"10.1.{number // 250}.{number % 250}"}
    async with http.get(f"http://127.0.0.1:{port}/api/v1/events/ui", headers=headers) as answer:
        async for line in answer.content:
            if line.startswith((b"event: dd:connected", b"event: dd:preferences")):
                received.release()


async def _publish(http: aiohttp.ClientSession, port: int, cookie: str, number: int) -> None:
    body = {"apiVersion": 1, "schemaVersion": number, "preferences": {}}
    url = f"http://127.0.0.1:{port}/api/v1/preferences"
    async with http.patch(url, json=body, headers={"Cookie": cookie}) as answer:
        assert answer.status == 200, await answer.text()


async def _acquire(semaphore: asyncio.Semaphore, number: int) -> None:
    async with asyncio.timeout(60):
        for _ in range(number):
            await semaphore.acquire()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def audit() -> list[Figure]:
    """Median time of one durable, chained audit entry."""
    return [Figure("one audit entry, durable and chained (median)", round(asyncio.run(_audit()), 2), 2, "ms")]


async def _audit() -> float:
    with tempfile.TemporaryDirectory() as home:
        store = await open_store(StoreSettings(path=home))
        times = []
        for number in range(ENTRIES):
            at = to_iso(1_770_000_000_000 + number)
            entry = AuditEntry(id=str(number), timestamp=at, action="preview", container_name="web", status="info")
            began = time.perf_counter()
            await store.audit.append(entry)
            times.append((time.perf_counter() - began) * 1000)
        await store.close()
    return statistics.median(times)


if __name__ == "__main__":
    show(everything())
