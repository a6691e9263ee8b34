"""`GET /api/v1/events/ui` and the acknowledgement of a self-update (platform-api.md §12)."""

from __future__ import annotations

from collections.abc import AsyncIterator

from litestar import Response, Router, get, post
from litestar.params import FromPath
from litestar.response import Stream

from drydock.api.access import READ
from drydock.api.envelope import Problem
from drydock.api.network import bucket, header
from drydock.api.openapi import TEXT, document, fields, parameter, problems, reads
from drydock.api.request import ApiRequest
from drydock.api.streams import sse
from drydock.core.errors import BadRequest
from drydock.live.acknowledgements import Outcome
from drydock.sse import frames
from drydock.waiting import closing

_STATUS = {"accepted": 202, "ignored": 202, "rejected": 403}


@get(
    "/",
    opt=READ,
    operation_class=reads(
        parameter("last-event-id", "The last event that was seen; the header `Last-Event-ID` wins"),
    ),
    responses=problems(),
)
async def events(request: ApiRequest) -> Stream:
    """Everything that happens, as server-sent events: replay or resync, `dd:connected`, then live."""
    services = request.services
    stream = services.live.events
    last_id = header(request.scope, b"last-event-id") or request.params.text("last-event-id")
    address, session = bucket(request.address), request.caller.session_id
    client, first = stream.join(address, session, last_id)

    async def sent() -> AsyncIterator[bytes]:
        client.taken = True
        try:
            async with closing(frames(client.channel, services.clock, first)) as source:
                async for frame in source:
                    yield frame
        finally:
            stream.leave(client)

    return sse(sent())


@post(
    "/self-update/{operation_id:str}/ack",
    opt=READ,
    status_code=202,
    operation_class=reads(body=fields("clientId", "clientToken", clientId=TEXT, clientToken=TEXT)),
    responses=problems(
        400,
        413,
        415,
        _202=document(Outcome, "Taken note of"),
        _403=document(Outcome | Problem, "Not yours, or not allowed"),
    ),
)
async def acknowledge(request: ApiRequest, operation_id: FromPath[str]) -> Response[Outcome]:
    """A browser is ready to lose the server for a while."""
    body = await request.document()
    if not operation_id.strip():
        raise BadRequest("operationId is required")
    given = {}
    for name in ("clientId", "clientToken"):
        value = body.get(name)
        if not isinstance(value, str) or not value.strip():
            raise BadRequest(f"{name} is required")
        given[name] = value
    outcome = request.services.live.acknowledgements.acknowledge(operation_id, given["clientId"], given["clientToken"])
    return Response(outcome, status_code=_STATUS[outcome.status])


router = Router("/api/v1/events/ui", route_handlers=[events, acknowledge], tags=["Realtime"])
