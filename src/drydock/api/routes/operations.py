"""Update operations: history, one, cancel (container-api.md §8)."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath

from drydock.api.access import READ, UPDATE
from drydock.api.openapi import PAGING, document, problems, reads
from drydock.api.request import ApiRequest, links, page
from drydock.core.errors import BadRequest
from drydock.core.operation import public

JSON = "application/json"


class OperationPage(msgspec.Struct, omit_defaults=True, rename="camel"):
    """Operations of one container, newest first."""

    data: list[dict[str, Any]]
    total: int
    limit: int
    offset: int
    has_more: bool
    links: dict[str, str] | None = msgspec.field(default=None, name="_links")


class OperationBody(msgspec.Struct, omit_defaults=True, rename="camel"):
    """An operation as the documentation describes it; further fields when they mean something."""

    id: str
    container_name: str
    status: str
    phase: str
    created_at: str
    updated_at: str
    container_id: str | None = None
    trigger_name: str | None = None
    from_version: str | None = None
    to_version: str | None = None
    target_image: str | None = None
    rollback_reason: str | None = None
    last_error: str | None = None


OPERATION = document(OperationBody, "The operation")


@get(
    "/{container_id:str}/update-operations",
    opt=READ,
    operation_class=reads(*PAGING),
    responses=problems(404, _200=document(OperationPage, "A page")),
)
async def of_container(request: ApiRequest, container_id: FromPath[str]) -> OperationPage:
    """The update history of a container, over all its ids."""
    rows = await request.updates.history(container_id)
    params = request.params
    cut = page(params)
    shown = [public(row) for row in cut.cut(rows)]
    more = cut.limit > 0 and cut.offset + len(shown) < len(rows)
    found = links(request.scope["path"], params, cut, len(shown), len(rows)) if cut.limit else None
    return OperationPage(shown, len(rows), cut.limit, cut.offset, more, found)


@get("/update-operations", opt=READ, responses=problems(400))
async def without_id(request: ApiRequest) -> None:
    """An operation without its id."""
    del request
    raise BadRequest("Operation id is required")


@get("/update-operations/{operation_id:str}", opt=READ, responses=problems(400, 404, _200=OPERATION))
async def one(request: ApiRequest, operation_id: FromPath[str]) -> Response[bytes]:
    """One operation, also after its container is gone."""
    wanted = operation_id.strip()
    if not wanted:
        raise BadRequest("Operation id is required")
    row = await request.updates.operation(wanted)
    return Response(msgspec.json.encode(public(row)), media_type=JSON)


@post(
    "/operations/{operation_id:str}/cancel",
    opt=UPDATE,
    status_code=200,
    responses=problems(404, 409, _200=OPERATION, _202=OPERATION),
)
async def cancel(request: ApiRequest, operation_id: FromPath[str]) -> Response[bytes]:
    """Cancel: a queued operation ends at once (200), a running one at its next safe point (202)."""
    row = await request.updates.queue.cancel(operation_id.strip())
    shown = public(row)
    status = 202 if row.active else 200
    return Response(msgspec.json.encode({**shown, "data": shown}), status_code=status, media_type=JSON)


history = Router("/api/v1/containers", route_handlers=[of_container], tags=["Actions"])
router = Router("/api/v1", route_handlers=[without_id, one, cancel], tags=["Actions"])
