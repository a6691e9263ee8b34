"""The containers as a whole: list, summary, recent status, groups, watch (container-api.md §3, §4)."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Router, post

from drydock.api import listing
from drydock.api.access import READ, WATCH
from drydock.api.fast_path import Encoded, get
from drydock.api.openapi import TEXTS, document, fields, problems, reads
from drydock.api.request import ApiRequest
from drydock.core.audit import AuditFilter
from drydock.core.errors import BadRequest, NotFound
from drydock.fleet.counters import Summary
from drydock.fleet.groups import Group, grouped

RECENT_ENTRIES = 100
LARGEST_WATCH = 200
_STATUS_OF = {"update-applied": "updated", "update-available": "pending", "update-failed": "failed"}


class RecentStatus(msgspec.Struct, rename="camel"):
    """The newest known outcome per container name and per `agent::watcher::name`."""

    statuses: dict[str, str]
    statuses_by_identity: dict[str, str]


class Groups(msgspec.Struct):
    """All groups in the order of their first container."""

    data: list[Group]
    total: int


@get(
    "/",
    opt={**READ, "narrows": True},
    operation_class=reads(*listing.PARAMETERS),
    responses=problems(400, _200=document(listing.ContainerPage, "A page of containers")),
)
async def list_containers(request: ApiRequest) -> Encoded:
    """The containers that match, ordered, a page of them. Filters combine with AND."""
    return Encoded(listing.body(request))


@get("/summary", opt=READ, responses=problems(_200=document(Summary, "Counters")))
async def summary(request: ApiRequest) -> Summary:
    """Counters for a dashboard."""
    return request.services.fleet.summary()


@get("/recent-status", opt=READ, responses=problems(_200=document(RecentStatus, "Outcomes")))
async def recent_status(request: ApiRequest) -> RecentStatus:
    """What happened last to each container, from the newest 100 audit entries."""
    entries, _ = await request.services.audit.query(AuditFilter(), RECENT_ENTRIES, 0)
    found = RecentStatus({}, {})
    for entry in entries:
        status = _STATUS_OF.get(entry.action)
        if status is not None:
            _set_first(found.statuses, entry.container_name, status)
            _set_first(found.statuses_by_identity, entry.container_identity_key, status)
    return found


def _set_first(table: dict[str, str], key: str | None, value: str) -> None:
    if key and key.strip():
        table.setdefault(key, value)


@get("/groups", opt=READ, responses=problems(_200=document(Groups, "Groups")))
async def groups(request: ApiRequest) -> Groups:
    """Containers grouped by label, Compose project or stack."""
    found = grouped(request.services.fleet.views())
    return Groups(found, len(found))


@post(
    "/watch",
    opt={**WATCH, "narrows": True},
    status_code=200,
    operation_class=reads(*listing.PARAMETERS, body=fields(containerIds=TEXTS)),
    responses=problems(400, 404, 413, 415, _200=document(listing.ContainerPage, "The list after the check")),
)
async def watch(request: ApiRequest) -> Encoded:
    """Check every container now, or those of `containerIds` in the body, and answer with the list."""
    listing.read(request.params)
    ids = _wanted_ids(await request.document())
    watching = request.services.watching
    if ids is None:
        ids = _reached(request)
    if ids is None:
        await watching.watch_all()
    else:
        for id in ids:
            _need(request, id)
        await watching.watch_some(ids)
    return Encoded(listing.body(request))


def _reached(request: ApiRequest) -> list[str] | None:
    """Every container that a limited key reaches; None for a caller who reaches all."""
    reach = request.caller.reach
    return None if reach is None else [one.id for one in request.services.fleet.all() if reach.covers(one)]


def _need(request: ApiRequest, id: str) -> None:
    found, reach = request.services.fleet.get(id), request.caller.reach
    if found is None or (reach is not None and not reach.covers(found)):
        raise NotFound("Container not found", details={"id": id})


def _wanted_ids(body: dict[str, Any]) -> list[str] | None:
    unknown = sorted(set(body) - {"containerIds"})
    if unknown:
        raise BadRequest(f"Unknown property: {unknown[0]}")
    if "containerIds" not in body:
        return None
    given = body["containerIds"]
    if not isinstance(given, list) or not all(isinstance(id, str) and id.strip() for id in given):
        raise BadRequest("containerIds must be an array of non-empty strings")
    if not 0 < len(given) <= LARGEST_WATCH:
        raise BadRequest(f"containerIds must name 1 to {LARGEST_WATCH} containers")
    return list(dict.fromkeys(id.strip() for id in given))


router = Router(
    "/api/v1/containers",
    route_handlers=[list_containers, summary, recent_status, groups, watch],
    tags=["Containers"],
)
