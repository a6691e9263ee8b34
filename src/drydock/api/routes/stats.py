"""Stats of one container and of the fleet, as answers and as streams (container-api.md §10)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Generic, TypeVar

from litestar import Router, get
from litestar.params import FromPath
from litestar.response import Stream

from drydock.api.access import READ
from drydock.api.openapi import document, problems
from drydock.api.request import ApiRequest
from drydock.api.services import Services
from drydock.api.streams import sse
from drydock.core.errors import Gone
from drydock.latest import Sink
from drydock.sse import Channel, frame, frames
from drydock.stats.aggregator import Tick
from drydock.stats.snapshot import ContainerStats, FleetStats, Snapshot
from drydock.waiting import closing

T = TypeVar("T")

WAITING = 4
"""Frames that may wait for one client; a slower one skips samples."""
EVENTS = "text/event-stream"


class ChannelSink(Generic[T]):
    """Brings the values of a feed into one client's queue, as SSE frames."""

    def __init__(self, channel: Channel, encode: Callable[[T], bytes]) -> None:
        self._channel = channel
        self._encode = encode

    def put(self, value: T) -> None:
        """Queue the frame; a client that is too slow misses it."""
        self._channel.offer(self._encode(value))


@lru_cache(maxsize=64)
def snapshot_frame(snapshot: Snapshot) -> bytes:
    """The frame of a snapshot, made once for all clients."""
    return frame("dd:container-stats", snapshot)


@lru_cache(maxsize=2)
def summary_frame(encoded: bytes) -> bytes:
    """The frame of a summary, made once for all clients."""
    return frame("dd:stats-summary", encoded)


def tick_frame(tick: Tick) -> bytes:
    """The frame of a finished round."""
    return summary_frame(tick.encoded)


async def live(
    services: Services, encode: Callable[[T], bytes], join: Callable[[Sink[T]], AbstractContextManager[None]]
) -> AsyncIterator[bytes]:
    """The frames of one SSE client; queue, timer and place in the feed are given back exactly once."""
    channel = services.live.streams.open(WAITING)
    async with closing(frames(channel, services.clock)) as source:
        with join(ChannelSink(channel, encode)):
            async for item in source:
                yield item


@get("/stats", opt=READ, responses=problems(404, _200=document(ContainerStats, "Newest snapshot and history")))
async def container_stats(request: ApiRequest, container_id: FromPath[str]) -> ContainerStats:
    """What this container uses now, and the samples before; `data` is null where it does not run."""
    return await request.services.stats.read(container_id)


@get(
    "/stats/stream",
    opt=READ,
    media_type=EVENTS,
    responses=problems(404, _200=document(str, "Event stream", media_type=EVENTS)),
)
async def container_stream(request: ApiRequest, container_id: FromPath[str]) -> Stream:
    """Events `dd:container-stats` with each new snapshot, and `dd:heartbeat` every 15 s."""
    stats = request.services.stats
    container = request.services.fleet.need(container_id)
    return sse(live(request.services, snapshot_frame, lambda sink: stats.joined(container, sink)))


@get("/summary", opt=READ, responses=problems(_200=document(FleetStats, "CPU and memory of the fleet")))
async def fleet_stats(request: ApiRequest) -> FleetStats:
    """CPU and memory of all running containers, as of the last round."""
    return FleetStats(data=await request.services.stats.fleet.read())


@get(
    "/summary/stream",
    opt=READ,
    media_type=EVENTS,
    responses=problems(_200=document(str, "Event stream", media_type=EVENTS)),
)
async def fleet_stream(request: ApiRequest) -> Stream:
    """Events `dd:stats-summary` now and after each round, and `dd:heartbeat` every 15 s."""
    return sse(live(request.services, tick_frame, request.services.stats.fleet.joined))


@get("/stats", opt=READ, responses=problems(410))
async def moved() -> None:
    """Removed; the answer says where it went."""
    raise Gone(
        "GET /api/v1/containers/stats has been removed",
        siblings={
            "migration": {"aggregate": "/api/v1/stats/summary", "container": "/api/v1/containers/:id/stats"},
        },
    )


router = Router(
    "/api/v1",
    route_handlers=[
        Router("/containers/{container_id:str}", route_handlers=[container_stats, container_stream]),
        Router("/containers", route_handlers=[moved]),
        Router("/stats", route_handlers=[fleet_stats, fleet_stream]),
    ],
    tags=["Containers"],
)
