"""The list endpoint under load, beside a bare ASGI server that sends the same bytes in the same run."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from bench.processes import PYTHON, ask, free_port, program, scans, until
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


def load(port: int, path: str) -> tuple[float, float]:
    """Requests per second and the 99th percentile in ms, by wrk with 8 connections on one thread."""
    command = ["wrk", "-t1", "-c8", f"-d{SECONDS}s", "--latency", f"http://127.0.0.1:{port}{path}"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])  # type: ignore[index]  # wrk prints it
    return rate, _milliseconds(re.search(r"99%\s+([\d.]+)(us|ms|s)", text))


def _milliseconds(match: re.Match[str] | None) -> float:
    if match is None:
        raise ValueError("wrk printed no 99th percentile")
    return float(match[1]) * {"us": 0.001, "ms": 1, "s": 1000}[match[2]]


def bodies(port: int) -> bytes:
    """The list as it is served."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{LIST}") as answer:
        return bytes(answer.read())


def small() -> list[Figure]:
    """Unbounded list of 40 containers, as a ratio."""
    with scene(40, 9, 0) as s, tempfile.TemporaryDirectory() as home:
        until(lambda: scans(s.log), "the first scan")
        body = Path(home) / "body"
        body.write_bytes(bodies(s.port))
        bare = free_port()
        with program(PYTHON, "-c", BARE, str(body), str(bare)):
            until(lambda: ask(bare, "GET", "/"), "the bare server")
            ratios, rates = [], []
            for _ in range(ROUNDS):
                ours, theirs = load(s.port, LIST)[0], load(bare, "/")[0]
                ratios.append(ours / theirs)
                rates.append(ours)
    return [
        Figure("GET /containers, 40: share of a bare server", round(statistics.median(ratios), 2), 0.35, "", "more"),
        Figure("GET /containers, 40", round(statistics.median(rates)), 990, "/s", "more"),
    ]


def large() -> list[Figure]:
    """A page of 200 of 1,000 containers."""
    with scene(1000, 200, 0) as s:
        until(lambda: scans(s.log), "the first scan")
        _, p99 = load(s.port, f"{LIST}?limit=200")
        _, summary = load(s.port, f"{LIST}/summary")
    return [
        Figure("GET /containers?limit=200 of 1,000: p99, 8 connections", round(p99, 1), 10, "ms"),
        Figure("GET /containers/summary of 1,000: p99", round(summary, 1), 10, "ms"),
    ]


if __name__ == "__main__":
    sys.exit("run python -m bench")
