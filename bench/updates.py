"""Updates on a real Engine: how many calls one costs, how long it takes, and whether 20 of them starve the API.

The Engine, a registry and the product run in a sandbox; between product and Engine stands a proxy that counts and times every
request. Nothing is measured where no sandbox can be made.

Counted is everything from the request to the end of what follows the update: admission, preflight, swap, the new record
in the fleet, the backup that falls off the end. "Without pull and stop" leaves out these two calls and their time, and
the liveness grace: like a container's stop it is a wait that was asked for, `DD_UPDATE_POST_START_LIVENESS_GRACE_MS`, 2 s
unless set. Most of the rest is the Engine's own work (a start takes it 150 to 400 ms); "of it ours" is what passes while
no call runs. The shortest of the runs counts: machines are noisy.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from bench.processes import PYTHON, ROOT
from bench.report import Figure, show

GRACE_MS = 2000
ROUNDS = 5
QUEUED, CAP = 20, 4
POLL_S = 0.02
PATIENCE_S = 120.0
SERVE = ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done"]


def suite() -> list[Figure]:
    """Everything here; nothing where no sandbox can be made."""
    from lab import sandbox

    if sandbox.possible() is not None:
        return []
    command = [PYTHON, "-m", "lab.sandbox", PYTHON, "-m", "bench.updates", "inside"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return [
        Figure("Engine calls of the first plain update after a start", found["first"], 14, ""),
        Figure("Engine calls of a plain update", found["calls"], 14, ""),
        Figure("plain update without pull, stop and liveness grace", found["ms"], 400, "ms"),
        Figure("of it ours, the journal's commits included", found["own"], 150, "ms"),
        Figure(f"{QUEUED} updates, {CAP} at a time: ended well", found["ended"], QUEUED, "", "more"),
        Figure(f"list while {QUEUED} updates run, p99 of {found['polls']}", found["p99"], 50, "ms"),
    ]


# ── the proxy ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Call:
    """One request to the Engine: `POST /containers/ID/stop`, and how long it took."""

    what: str
    seconds: float


class Proxy:
    """Passes everything on to an Engine, and remembers what."""

    def __init__(self, engine: Path) -> None:
        self.calls: list[Call] = []
        self._engine = engine

    @contextlib.asynccontextmanager
    async def serve(self, socket: Path) -> AsyncIterator[None]:
        """Listen at `socket` until the block ends."""
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", self._pass)
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self._engine), limit=0)) as self._session:
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.UnixSite(runner, str(socket)).start()
            yield
            await runner.cleanup()

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        began = time.monotonic()
        headers = {k: v for k, v in request.headers.items() if k.lower() not in ("host", "content-length")}
        options: dict[str, Any] = {"headers": headers, "data": await request.read() or None, "timeout": None}
        async with self._session.request(request.method, f"http://engine{request.raw_path}", **options) as answer:
            response = web.StreamResponse(status=answer.status, headers=_kept(answer.headers))
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
        path = re.sub(r"^/v1\.\d+", "", request.path_qs)
        self.calls.append(Call(f"{request.method} {_short(path)}", time.monotonic() - began))
        return response

    def until_removed(self) -> list[Call]:
        """The calls of an update up to the removal of the old container, its last one."""
        removed = [n for n, call in enumerate(self.calls) if call.what.startswith("DELETE /containers/")]
        return self.calls[: removed[-1] + 1]


def _kept(headers: Any) -> dict[str, str]:
    return {k: v for k, v in headers.items() if k.lower() not in ("transfer-encoding", "content-length", "connection")}


def _short(path: str) -> str:
    return re.sub(r"(sha256:)?[0-9a-f]{64}", "ID", path)


# ── the scene ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Scene:
    """Images, containers and the product's HTTP interface."""

    def __init__(self, docker: Any, images: Any, api: aiohttp.ClientSession) -> None:
        self._docker, self._images, self._api = docker, images, api

    async def image(self, repository: str, tag: str, *, pull: bool = False) -> str:
        """Publish an image; `pull` lets the Engine have it."""
        day = int(tag.split(".")[1]) + 1
        config, created = {"Cmd": SERVE}, f"2026-02-{day:02d}T00:00:00Z"
        await asyncio.to_thread(self._images.push, repository, tag, config=config, created=created)
        reference = f"{self._images.host}/{repository}:{tag}"
        if pull:
            await asyncio.to_thread(self._docker.api.pull, reference)
        return reference

    async def run(self, name: str, image: str, **host: Any) -> None:
        """Start a container that is watched."""
        document = {"Image": image, "Labels": {"dd.tag.family": "loose"}, "HostConfig": host}
        await asyncio.to_thread(self._docker.api.run, name, document)

    async def get(self, path: str) -> Any:
        """One GET, decoded."""
        async with self._api.get(f"/api/v1{path}") as answer:
            return await answer.json()

    async def post(self, path: str, body: Any = None) -> Any:
        """One POST, decoded; anything but success raises."""
        async with self._api.post(f"/api/v1{path}", json=body) as answer:
            if answer.status >= 300:
                raise OSError(f"POST {path}: {answer.status} {await answer.text()}")
            return await answer.json()

    async def waiting(self) -> dict[str, str]:
        """Check everything; ids by name of the containers with an update."""
        await self.post("/containers/watch")
        rows = (await self.get("/containers"))["data"]
        return {row["name"]: row["id"] for row in rows if row.get("updateAvailable")}

    async def ended(self, operation: str) -> dict[str, Any]:
        """The operation once it is over."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                row: dict[str, Any] = await self.get(f"/update-operations/{operation}")
                if row["status"] not in ("queued", "in-progress"):
                    return row
                await asyncio.sleep(0.05)


def apart(call: Call) -> bool:
    """The pull and the stop."""
    return call.what.startswith("POST /images/create") or call.what.endswith("/stop")


async def one(scene: Scene, proxy: Proxy, tag: str) -> tuple[int, float, float]:
    """Update the container `web`: calls to the Engine, ms in all, and ms of our own; without pull, stop and grace."""
    await scene.image("bench/web", tag)
    found = await scene.waiting()
    proxy.calls.clear()
    row = await scene.ended((await scene.post(f"/containers/{found['web']}/update"))["operationId"])
    if row["status"] != "succeeded":
        raise RuntimeError(f"the update ended {row['status']}: {row.get('lastError')}")
    await asyncio.sleep(0.3)  # what follows the end counts as well
    whole = _seconds(row, "completedAt") - _seconds(row, "createdAt") - GRACE_MS / 1000
    calls = proxy.until_removed()
    asked = sum(call.seconds for call in calls if not apart(call))
    waited = sum(call.seconds for call in calls if apart(call))
    count = sum(not apart(call) for call in proxy.calls)
    return count, (whole - waited) * 1000, (whole - waited - asked) * 1000


def _seconds(row: dict[str, Any], key: str) -> float:
    return datetime.fromisoformat(row[key]).timestamp()


async def many(scene: Scene, port: str) -> dict[str, Any]:
    """Queue an update of each, and look at the list all the while."""
    found = await scene.waiting()
    answer = await scene.post("/containers/update", {"containerIds": [found[f"q{n}"] for n in range(QUEUED)]})
    poller = await asyncio.create_subprocess_exec(
        PYTHON, "-m", "bench.updates", "poll", port, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    rows = await asyncio.gather(*(scene.ended(accepted["operationId"]) for accepted in answer["accepted"]))
    taken = json.loads((await poller.communicate(b"enough"))[0])
    ended = sum(row["status"] == "succeeded" for row in rows)
    return {"ended": ended, "polls": len(taken), "p99": round(statistics.quantiles(taken, n=100)[98] * 1000, 1)}


def poll(port: int) -> list[float]:
    """Ask for the list, a process of its own with one connection, until there is something to read; seconds each."""
    connection, taken = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S), []
    while not select.select([sys.stdin], [], [], POLL_S)[0]:
        began = time.monotonic()
        connection.request("GET", "/api/v1/containers")
        connection.getresponse().read()
        taken.append(time.monotonic() - began)
    return taken


async def inside() -> dict[str, Any]:
    """Measure; runs in the sandbox."""
    from lab.engine import DockerEngine
    from lab.images import Pusher
    from lab.registry import RegistryServer
    from lab.server import ProductServer

    home = Path(tempfile.mkdtemp(prefix="up", dir="/run"))
    registry, docker = RegistryServer(home / "r").start(), DockerEngine(home / "e").start()
    proxy, socket = Proxy(docker.socket), home / "proxy.sock"
    variables = {
        "DD_WATCHER_LOCAL_SOCKET": str(socket),
        "DD_WATCHER_LOCAL_CRON": "0 0 1 1 *",
        "DD_REGISTRY_CUSTOM_LAB_URL": registry.url,
        "DD_ACTION_DOCKER_LOCAL_PRUNE": "false",
        "DD_UPDATE_MAX_CONCURRENT": str(CAP),
        "DD_UPDATE_POST_START_LIVENESS_GRACE_MS": str(GRACE_MS),
    }
    server = ProductServer(home, variables)
    base = aiohttp.ClientSession(base_url=server.url)
    async with proxy.serve(socket), base as api:
        scene = Scene(docker, Pusher(registry.host, registry.connection), api)
        await _furnish(scene)
        quiet = await _served(home / "one", {**variables, "DD_WATCHER_LOCAL_WATCHEVENTS": "false"})
        scene_of_one = Scene(docker, scene._images, aiohttp.ClientSession(base_url=quiet.url))
        runs = [await one(scene_of_one, proxy, f"1.{n}.0") for n in range(1, ROUNDS + 1)]
        await asyncio.to_thread(quiet.stop)
        await scene_of_one._api.close()
        for number in range(QUEUED):
            await scene.image(f"bench/q{number}", "1.1.0")
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(server.scanned)
        crowd = await many(scene, str(server.port))
        await asyncio.to_thread(server.stop)
    await asyncio.to_thread(docker.api.clear)
    docker.stop()
    registry.stop()
    counts, times, own = zip(*runs, strict=True)
    return {"first": counts[0], "calls": max(counts[1:]), "ms": round(min(times)), "own": round(min(own)), **crowd}


async def _furnish(scene: Scene) -> None:
    policy = {"RestartPolicy": {"Name": "unless-stopped"}}
    await scene.run("web", await scene.image("bench/web", "1.0.0", pull=True), **policy)
    for number in range(QUEUED):
        await scene.run(f"q{number}", await scene.image(f"bench/q{number}", "1.0.0", pull=True), **policy)


async def _served(home: Path, variables: dict[str, str]) -> Any:
    from lab.server import ProductServer

    await asyncio.to_thread(home.mkdir)
    server = ProductServer(home, variables)
    await asyncio.to_thread(server.start)
    await asyncio.to_thread(server.scanned)
    return server


if __name__ == "__main__":
    if sys.argv[1:2] == ["inside"]:
        print(json.dumps(asyncio.run(inside())))
    elif sys.argv[1:2] == ["poll"]:
        print(json.dumps(poll(int(sys.argv[2]))))
    else:
        show(suite())
