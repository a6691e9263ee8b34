"""An Engine that exists only for measuring logs and stats: it talks without end and costs little."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from drydock.core.model import Container, Image, ImageDigest, ImageRegistry, ImageTag
from drydock.docker.api import Document

STATS: Document = {
    "read": "2026-03-02T09:15:02.1Z",
    "cpu_stats": {"cpu_usage": {"total_usage": 11_000}, "system_cpu_usage": 22_000, "online_cpus": 2},
    "precpu_stats": {"cpu_usage": {"total_usage": 10_000}, "system_cpu_usage": 20_000, "online_cpus": 2},
    "memory_stats": {"usage": 3_000_000, "limit": 8_000_000, "stats": {"inactive_file": 1_000}},
    "networks": {"eth0": {"rx_bytes": 1, "tx_bytes": 1}},
    "blkio_stats": {"io_service_bytes_recursive": []},
}
LINE = "x" * 70


def framed(first: int, count: int) -> bytes:
    """`count` log lines of a hundred bytes as the Engine frames them."""
    payloads = (
        f"2026-01-01T00:00:{n // 10**9:02d}.{n % 10**9:09d}Z {LINE}\n".encode() for n in range(first, first + count)
    )
    return b"".join(b"\1\0\0\0" + len(payload).to_bytes(4, "big") + payload for payload in payloads)


def container(number: int) -> Container:
    """A running container with nothing special about it."""
    return Container(
        id=f"{number:064x}",
        name=f"c{number}",
        display_name=f"c{number}",
        display_icon="docker",
        status="running",
        watcher="local",
        image=Image(
            id="sha256:1",
            registry=ImageRegistry(name="hub", url="docker.io"),
            name="library/web",
            tag=ImageTag(value="1.0.0", semver=True, tag_precision="specific"),
            digest=ImageDigest(watch=False),
            architecture="amd64",
            os="linux",
        ),
        labels={},
    )


class Watched:
    """`count` containers."""

    def __init__(self, count: int) -> None:
        self._items = {each.id: each for each in map(container, range(count))}

    def get(self, id: str, /) -> Container | None:
        return self._items.get(id)

    def need(self, id: str, /) -> Container:
        return self._items[id]

    def all(self) -> list[Container]:
        return list(self._items.values())


class TalkingEngine:
    """Prints `chunks` portions of `lines` lines with `pause` seconds between; answers stats at once and counts them."""

    def __init__(self, chunks: int, lines: int, pause: float) -> None:
        self.calls: Counter[str] = Counter()
        self._chunks, self._lines, self._pause = chunks, lines, pause

    async def inspect_container(self, ref: str) -> Document:
        return {"Id": ref, "Config": {"Tty": False}}

    async def stats_once(self, ref: str) -> Document:
        self.calls["stats"] += 1
        return STATS

    async def stats(self, ref: str) -> AsyncIterator[Document]:
        self.calls["stats"] += 1
        while True:
            yield STATS
            await asyncio.sleep(1)

    async def logs(self, ref: str, **options: Any) -> AsyncIterator[bytes]:
        yield b""
        if not options.get("follow"):
            return
        data = framed(1, self._lines)
        for _ in range(self._chunks):
            yield data
            await asyncio.sleep(self._pause)
