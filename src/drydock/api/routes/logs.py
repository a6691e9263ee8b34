"""Container logs: the download and the WebSocket stream (container-api.md §9)."""

from __future__ import annotations

from typing import Any

from litestar import Response, Router, get, websocket
from litestar.connection import WebSocket
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import FromPath

from drydock.api.access import READ, services_of
from drydock.api.answers import compressed, offers_gzip
from drydock.api.openapi import document, parameter, problems, reads
from drydock.api.request import ApiRequest, Query
from drydock.api.streams import SHUTDOWN_CODE, close_socket, serve_socket
from drydock.core.errors import DrydockError, NotFound, UpgradeRequired
from drydock.logs.room import NotRunning
from drydock.logs.selection import (
    DOWNLOAD_TAIL,
    STREAM_TAIL,
    Selection,
    download_tail,
    file_name,
    since_seconds,
    stream_tail,
)
from drydock.logs.viewer import ViewerTooSlow

TEXT = "text/plain"
"""The framework adds the character set."""
OFF_LOOP_BYTES = 64 * 1024

FAILED_CODE, SLOW_CODE, NOT_RUNNING_CODE, NOT_FOUND_CODE = 1011, 1013, 4001, 4004

PARAMETERS = (
    parameter("stdout", "Include standard output", enum=["true", "false"]),
    parameter("stderr", "Include standard error", enum=["true", "false"]),
    parameter("tail", "Lines from the end of the log, 0…10000", kind=OpenAPIType.INTEGER),
    parameter("since", "Unix seconds or ISO 8601: nothing older than this"),
)


def selection(query: Query, *, tail: int) -> Selection:
    """What the query words choose; odd values become the defaults."""
    return Selection(
        stdout=query.flag("stdout", True),
        stderr=query.flag("stderr", True),
        tail=tail,
        since=since_seconds(query.text("since")),
    )


@get(
    "/logs",
    opt=READ,
    operation_class=reads(*PARAMETERS, parameter("timestamps", "Prefix each line", enum=["true", "false"])),
    responses=problems(404, 413, _200=document(str, "The log as text", media_type=f"{TEXT}; charset=utf-8")),
    media_type=TEXT,
)
async def download(request: ApiRequest, container_id: FromPath[str]) -> Response[bytes]:
    """The container's log as a text file. Works for stopped containers."""
    logs, query = request.services.logs, request.params
    container = request.services.fleet.need(container_id)
    wanted = selection(query, tail=download_tail(query.integer("tail", DOWNLOAD_TAIL)))
    text = await logs.download(container, wanted, timestamps=query.flag("timestamps", True))
    headers = {
        "Content-Disposition": f'attachment; filename="{file_name(container.name)}"',
        "Vary": "Accept-Encoding",
    }
    if offers_gzip(request.headers.get("accept-encoding")):
        headers["Content-Encoding"] = "gzip"
        text = await compressed(text, 6, off_loop=OFF_LOOP_BYTES)
    return Response(text, media_type=TEXT, headers=headers)


@get("/logs/stream", opt=READ, responses=problems(426))
async def not_a_socket() -> None:
    """The stream is a WebSocket."""
    raise UpgradeRequired(headers={"Upgrade": "websocket"})


@websocket("/logs/stream", opt=READ)
async def stream(socket: WebSocket[Any, Any, Any], container_id: FromPath[str]) -> None:
    """One text frame per line: `{"type", "ts", "line"}`; the close code says how it ended."""
    services, query = services_of(socket), Query(socket.scope["query_string"])
    logs = services.logs
    await socket.accept()
    wanted = selection(query, tail=stream_tail(query.integer("tail", STREAM_TAIL)))
    ending = services.live.streams.open()
    try:
        async with logs.viewer(container_id, wanted, follow=query.flag("follow", True)) as viewer:
            if not await serve_socket(socket, viewer.take, viewer.cut_off.wait(), ending.get()):
                return
            if ending.closed and not viewer.cut_off.is_set():
                code, reason = SHUTDOWN_CODE, "Server is stopping"
            else:
                code, reason = (_close_code(viewer.error), viewer.error.message) if viewer.error else (1000, "")
    except DrydockError as error:
        code, reason = _close_code(error), error.message
    finally:
        ending.close()
    await close_socket(socket, code, reason)


def _close_code(error: DrydockError) -> int:
    if isinstance(error, ViewerTooSlow):
        return SLOW_CODE
    if isinstance(error, NotRunning):
        return NOT_RUNNING_CODE
    return NOT_FOUND_CODE if isinstance(error, NotFound) else FAILED_CODE


router = Router("/api/v1/containers/{container_id:str}", route_handlers=[download, not_a_socket, stream], tags=["Logs"])
