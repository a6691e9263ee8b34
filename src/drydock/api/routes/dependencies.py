"""Dependencies between containers, and the update of a whole group (container-api.md §11.2–11.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Router, get, post
from litestar.params import FromPath

from drydock.api.access import READ, UPDATE, confirmed
from drydock.api.openapi import TEXTS, confirmation, fields, problems, reads
from drydock.api.request import ApiRequest
from drydock.core import dependencies as deps
from drydock.core.errors import BadRequest
from drydock.updates.dependency_groups import Member
from drydock.updates.dependency_groups import document as graph_document


@get("/containers/dependencies", opt=READ, responses=problems())
async def everything(request: ApiRequest) -> dict[str, Any]:
    """Who depends on whom."""
    return graph_document(request.updates.groups.graph())


@post(
    "/containers/{container_id:str}/update-chain-preview",
    opt=READ,
    status_code=200,
    responses=problems(404),
)
async def preview(request: ApiRequest, container_id: FromPath[str]) -> dict[str, Any]:
    """In what order the group of this container would be updated."""
    chains = request.updates.groups
    members = chains.members(container_id)
    ids, whole = {member.container.id for member in members}, chains.graph()
    cycles = [group for group in deps.cycles(whole) if ids & set(group)]
    unresolved = [{"nodeId": node, "missingTarget": name} for node, name in whole.unresolved if node in ids]
    return {"waves": _waves(members), "warnings": {"cycles": cycles, "unresolved": unresolved}}


def _waves(members: Sequence[Member]) -> list[dict[str, Any]]:
    numbers = sorted({member.wave for member in members})
    return [
        {
            "index": number,
            "containers": [
                {"id": member.container.id, "name": member.container.name, "actionKind": member.action}
                for member in members
                if member.wave == number
            ],
        }
        for number in numbers
    ]


@post(
    "/dependency-groups/{root_id:str}/update",
    opt=UPDATE,
    status_code=200,
    guards=[confirmed("dependency-group-update")],
    operation_class=reads(confirmation("dependency-group-update"), body=fields(expectedContainerIds=TEXTS)),
    responses=problems(400, 404, 409, 413, 415, 428),
)
async def update(request: ApiRequest, root_id: FromPath[str]) -> dict[str, Any]:
    """Update a group wave by wave."""
    expected = (await request.document()).get("expectedContainerIds")
    bulk, members = await request.updates.groups.update(root_id, lambda: _expected(expected))
    by_id = {member.container.id: member for member in members}
    accepted = [
        {
            **msgspec.to_builtins(entry),
            "wave": by_id[entry.container_id].wave,
            "actionKind": by_id[entry.container_id].action,
        }
        for entry in bulk.accepted
    ]
    return {
        "message": "Dependency group update requests processed",
        "accepted": accepted,
        "rejected": msgspec.to_builtins(bulk.rejected),
    }


def _expected(value: Any) -> list[str] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise BadRequest("expectedContainerIds must be an array of container ids")
    return value


router = Router("/api/v1", route_handlers=[everything, preview, update], tags=["Actions"])
