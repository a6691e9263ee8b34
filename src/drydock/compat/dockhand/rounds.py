"""One round over all running containers of one host, as Dockhand clients stream it (dockhand-stats.md §5).

A round lists the containers, asks for the stats of all of them at once and writes a ledger of events that any number of
clients read from its beginning; it is cancelled when the last of them has gone.
"""

from __future__ import annotations

import asyncio
import re
from typing import Literal

import msgspec
import structlog

from drydock.core.errors import DrydockError, EngineError, EngineUnreachable, HostUnavailable, NotFound, NotSupported
from drydock.docker.api import Document, EngineReader
from drydock.stats.figures import figures, is_running

log = structlog.get_logger("stats")

FAILED = "Failed to get stats"
CONCURRENT_CALLS = 256
"""All containers of a large host at once, for each call takes the Engine a second or two."""
_TELLS_ADDRESS = re.compile(r"://|\.sock|dial |\d+\.\d+\.\d+\.\d+|\[[0-9a-f:]+\]|/(run|var|tmp|home)/", re.IGNORECASE)


class Limits(msgspec.Struct, frozen=True):
    """How long things may take, in seconds: the list, each container, and the pause between keepalives."""

    list_s: float = 10.0
    stats_s: float = 8.0
    keepalive_s: float = 5.0


class Stat(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One running container in a round."""

    id: str
    name: str
    cpu_percent: float
    memory_usage: int
    memory_raw: int
    memory_cache: int
    memory_limit: int
    memory_percent: float
    network_rx: int
    network_tx: int
    block_read: int
    block_write: int


class HostSnapshot(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Answer of `GET /api/containers/{id}/stats`; `timestamp` is Unix time in milliseconds."""

    cpu_percent: float
    memory_usage: int
    memory_raw: int
    memory_cache: int
    memory_limit: int
    memory_percent: float
    network_rx: int
    network_tx: int
    block_read: int
    block_write: int
    timestamp: int


class Occurrence(msgspec.Struct, frozen=True):
    """One event of a round."""

    event: Literal["stat", "error", "done"]
    data: Stat | dict[str, str]


class Round:
    """The ledger of one round: `events` so far, and `finished` once `done` is the last of them."""

    def __init__(self, engine: EngineReader, limits: Limits) -> None:
        self.events: list[Occurrence] = []
        self.finished = False
        self._engine = engine
        self._limits = limits
        self._calls = asyncio.Semaphore(CONCURRENT_CALLS)
        self._grown: set[asyncio.Event] = set()

    def watch(self, grown: asyncio.Event) -> None:
        """Set `grown` whenever the ledger grows."""
        self._grown.add(grown)

    def unwatch(self, grown: asyncio.Event) -> None:
        """Stop notifying `grown`."""
        self._grown.discard(grown)

    async def run(self) -> None:
        """Collect everything once. Failures of the whole become an `error` event, `done` always follows."""
        try:
            try:
                async with asyncio.timeout(self._limits.list_s):
                    listed = await self._engine.list_containers()
            except TimeoutError:
                raise EngineError("Timed out listing containers") from None
            async with asyncio.TaskGroup() as group:
                for each in listed:
                    if each.get("State") == "running":
                        group.create_task(self._collect(each))
        except DrydockError as error:
            self._write("error", {"error": cause(error)})
        except Exception:
            log.exception("stats.round_failed")
            self._write("error", {"error": FAILED})
        finally:
            self.finished = True
            self._write("done", {})

    async def _collect(self, listed: Document) -> None:
        """Write one container's `stat`; one that fails, vanishes or takes too long is left out."""
        try:
            async with self._calls, asyncio.timeout(self._limits.stats_s):
                document = await self._engine.stats_once(listed["Id"])
        except (TimeoutError, DrydockError) as error:
            log.debug("stats.skipped", container=listed["Id"], error=str(error) or type(error).__name__)
            return
        if is_running(document):
            found = msgspec.structs.asdict(figures(document))
            self._write("stat", Stat(id=listed["Id"], name=own_name(listed), **found))

    def _write(self, event: Literal["stat", "error", "done"], data: Stat | dict[str, str]) -> None:
        self.events.append(Occurrence(event, data))
        for grown in self._grown:
            grown.set()


def own_name(listed: Document) -> str:
    """The container's own name: among the `Names` the one that is no link (`/other/alias`)."""
    names = [name.strip("/") for name in listed.get("Names") or () if name.count("/") == 1]
    return names[0] if names else str(listed["Id"])[:12]


def cause(error: DrydockError) -> str:
    """Why it failed, in one line for a client: never an address or the path of a socket."""
    if isinstance(error, EngineUnreachable) and not isinstance(error, HostUnavailable):
        return "Docker host not reachable"
    if isinstance(error, NotSupported):
        return "Environment does not support stats"
    line = error.message.strip().splitlines()[0] if error.message.strip() else ""
    if not isinstance(error, EngineError | NotFound) or not line or _TELLS_ADDRESS.search(line):
        return FAILED
    return line
