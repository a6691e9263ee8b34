"""Update, start, stop, restart, preview (container-api.md §5.5, §7.1, §7.2, §11.1)."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response, Router, post
from litestar.params import FromPath

from drydock.api.access import UPDATE
from drydock.api.openapi import TEXTS, document, fields, problems, reads
from drydock.api.request import ApiRequest
from drydock.core.errors import BadRequest
from drydock.core.model import ContainerView
from drydock.updates.dependency_groups import Accepted as AcceptedEntry
from drydock.updates.dependency_groups import Bulk, Rejection
from drydock.updates.lifecycle import DONE, ActionFailed, Verb
from drydock.updates.preview import Preview, PreviewFailed

JSON = "application/json"


class UpdateAccepted(msgspec.Struct, rename="camel"):
    """The update goes on in the background; follow it by `operationId`."""

    message: str
    operation_id: str


class BulkOutcome(msgspec.Struct, rename="camel"):
    """What became of each container of a bulk request."""

    message: str
    accepted: list[AcceptedEntry]
    rejected: list[Rejection]


class ActionDone(msgspec.Struct, rename="camel"):
    """A lifecycle action succeeded; `result` is the container afterwards."""

    message: str
    result: ContainerView


@post(
    "/{container_id:str}/update",
    opt=UPDATE,
    status_code=202,
    responses=problems(400, 404, 409, _202=document(UpdateAccepted, "Accepted")),
)
async def update(request: ApiRequest, container_id: FromPath[str]) -> UpdateAccepted:
    """Update one container to its candidate."""
    operation = await request.updates.admission.request(container_id)
    return UpdateAccepted("Container update accepted", operation.id)


@post(
    "/update",
    opt=UPDATE,
    status_code=200,
    operation_class=reads(body=fields("containerIds", containerIds=TEXTS)),
    responses=problems(400, 413, 415, _200=document(BulkOutcome, "Each judged")),
)
async def update_many(request: ApiRequest) -> BulkOutcome:
    """Update several containers: `{"containerIds": […]}`."""
    request.updates.admission.check_enabled()
    given = (await request.document()).get("containerIds")
    ids = [one.strip() for one in given if isinstance(one, str) and one.strip()] if isinstance(given, list) else []
    if not ids:
        raise BadRequest("containerIds must be a non-empty array of container ids")
    return bulk_outcome("Container update requests processed", await request.updates.groups.request_many(ids))


def bulk_outcome(message: str, outcome: Bulk) -> BulkOutcome:
    """The body of a bulk answer."""
    return BulkOutcome(message, outcome.accepted, outcome.rejected)


async def _act(request: ApiRequest, container_id: str, verb: Verb) -> Response[bytes]:
    try:
        container = await request.updates.lifecycle.act(container_id, verb)
    except ActionFailed as error:
        known = request.services.fleet.get(container_id)
        if known is not None:
            await request.note(f"container-{verb}", "error", known, details=error.cause)
        raise
    await request.note(f"container-{verb}", "success", container)
    done = ActionDone(f"Container {DONE[verb]} successfully", request.services.fleet.view(container.id))
    return Response(msgspec.json.encode(done), media_type=JSON)


_LIFECYCLE: dict[str, Any] = {
    "opt": UPDATE,
    "status_code": 200,
    "responses": problems(404, 409, 501, _200=document(ActionDone, "Done")),
}


@post("/{container_id:str}/start", **_LIFECYCLE)
async def start(request: ApiRequest, container_id: FromPath[str]) -> Response[bytes]:
    """Start the container; one that runs already is a success."""
    return await _act(request, container_id, "start")


@post("/{container_id:str}/stop", **_LIFECYCLE)
async def stop(request: ApiRequest, container_id: FromPath[str]) -> Response[bytes]:
    """Stop the container with its own signal and grace."""
    return await _act(request, container_id, "stop")


@post("/{container_id:str}/restart", **_LIFECYCLE)
async def restart(request: ApiRequest, container_id: FromPath[str]) -> Response[bytes]:
    """Stop and start the container."""
    return await _act(request, container_id, "restart")


@post(
    "/{container_id:str}/preview",
    opt=UPDATE,
    status_code=200,
    responses=problems(404, 422, 503, _200=document(Preview, "What an update would do")),
)
async def preview(request: ApiRequest, container_id: FromPath[str]) -> Preview:
    """What an update would change. Nothing is pulled, nothing is written."""
    known = request.services.fleet.get(container_id)
    try:
        found = await request.updates.previews.of(container_id)
    except PreviewFailed as error:
        if known is not None:
            await request.note("preview", "error", known, details=f"{error.preview_code}: {error.message}")
        raise
    if known is not None:
        await request.note("preview", "info", known)
    return found


router = Router(
    "/api/v1/containers",
    route_handlers=[update, update_many, start, stop, restart, preview],
    tags=["Actions"],
)
