"""Logs and stats: the demultiplexer, stalled viewers, many viewers, the fleet's tick, one round over a real host.

`python -m bench.observe serve PORT` and `python -m bench.observe round` are the programs that are measured.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import aiohttp

from bench.processes import PYTHON, ROOT, ask, free_port, program, resident_mb, until
from bench.report import Figure, show
from bench.talkers import TalkingEngine, Watched, framed
from drydock.clock import SystemClock
from drydock.docker.connect import resolve
from drydock.docker.logs import LogReader
from drydock.hosts.host import Hosts
from drydock.hosts.local import LocalHost
from drydock.hosts.settings import WatcherSettings
from drydock.logs.room import Logs
from drydock.logs.selection import Selection
from drydock.logs.viewer import Viewer
from drydock.stats.room import Stats
from drydock.stats.settings import StatsSettings
from drydock.supervisor import Supervisor

CONTAINERS, VIEWERS, CLIENTS, TICKS = 20, 200, 500, 20


def hosts_over(engine: Any) -> Hosts:
    """The watcher `local` over this Engine."""
    settings = WatcherSettings(name="local")
    return Hosts([LocalHost(settings, engine, SystemClock())])


def demultiplexer() -> list[Figure]:
    """Bytes of the Engine to lines, on one core."""
    chunk, rounds = framed(1, 2_500), 200
    reader, lines, began = LogReader(tty=False), 0, time.process_time()
    for _ in range(rounds):
        lines += len(reader.feed(chunk))
    return [Figure("log demultiplexer", round(lines / (time.process_time() - began)), 100_000, "lines/s", "more")]


def stalled() -> list[Figure]:
    """A million lines to one viewer that reads and one that does not."""
    return asyncio.run(_stalled(chunks=400, lines=2_500))


async def _stalled(chunks: int, lines: int) -> list[Figure]:
    engine: Any = TalkingEngine(chunks, lines, 0)
    service = Logs(Watched(1), hosts_over(engine), SystemClock())
    first = f"{0:064x}"
    before, began = resident_mb(os.getpid()), time.process_time()
    async with (
        service.viewer(first, Selection(tail=0), follow=True),
        service.viewer(first, Selection(tail=0), follow=True) as reading,
    ):
        taken, most = await _drain(reading)
    rate = taken / (time.process_time() - began)
    return [
        Figure("log stream with a stalled viewer", round(rate), 100_000, "lines/s", "more"),
        Figure("… lines lost by the other viewer", chunks * lines - taken, 0, ""),
        Figure("… memory growth", round(most - before, 1), 20, "MB"),
    ]


async def _drain(viewer: Viewer) -> tuple[int, float]:
    taken, most = 0, 0.0
    while messages := await viewer.take():
        taken += len(messages)
        if taken % 100_000 < len(messages):
            most = max(most, resident_mb(os.getpid()))
    return taken, most


def viewers() -> list[Figure]:
    """Many viewers of talking containers: memory of the server."""
    port = free_port()
    with program(PYTHON, "-m", "bench.observe", "serve", str(port)) as server:
        until(lambda: ask(port, "GET", "/health"), "the server")
        asyncio.run(_look(port, seconds=5.0))
        return [Figure(f"{VIEWERS} viewers of {CONTAINERS} containers", resident_mb(server.pid), 150, "MB")]


async def _look(port: int, seconds: float) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session, AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(session.ws_connect(_stream(port, n))) for n in range(VIEWERS)]
        async with asyncio.timeout(seconds * 10):
            await asyncio.gather(*(_take(socket, 500) for socket in sockets))


def _stream(port: int, number: int) -> str:
    return f"http://127.0.0.1:{port}/api/v1/containers/{number % CONTAINERS:064x}/logs/stream"


async def _take(socket: aiohttp.ClientWebSocketResponse, count: int) -> None:
    for _ in range(count):
        await socket.receive()


def tick() -> list[Figure]:
    """CPU time of the server for one tick that reaches 500 clients of the fleet summary."""
    port = free_port()
    with program(PYTHON, "-m", "bench.observe", "serve", str(port)) as server:
        until(lambda: ask(port, "GET", "/health"), "the server")
        used = asyncio.run(_ticks(port, server.pid))
    return [Figure(f"one tick to {CLIENTS} SSE clients, CPU time", round(used * 1000, 1), 25, "ms")]


async def _ticks(port: int, pid: int) -> float:
    url = f"http://127.0.0.1:{port}/api/v1/stats/summary/stream"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session, AsyncExitStack() as stack:
        answers = [await stack.enter_async_context(session.get(url)) for _ in range(CLIENTS)]
        await asyncio.gather(*(_events(each, 3) for each in answers))
        before = _cpu_s(pid)
        await asyncio.gather(*(_events(each, TICKS) for each in answers))
        return (_cpu_s(pid) - before) / TICKS


async def _events(answer: aiohttp.ClientResponse, count: int) -> None:
    async for line in answer.content:
        if line.startswith(b"event: dd:stats-summary"):
            count -= 1
            if not count:
                return


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def unseen() -> list[Figure]:
    """Stats requests of a server that nobody looks at."""
    return asyncio.run(_unseen(3.0))


async def _unseen(seconds: float) -> list[Figure]:
    engine: Any = TalkingEngine(0, 0, 0)
    async with Supervisor(SystemClock()) as supervisor:
        settings = StatsSettings(interval_s=0.1)
        stats = Stats(Watched(CONTAINERS), hosts_over(engine), SystemClock(), supervisor, settings)
        await stats.start()
        await asyncio.sleep(seconds)
    return [Figure("stats requests with no viewer", engine.calls.total(), 0, "")]


def host() -> list[Figure]:
    """One round over 40 running containers of a real Engine; nothing where none can be started."""
    from lab import sandbox

    if sandbox.possible() is not None:
        return []
    command = [PYTHON, "-m", "lab.sandbox", PYTHON, "-m", "bench.observe", "round"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return [
        Figure("one round over 40 containers: stats", found["stats"], 40, "", "more"),
        Figure("one round over 40 containers", found["seconds"], 3, "s"),
    ]


def main() -> None:
    """Run everything here, or be one of the measured programs."""
    if sys.argv[1:2] == ["serve"]:
        _serve(int(sys.argv[2]))
    elif sys.argv[1:2] == ["round"]:
        print(json.dumps(asyncio.run(_round(40))))
    else:
        show([*demultiplexer(), *stalled(), *viewers(), *tick(), *unseen(), *host()])


def _serve(port: int) -> None:
    import uvicorn

    from drydock.api.application import build
    from kit.api_site import services

    clock, watched = SystemClock(), Watched(CONTAINERS)
    engine: Any = TalkingEngine(10_000, 20, 0.2)

    async def serve() -> None:
        async with Supervisor(clock) as supervisor:
            stats = Stats(watched, hosts_over(engine), clock, supervisor, StatsSettings(interval_s=0.5))
            await stats.start()
            logs = Logs(watched, hosts_over(engine), clock)
            application = cast(Any, build(services(clock=clock, fleet=watched, logs=logs, stats=stats)))
            config = uvicorn.Config(application, port=port, log_level="critical", lifespan="off")
            await uvicorn.Server(config).serve()

    import uvloop

    uvloop.run(serve())


async def _round(count: int) -> dict[str, float]:
    from drydock.compat.dockhand.rounds import Limits, Round
    from drydock.docker.connect import connect, from_docker_host
    from lab.engine import DockerEngine
    from lab.images import Pusher
    from lab.registry import RegistryServer

    home = Path(tempfile.mkdtemp(prefix="ob", dir="/run"))
    registry = RegistryServer(home / "r").start()
    docker = DockerEngine(home / "e").start()
    images = Pusher(registry.host, registry.connection)
    images.push("bench/web", "1.0.0")
    image = f"{images.host}/bench/web:1.0.0"
    docker.api.pull(image)
    for number in range(count):
        docker.api.run(f"b{number}", {"Image": image})
    engine = connect(resolve(from_docker_host({"DOCKER_HOST": docker.host})))
    taken = []
    for _ in range(3):
        one, began = Round(engine, Limits()), time.monotonic()
        await one.run()
        taken.append(time.monotonic() - began)
    await engine.close()
    docker.api.clear()
    docker.stop()
    registry.stop()
    return {"seconds": round(min(taken), 2), "stats": sum(each.event == "stat" for each in one.events)}


if __name__ == "__main__":
    main()
