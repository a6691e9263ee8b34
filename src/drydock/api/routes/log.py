"""The server's own log over HTTP and WebSocket (platform-api.md §11)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Response, Router, WebSocket, get, websocket

from drydock.api.access import READ, services_of
from drydock.api.openapi import document, parameter, problems, reads
from drydock.api.request import ApiRequest, Query
from drydock.api.streams import SHUTDOWN_CODE, close_socket, serve_socket
from drydock.core.errors import BadRequest
from drydock.logs.server_log import DEFAULT_TAIL, RANKS, LogEntry, Wanted

DROPS_BEFORE_CLOSE = 3
TOO_SLOW = 1008
QUEUED_BYTES = 2 * 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9._-]+")


class Level(msgspec.Struct):
    """The lowest level that is kept."""

    level: str


_FILTERS = (
    parameter("level", "Minimum level", enum=["trace", "debug", "info", "warn", "error", "fatal"]),
    parameter("component", "Part of the component's name"),
    parameter("tail", "Only the last entries; 100 when absent"),
    parameter("since", "Not before this time, epoch ms"),
)


@get("/", opt=READ, responses=problems(_200=document(Level, "The level")))
async def level(request: ApiRequest) -> Level:
    """The level of the log."""
    return Level(request.services.log.level)


@get(
    "/entries",
    opt=READ,
    operation_class=reads(*_FILTERS),
    responses=problems(400, _200=document(list[LogEntry], "Entries, oldest first")),
)
async def entries(request: ApiRequest) -> list[LogEntry]:
    """The last entries of the server's log."""
    buffer = request.services.log
    if not buffer.enabled:
        return []
    query = request.params
    level, component = (query.text("level") or "").lower(), query.text("component")
    if level and level not in RANKS:
        raise BadRequest("Invalid level query parameter")
    if component and not _NAME.fullmatch(component):
        raise BadRequest("Invalid component query parameter")
    since = query.integer("since", -1)
    wanted = Wanted(level=level or None, component=component or None, since=since if since >= 0 else None)
    return buffer.entries(wanted, _tail(query))


@get("/components", opt=READ, responses=problems(_200=document(list[str], "Names")))
async def components(request: ApiRequest) -> Response[list[str]]:
    """Names of the components that have entries."""
    buffer = request.services.log
    return Response(buffer.components() if buffer.enabled else [])


@websocket("/stream", opt={**READ, "credentials": "any"})
async def stream(socket: WebSocket[Any, Any, Any]) -> None:
    """The last entries, then live ones, one JSON object per frame.

    An entry beyond 2 MiB of waiting text is dropped; the third in a row ends the stream (platform-api.md §11.4).
    """
    services = services_of(socket)
    buffer, query = services.log, Query(socket.scope["query_string"])
    await socket.accept()
    channel = services.live.streams.open(capacity=1 << 20)
    drops = 0

    def show(entry: LogEntry) -> None:
        nonlocal drops
        text = msgspec.json.encode(entry)
        if channel.waiting_bytes + len(text) <= QUEUED_BYTES and channel.offer(text):
            drops = 0
            return
        drops += 1
        if drops >= DROPS_BEFORE_CLOSE:
            channel.close()

    async def take() -> Sequence[bytes]:
        item = await channel.get()
        return () if item is None else (item,)

    tail, wanted = query.integer("tail", DEFAULT_TAIL), _lenient(query)
    for entry in buffer.entries(wanted, tail if tail >= 0 else DEFAULT_TAIL):
        show(entry)
    stop = buffer.watch(lambda entry: show(entry) if wanted.fits(entry) else None)
    try:
        connected = await serve_socket(socket, take)
    finally:
        stop()
        channel.close()
    if connected:
        await close_socket(socket, TOO_SLOW if drops >= DROPS_BEFORE_CLOSE else SHUTDOWN_CODE)


def _tail(query: Query) -> int | None:
    """Absent is the default, not a number is everything."""
    if query.text("tail") is None:
        return DEFAULT_TAIL
    tail = query.integer("tail", -1)
    return max(0, tail) if query.integer("tail", -2) == tail else None


def _lenient(query: Query) -> Wanted:
    """Odd values are no filter (platform-api.md §11.4)."""
    level, component = (query.text("level") or "").lower(), query.text("component") or ""
    return Wanted(level=level if level in RANKS else None, component=component if _NAME.fullmatch(component) else None)


router = Router("/api/v1/log", route_handlers=[level, entries, components, stream], tags=["Logs"])
