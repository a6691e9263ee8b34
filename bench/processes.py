"""Start and stop the programs of a measurement, ask them over HTTP, and read what the system says about them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PYTHON = sys.executable
DRYDOCK = str(Path(sys.executable).with_name("drydock"))
PATIENCE_S = 60.0


def free_port() -> int:
    """A loopback port that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def program(
    *argv: str, env: Mapping[str, str] | None = None, log: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the block ends; its output goes to `log`."""
    out = log.open("wb") if log else subprocess.DEVNULL
    process = subprocess.Popen(argv, cwd=ROOT, env={**os.environ, **(env or {})}, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=PATIENCE_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self._path)


def ask(where: int | str, method: str, path: str) -> Any:
    """One request to a loopback port or a Unix socket; the decoded JSON answer. OSError when nobody answers."""
    connection = (
        UnixConnection(where) if isinstance(where, str) else http.client.HTTPConnection("127.0.0.1", where, PATIENCE_S)
    )
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status >= 400:
            raise OSError(f"{method} {path}: {answer.status} {body[:200]!r}")
        return json.loads(body)
    finally:
        connection.close()


def until(check: Any, what: str) -> Any:
    """Poll `check` until it gives something true; its value."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            if found := check():
                return found
        time.sleep(0.01)
    raise TimeoutError(what)


def resident_mb(pid: int) -> float:
    """Resident memory of a process in MB (10^6 bytes)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def cpu_seconds(pid: int) -> float:
    """CPU time, user and system, that a process has used. Trust it where the machine is too busy for wall time."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_of(command: Sequence[str], env: Mapping[str, str]) -> float:
    """CPU seconds of a command that ends by itself."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    best(command, env, 1)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def scans(log: Path) -> list[dict[str, Any]]:
    """The `watcher.scanned` lines of a server's JSON log."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("event") == "watcher.scanned"]


def best(command: Sequence[str], env: Mapping[str, str], runs: int = 5) -> float:
    """Shortest wall time in seconds of a command that ends by itself."""
    times = []
    for _ in range(runs):
        began = time.monotonic()
        subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **env},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        times.append(time.monotonic() - began)
    return min(times)
