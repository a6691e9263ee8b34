"""The list endpoint under load, beside a bare ASGI server that sends the same bytes in the same run."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from bench.processes import PYTHON, cpu_seconds, free_port, program, scans, until
from bench.report import Figure
from bench.watching import LIST, scene

ROUNDS = 5
SECONDS = 3
BARE = """
import sys
body = open(sys.argv[1], "rb").read()
headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
import uvicorn
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), loop="uvloop", http="httptools", log_level="critical", lifespan="off")
"""


def load(port: int, path: str, connections: int = 8) -> tuple[float, float]:
    """Requests per second and the 99th percentile in ms, by wrk on one thread."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", f"http://127.0.0.1:{port}{path}"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])  # type: ignore[index]  # wrk prints it
    return rate, _milliseconds(re.search(r"99%\s+([\d.]+)(us|ms|s)", text))


def _milliseconds(match: re.Match[str] | None) -> float:
    if match is None:
        raise ValueError("wrk printed no 99th percentile")
    return float(match[1]) * {"us": 0.001, "ms": 1, "s": 1000}[match[2]]


def bodies(port: int, path: str) -> bytes:
    """An answer as it is served."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
        return bytes(answer.read())


def reachable(port: int) -> bool:
    """Whether a server answers."""
    return bool(bodies(port, "/"))


def shares(port: int, path: str) -> tuple[float, float]:
    """Our rate as a share of a bare server's that sends the same bytes (median of the rounds), and our rate."""
    with tempfile.TemporaryDirectory() as home:
        body = Path(home) / "body"
        body.write_bytes(bodies(port, path))
        bare = free_port()
        with program(PYTHON, "-c", BARE, str(body), str(bare)):
            until(lambda: reachable(bare), "the bare server")
            pairs = [(load(port, path)[0], load(bare, "/")[0]) for _ in range(ROUNDS)]
    share = statistics.median(ours / theirs for ours, theirs in pairs)
    return round(share, 2), round(statistics.median(ours for ours, _ in pairs))


def small() -> list[Figure]:
    """Unbounded list of 40 containers, as a ratio."""
    with scene(40, 9, 0) as s:
        until(lambda: scans(s.log), "the first scan")
        share, rate = shares(s.port, LIST)
    return [
        Figure("GET /containers, 40: share of a bare server", share, 0.35, "", "more"),
        Figure("GET /containers, 40", rate, 990, "/s", "more"),
    ]


def large() -> list[Figure]:
    """A page of 200 of 1,000 containers."""
    page = f"{LIST}?limit=200"
    with scene(1000, 200, 0) as s:
        until(lambda: scans(s.log), "the first scan")
        before = cpu_seconds(s.server.pid)
        rate, p99 = load(s.port, page, connections=1)
        cpu = (cpu_seconds(s.server.pid) - before) / (rate * SECONDS)
        share, _ = shares(s.port, page)
        _, summary = load(s.port, f"{LIST}/summary", connections=1)
    return [
        Figure("GET /containers?limit=200 of 1,000: p99", round(p99, 1), 10, "ms"),
        Figure("GET /containers?limit=200 of 1,000: CPU each", round(cpu * 1000, 2), 10, "ms"),
        Figure("GET /containers?limit=200 of 1,000: share of a bare server", share, 0.35, "", "more"),
        Figure("GET /containers/summary of 1,000: p99", round(summary, 1), 10, "ms"),
    ]


if __name__ == "__main__":
    sys.exit("run python -m bench")
