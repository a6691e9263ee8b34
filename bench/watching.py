"""Checks of small and large fleets, memory, start: a whole server process against an Engine and a registry of our own."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.processes import (
    DRYDOCK,
    PYTHON,
    ask,
    best,
    cpu_of,
    cpu_seconds,
    free_port,
    program,
    resident_mb,
    scans,
    until,
)
from bench.report import Figure

LIST = "/api/v1/containers"


@dataclass(frozen=True)
class Scene:
    """A running server with its surroundings; `began` is when the server process was started."""

    server: subprocess.Popen[bytes]
    port: int
    registry: int
    engine: str
    log: Path
    env: dict[str, str]
    began: float

    def requests(self) -> dict[str, int]:
        """Requests at the registry by kind since the last reset."""
        counts: dict[str, int] = ask(self.registry, "GET", "/-/counts")
        return counts

    def reset(self) -> None:
        """Start counting anew."""
        ask(self.registry, "POST", "/-/reset")
        ask(self.engine, "POST", "/-/reset")

    def watch(self) -> dict[str, Any]:
        """Check everything now; the scan's line in the log."""
        before = len(scans(self.log))
        ask(self.port, "POST", f"{LIST}/watch?limit=1")
        return until(lambda: scans(self.log)[before:], "the scan's log line")[-1]  # type: ignore[no-any-return]  # a dict


@contextlib.contextmanager
def scene(containers: int, repositories: int, delay_ms: int) -> Iterator[Scene]:
    """Registry, Engine and server; the server has just been started."""
    home = Path(tempfile.mkdtemp(prefix="bench"))
    registry, port, engine = free_port(), free_port(), str(home / "e.sock")
    env = {
        "DD_STORE_PATH": str(home / "store"),
        "DD_SERVER_PORT": str(port),
        "DD_SERVER_HOST": "127.0.0.1",
        "DD_ANONYMOUS_AUTH_CONFIRM": "true",
        "DD_LOG_FORMAT": "json",
        "DD_WATCHER_LOCAL_SOCKET": engine,
        "DD_REGISTRY_CUSTOM_BENCH_URL": f"http://127.0.0.1:{registry}",
        "DD_SERVER_RATELIMIT_MAX": "1000000",
    }
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        stack.enter_context(program(PYTHON, "-m", "bench.registry", str(registry), str(repositories), str(delay_ms)))
        stack.enter_context(
            program(PYTHON, "-m", "bench.engine", engine, str(containers), str(repositories), str(registry))
        )
        until(lambda: ask(engine, "GET", "/version"), "the Engine")
        until(lambda: ask(registry, "GET", "/-/counts") is not None, "the registry")
        began = time.monotonic()
        log = home / "server.log"
        server = stack.enter_context(program(DRYDOCK, "serve", env=env, log=log))
        yield Scene(server, port, registry, engine, log, env, began)


def small() -> list[Figure]:
    """40 containers of 9 repositories at a registry that takes 20 ms."""
    with scene(40, 9, 20) as s:
        until(lambda: ask(s.port, "GET", "/health"), "the first answer")
        start = time.monotonic() - s.began
        start_cpu = cpu_seconds(s.server.pid)
        first = until(lambda: scans(s.log), "the first scan")[0]
        cold = sum(s.requests().values())
        s.reset()
        warm = min(s.watch()["seconds"] for _ in range(3))
        per_image = sum(s.requests().values()) / 3
        command = best([DRYDOCK, "check", "--quiet", "--no-cache", "--host", f"unix://{s.engine}"], s.env, 3)
    return [
        Figure("start to first answer, new store", round(start, 2), 1.0, "s"),
        Figure("start to first answer, new store: CPU", round(start_cpu, 2), 1.0, "s"),
        Figure("40 containers: requests, cold", cold, 55, ""),
        Figure("40 containers: check, cold", first["seconds"], 0.6, "s"),
        Figure("40 containers: check, warm", warm, 0.6, "s"),
        Figure("40 containers: requests, warm", round(per_image, 1), 55, ""),
        Figure("drydock check, whole command", round(command, 2), 1.5, "s"),
    ]


def idle() -> list[Figure]:
    """Start over a store that exists, and memory with nothing to watch."""
    with scene(0, 1, 0) as s:
        until(lambda: ask(s.port, "GET", "/health"), "the first answer")
        s.server.terminate()
        s.server.wait(30)
        began = time.monotonic()
        with program(DRYDOCK, "serve", env=s.env) as again:
            until(lambda: ask(s.port, "GET", "/health"), "the first answer")
            start, start_cpu = time.monotonic() - began, cpu_seconds(again.pid)
            time.sleep(3.0)  # the first scan, of nothing
            memory = resident_mb(again.pid)
    return [
        Figure("start to first answer, known store", round(start, 2), 1.0, "s"),
        Figure("start to first answer, known store: CPU", round(start_cpu, 2), 1.0, "s"),
        Figure("resident memory, idle", memory, 90, "MB"),
    ]


def large() -> list[Figure]:
    """1,000 containers of 200 repositories at a registry that takes 50 ms; one Docker event; steady memory."""
    with scene(1000, 200, 50) as s:
        first = until(lambda: scans(s.log), "the first scan")[0]
        cold, cold_cpu = s.requests(), cpu_seconds(s.server.pid)
        s.reset()
        warm = s.watch()
        counts, warm_cpu = s.requests(), cpu_seconds(s.server.pid) - cold_cpu
        s.reset()
        event = _event(s)
        full = resident_mb(s.server.pid)
    return [
        Figure("1,000 containers: requests, cold", sum(cold.values()), 480, ""),
        Figure("1,000 containers: check, cold", first["seconds"], 5, "s"),
        Figure("1,000 containers: start and check, cold: CPU", round(cold_cpu, 2), 5, "s"),
        Figure("1,000 containers: requests per image, warm", round(sum(counts.values()) / 200, 2), 2.1, ""),
        Figure("1,000 containers: HEADs per image, warm", round(counts.get("head", 0) / 200, 2), 1.1, ""),
        Figure("1,000 containers: manifest GETs, warm", counts.get("manifest", 0), 0, ""),
        Figure("1,000 containers: check, warm", warm["seconds"], 5, "s"),
        Figure("1,000 containers: check, warm: CPU", round(warm_cpu, 2), 5, "s"),
        Figure("one Docker event: registry requests", sum(event["registry"].values()), 2, ""),
        Figure("one Docker event: Engine calls", sum(event["engine"].values()), 2, ""),
        Figure("resident memory, 1,000 containers", full, 120, "MB"),
    ]


def _event(s: Scene) -> dict[str, dict[str, int]]:
    ask(s.engine, "POST", "/-/event/7")
    time.sleep(1.0)
    return {"registry": s.requests(), "engine": ask(s.engine, "GET", "/-/counts")}


def cycles(count: int) -> list[Figure]:
    """Memory after many cycles."""
    with scene(40, 9, 0) as s:
        until(lambda: scans(s.log), "the first scan")
        for _ in range(20):
            s.watch()
        before = resident_mb(s.server.pid)
        for _ in range(count):
            ask(s.port, "POST", f"{LIST}/watch?limit=1")
        growth = resident_mb(s.server.pid) - before
    return [Figure(f"memory growth over {count} cycles", round(growth, 1), 5, "MB")]


def command_line() -> list[Figure]:
    """The help of the command line."""
    command = [DRYDOCK, "--help"]
    return [
        Figure("drydock --help", round(best(command, {}) * 1000), 150, "ms"),
        Figure("drydock --help: CPU", round(cpu_of(command, {}) * 1000), 150, "ms"),
    ]
