"""An Engine that says what a test tells it to: stats documents, log bytes, delays, failures. It counts what is open.

For the rows marked *(fake)* in the checklists. Only the reading half of `docker.api.Engine` is here; the in-memory
Engine that can change containers is `fakes/engine.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

from drydock.core.errors import EngineNotFound, NotFound
from drydock.core.model import Container, Image, ImageDigest, ImageRegistry, ImageTag
from drydock.docker.api import Document, Engine


def stats_document(
    *, cpu: float = 0.5, usage: int = 3_000, cache: int = 1_000, limit: int = 8_000, **more: Any
) -> Document:
    """A stats document of a running container that used `cpu` cores of two between its two readings."""
    return {
        "read": "2026-03-02T09:15:02.1Z",
        "cpu_stats": {
            "cpu_usage": {"total_usage": 10_000 + int(cpu * 1_000)},
            "system_cpu_usage": 22_000,
            "online_cpus": 2,
        },
        "precpu_stats": {"cpu_usage": {"total_usage": 10_000}, "system_cpu_usage": 20_000, "online_cpus": 2},
        "memory_stats": {"usage": usage, "limit": limit, "stats": {"inactive_file": cache}},
        "networks": {"eth0": {"rx_bytes": 1_000, "tx_bytes": 30}, "eth1": {"rx_bytes": 24, "tx_bytes": 2}},
        "blkio_stats": {"io_service_bytes_recursive": [{"op": "Read", "value": 7}, {"op": "write", "value": 5}]},
        **more,
    }


def container(container_id: str, *, name: str = "", status: str = "running", watcher: str = "local") -> Container:
    """A watched container with nothing special about it."""
    name = name or container_id
    return Container(
        id=container_id,
        name=name,
        display_name=name,
        display_icon="docker",
        status=status,
        watcher=watcher,
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
    """The watched containers of a test."""

    def __init__(self, *containers: Container) -> None:
        self.items = {each.id: each for each in containers}

    def get(self, container_id: str) -> Container | None:
        return self.items.get(container_id)

    def need(self, container_id: str) -> Container:
        if container_id not in self.items:
            raise NotFound("Container not found")
        return self.items[container_id]

    def all(self) -> list[Container]:
        return list(self.items.values())


Answer = Document | Exception | Callable[[], Awaitable[Document]]


class ScriptedEngine:
    """Answers from `stats_of`, `frames_of`, `logs_of`, `listed`; counts calls in `calls` and open ones in `open`."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.open: Counter[str] = Counter()
        self.stats_of: dict[str, Answer] = {}
        self.frames_of: dict[str, Callable[[], AsyncIterator[Document]]] = {}
        self.logs_of: dict[str, Callable[[dict[str, Any]], AsyncIterator[bytes]]] = {}
        self.tty: set[str] = set()
        self.listed: list[Document] | Exception | Callable[[], Awaitable[list[Document]]] = []

    @property
    def engine(self) -> Engine:
        """This object as an Engine."""
        return cast(Engine, self)

    async def list_containers(
        self, *, all: bool = False, filters: Mapping[str, Sequence[str]] | None = None
    ) -> list[Document]:
        async with self._call("list"):
            if callable(self.listed):
                return await self.listed()
            if isinstance(self.listed, Exception):
                raise self.listed
            return self.listed

    async def inspect_container(self, ref: str) -> Document:
        async with self._call("inspect"):
            if ref not in self.logs_of and ref not in self.stats_of:
                raise EngineNotFound(f"No such container: {ref}", engine_status=404)
            return {"Id": ref, "Config": {"Tty": ref in self.tty}}

    async def stats_once(self, ref: str) -> Document:
        async with self._call("stats_once"):
            answer = self.stats_of.get(ref, EngineNotFound(f"No such container: {ref}", engine_status=404))
            if isinstance(answer, Exception):
                raise answer
            return await answer() if callable(answer) else answer

    async def stats(self, ref: str) -> AsyncIterator[Document]:
        async with self._call("stats"):
            if ref not in self.frames_of:
                raise EngineNotFound(f"No such container: {ref}", engine_status=404)
            async for frame in self.frames_of[ref]():
                yield frame

    async def logs(self, ref: str, **options: Any) -> AsyncIterator[bytes]:
        async with self._call("logs:follow" if options.get("follow") else "logs"):
            if ref not in self.logs_of:
                raise EngineNotFound(f"No such container: {ref}", engine_status=404)
            async for chunk in self.logs_of[ref](options):
                yield chunk

    def _call(self, name: str) -> _Call:
        return _Call(self, name)


class _Call:
    """One call: counted when it begins, open until it ends, however it ends."""

    def __init__(self, engine: ScriptedEngine, name: str) -> None:
        self._engine, self._name = engine, name

    async def __aenter__(self) -> None:
        self._engine.calls[self._name] += 1
        self._engine.open[self._name] += 1

    async def __aexit__(self, *_: object) -> None:
        self._engine.open[self._name] -= 1
