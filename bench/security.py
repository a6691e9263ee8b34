"""Scanning: how often the scanner runs, what 3,000 findings cost, how fast the overview is, and the server meanwhile."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
import tracemalloc
from typing import Any

import msgspec

from bench.report import Figure
from drydock.clock import SystemClock
from drydock.core.model import Container, Image, ImageDigest, ImageRegistry, ImageTag
from drydock.core.times import DAY_MS
from drydock.events import Bus
from drydock.fleet.fleet import Fleet
from drydock.hosts.host import Hosts
from drydock.security.alerts import Alerts
from drydock.security.cache import DigestCache
from drydock.security.commands import anonymous
from drydock.security.cycles import Cycle, Runner
from drydock.security.findings import Found, judge, trimmed
from drydock.security.inspector import Inspector
from drydock.security.overview import overview
from drydock.security.scanners.base import Target
from drydock.security.scanners.trivy import parse
from drydock.security.settings import DEFAULT_BLOCK
from drydock.store.settings import StoreSettings
from drydock.store.store import Store, open_store

CLOCK = SystemClock()


def container(number: int, image: int) -> Container:
    """A container that runs image number `image`."""
    digest = f"sha256:{image:064x}"
    return Container(
        id=f"{number:064x}",
        name=f"c{number}",
        display_name=f"c{number}",
        display_icon="mdi:docker",
        status="running",
        watcher="local",
        labels={},
        image=Image(
            id=digest,
            registry=ImageRegistry(name="hub.public", url="docker.io"),
            name=f"bench/app{image}",
            tag=ImageTag(value="1.0.0", semver=True, tag_precision="specific"),
            digest=ImageDigest(watch=True, value=digest, repo=digest),
            architecture="amd64",
            os="linux",
        ),
    )


def report(findings: int) -> dict[str, Any]:
    """What Trivy prints for an image with so many findings."""
    names = ("LOW", "MEDIUM", "HIGH", "CRITICAL")
    found = [
        {
            "VulnerabilityID": f"CVE-2026-{n:05}",
            "PkgName": f"package-{n % 200}",
            "InstalledVersion": "1.2.3-r0",
            "FixedVersion": "1.2.4-r0",
            "Severity": names[n % 4],
            "Title": f"package-{n % 200}: something can be made to go wrong",
            "Description": "A long description. " * 20,
            "PrimaryURL": f"https://example.org/CVE-2026-{n:05}",
            "PublishedDate": "2026-01-15T10:00:00Z",
        }
        for n in range(findings)
    ]
    return {"SchemaVersion": 2, "Results": [{"Target": "app (alpine 3.18)", "Vulnerabilities": found}]}


class Still:
    """A scanner that answers after a moment and counts."""

    name = "trivy"

    def __init__(self, findings: int) -> None:
        self.found = parse(report(findings))
        self.runs = 0

    async def scan(self, target: Target) -> Found:
        del target
        self.runs += 1
        await asyncio.sleep(0.02)
        return self.found

    async def prepare(self) -> None: ...

    async def database(self) -> str | None:
        return "2026-01-01T00:00:00Z"

    async def version(self) -> str | None:
        return "1.0.0"

    async def sbom(self, target: Target, form: str) -> bytes:
        del target, form
        return b"{}"


class Scene:
    """A fleet over a real store, and what scans it."""

    def __init__(self, store: Store, findings: int, interval_ms: int = DAY_MS) -> None:
        self.scanner, bus = Still(findings), Bus()
        self.fleet = Fleet(store.containers, store.retention, bus, CLOCK)
        cache = DigestCache(store.scans, CLOCK, capacity=500, interval_ms=interval_ms)
        inspector = Inspector(self.scanner, self.scanner, cache, CLOCK, DEFAULT_BLOCK, anonymous, Hosts([]))
        self._runner = Runner(self.fleet, inspector, Alerts(bus, store.scan_alerts), bus, CLOCK)

    async def cycle(self) -> int:
        """Scan everything; how often the scanner ran."""
        before = self.scanner.runs
        await self._runner.run(Cycle(CLOCK.now_ms(), self.fleet.all(), "on-demand-bulk"))
        return self.scanner.runs - before


async def _counts(folder: str) -> list[int]:
    store = await open_store(StoreSettings(path=folder))
    scene = Scene(store, 100)
    await scene.fleet.put_many([(container(n, n % 10), None) for n in range(30)])
    runs = [await scene.cycle(), await scene.cycle()]
    await store.close()
    return runs


def counts() -> list[Figure]:
    """30 containers of 10 images: the scanner runs 10 times, then not at all."""
    with tempfile.TemporaryDirectory() as folder:
        first, second = asyncio.run(_counts(folder))
    return [
        Figure("scan of 30 containers, 10 images: scanner runs", first, 10, ""),
        Figure("the same again: scanner runs", second, 0, ""),
    ]


def memory() -> list[Figure]:
    """What reading and keeping 3,000 findings of one image takes at most, beyond the text itself."""
    text = msgspec.json.encode(report(3000))
    tracemalloc.start()
    found = trimmed(parse(msgspec.json.decode(text)))
    kept = msgspec.to_builtins(judge(found, "bench/app:1.0.0", None, ("CRITICAL",), CLOCK.now_ms()))
    peak = tracemalloc.get_traced_memory()[1] / 1024 / 1024
    tracemalloc.stop()
    assert len(kept["vulnerabilities"]) == 500
    return [Figure("3,000 findings of one image: memory", round(peak, 1), 20, "MB")]


def groups() -> list[Figure]:
    """The overview of 200 scanned containers with 50 findings each, encoded."""
    scans = [
        msgspec.to_builtins(judge(trimmed(parse(report(50))), "bench/app:1.0.0", None, ("CRITICAL",), CLOCK.now_ms()))
        for _ in range(200)
    ]
    fleet = [msgspec.structs.replace(container(n, n), security={"scan": scan}) for n, scan in enumerate(scans)]
    times = []
    for _ in range(20):
        began = time.perf_counter()
        body = msgspec.json.encode(overview(fleet))
        times.append((time.perf_counter() - began) * 1000)
    assert len(body) > 1_000_000
    return [Figure("overview of 200 scanned containers, 10,000 findings", round(statistics.median(times), 1), 50, "ms")]


async def _latency(folder: str) -> tuple[float, float]:
    """Milliseconds that a list of the fleet waits for the loop: idle, and while images with 3,000 findings are scanned."""
    store = await open_store(StoreSettings(path=folder))
    scene = Scene(store, 3000, interval_ms=0)
    await scene.fleet.put_many([(container(n, n), None) for n in range(40)])
    await scene.cycle()
    idle = await _readings(scene.fleet, None)
    busy = await _readings(scene.fleet, asyncio.ensure_future(scene.cycle()))
    await store.close()
    return idle, busy


async def _readings(fleet: Fleet, work: asyncio.Future[int] | None) -> float:
    """The median time of a reading, taken every 5 ms until the work is done."""
    times: list[float] = []
    while (work is None and len(times) < 100) or (work is not None and not work.done()):
        began = time.perf_counter()
        await asyncio.sleep(0.005)
        msgspec.json.encode(fleet.views())
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def latency() -> list[Figure]:
    """Reading the fleet while everything is scanned, as a ratio to the same when idle."""
    with tempfile.TemporaryDirectory() as folder:
        idle, busy = asyncio.run(_latency(folder))
    return [Figure("reading the fleet during a scan, against idle", round(busy / idle, 2), 2, "×")]
