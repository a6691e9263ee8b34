"""The endpoints that Dockhand clients use, below the unversioned `/api` (dockhand-stats.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

from litestar import Router, get
from litestar.params import FromPath
from litestar.response import Stream

from drydock.api.access import limit_key
from drydock.api.openapi import document, parameter, problems, reads
from drydock.api.request import ApiRequest
from drydock.api.streams import sse
from drydock.compat.dockhand.environments import NOT_FOUND, Environment
from drydock.compat.dockhand.room import Dockhand
from drydock.compat.dockhand.rounds import HostSnapshot, Stat
from drydock.core.errors import BadRequest, NotFound, TooManyRequests
from drydock.sse import frame

READ: Final = {"scope": "read", "unauthorized": {"message": "Authentication required"}}
STREAMS_PER_CLIENT = 10
"""Open at a time (dockhand-stats.md §5)."""
KEEPALIVE = b": keepalive\n\n"
HEADERS = {"Cache-Control": "no-cache"}
EVENTS = "text/event-stream"
ENV = parameter("env", "Number (or name) of the environment")
STATE: Final = "dockhand"
"""Where the application keeps the room behind these routes."""


class Concurrency:
    """At most `maximum` open streams per key."""

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self._open: Counter[str] = Counter()

    def has_room(self, key: str) -> bool:
        """Whether `key` may open one more."""
        return self._open[key] < self.maximum

    @contextmanager
    def entered(self, key: str) -> Iterator[None]:
        """One more is open for the duration of the block."""
        self._open[key] += 1
        try:
            yield
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]


def dockhand_of(request: ApiRequest) -> Dockhand:
    """The room behind these routes."""
    found: Dockhand = request.app.state[STATE]
    return found


@get(
    ["/containers/{reference:str}/stats"],
    opt=READ,
    operation_class=reads(ENV),
    responses=problems(400, 404, 405, _200=document(HostSnapshot, "The figures now")),
    response_headers={"Cache-Control": "no-store"},
)
async def snapshot(request: ApiRequest, reference: FromPath[str]) -> HostSnapshot:
    """One container of an environment, by id or name; without `env` of the first environment."""
    return await dockhand_of(request).snapshot(reference, request.params.text("env"))


@get(
    "/containers/stats/stats",
    opt=READ,
    operation_class=reads(ENV),
    responses=problems(404, 405, _200=document(HostSnapshot, "The figures now")),
    response_headers={"Cache-Control": "no-store"},
)
async def snapshot_of_stats(request: ApiRequest) -> HostSnapshot:
    """A container that is really named `stats`."""
    return await dockhand_of(request).snapshot("stats", request.params.text("env"))


@get(
    "/containers/stats/stream",
    opt=READ,
    media_type=EVENTS,
    operation_class=reads(ENV),
    responses=problems(405, _200=document(str, "Event stream", media_type=EVENTS)),
)
async def stream(request: ApiRequest) -> Stream:
    """One round over all running containers: `stat` for each, `error` if it failed, then `done` and the end."""
    limiters = request.app.state.limiters
    open_ones: Concurrency = limiters.setdefault("dockhand-streams", Concurrency(STREAMS_PER_CLIENT))
    key = limit_key(request)
    if not open_ones.has_room(key):
        raise TooManyRequests("Too many open streams, close one first.")
    answer = sse(_events(request, open_ones, key))
    answer.headers = {**answer.headers, **HEADERS}
    return answer


async def _events(request: ApiRequest, open_ones: Concurrency, key: str) -> AsyncIterator[bytes]:
    ending = request.services.live.streams.open()
    occurrences = dockhand_of(request).stream(request.params.text("env"))
    try:
        with open_ones.entered(key):
            async for each in occurrences:
                if ending.closed:
                    return
                yield KEEPALIVE if each is None else frame(each.event, each.data)
    finally:
        ending.close()
        await occurrences.aclose()


@get(
    "/containers/stats",
    opt=READ,
    operation_class=reads(ENV),
    responses=problems(404, 405, _200=document(list[Stat], "One round, collected")),
)
async def rows(request: ApiRequest) -> list[Stat]:
    """The same round as an array; empty without `env` and where the host does not answer."""
    if b"%2f" in request.scope.get("raw_path", b"").lower():
        raise BadRequest("Invalid container ID")
    return await dockhand_of(request).rows(request.params.text("env"))


@get("/environments", opt=READ, responses=problems(405, _200=document(list[Environment], "Environments by name")))
async def environments(request: ApiRequest) -> list[Environment]:
    """The environments and their numbers."""
    found = await dockhand_of(request).environments.all()
    return sorted(found, key=lambda each: each.name.casefold())


@get(
    "/environments/{number:str}",
    opt=READ,
    responses=problems(404, 405, _200=document(Environment, "The environment")),
)
async def environment(request: ApiRequest, number: FromPath[str]) -> Environment:
    """One environment by its number."""
    for each in await dockhand_of(request).environments.all():
        if str(each.id) == number:
            return each
    raise NotFound(NOT_FOUND)


router = Router(
    "/api",
    route_handlers=[snapshot, snapshot_of_stats, stream, rows, environments, environment],
    tags=["Containers"],
)
versioned = Router("/api/v1", route_handlers=[stream], tags=["Containers"])
"""The same stream where the Container API lives."""
