"""Release notes of a pending update, and of the versions between (container-api.md §7.8, §7.9)."""

from __future__ import annotations

import msgspec
from litestar import Response, Router, get
from litestar.params import FromPath

from drydock.api.access import READ
from drydock.api.openapi import document, parameter, problems, reads
from drydock.api.request import ApiRequest
from drydock.core.errors import BadRequest
from drydock.core.model import ReleaseNotes
from drydock.release_notes.room import Between

JSON = "application/json"


@get("/release-notes", opt=READ, responses=problems(404, _200=document(ReleaseNotes, "The notes")))
async def release_notes(request: ApiRequest, container_id: FromPath[str]) -> Response[bytes]:
    """Notes of the version that the pending update would install."""
    container = request.services.fleet.need(container_id)
    found = await request.services.release_notes.of_update(container)
    return Response(msgspec.json.encode(_full(found)), media_type=JSON)


def _full(notes: ReleaseNotes) -> dict[str, str]:
    """Every field, empty ones too."""
    return {
        "title": notes.title,
        "body": notes.body,
        "url": notes.url,
        "publishedAt": notes.published_at,
        "provider": notes.provider,
    }


@get(
    "/intermediate-release-notes",
    opt=READ,
    operation_class=reads(parameter("from", "The version before", required=True), parameter("to", "The version after")),
    responses=problems(400, 404, 422, _200=document(Between, "Notes between the versions")),
)
async def intermediate(request: ApiRequest, container_id: FromPath[str]) -> Response[bytes]:
    """Notes of every release after `from` up to `to` (default: the pending tag), newest first."""
    container = request.services.fleet.need(container_id)
    first = request.params.text("from")
    if not first:
        raise BadRequest("from is required")
    found = await request.services.release_notes.between(container, first, request.params.text("to") or None)
    notes = [_full(one) for one in found.release_notes]
    return Response(msgspec.json.encode({"releaseNotes": notes, "hiddenCount": found.hidden_count}), media_type=JSON)


router = Router(
    "/api/v1/containers/{container_id:str}", route_handlers=[release_notes, intermediate], tags=["Containers"]
)
