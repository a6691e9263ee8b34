"""The containers as a whole: list, summary, recent status, groups, watch (container-api.md §3, §4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgspec
from litestar import Router, post
from litestar.openapi.spec.enums import OpenAPIType

from drydock.api.access import READ, WATCH
from drydock.api.fast_path import Encoded, get
from drydock.api.openapi import PAGING, TEXTS, document, fields, parameter, problems, reads
from drydock.api.request import ApiRequest, Query, links, page
from drydock.core.audit import AuditFilter
from drydock.core.errors import BadRequest, NotFound
from drydock.core.model import ContainerView
from drydock.fleet.counters import Summary
from drydock.fleet.groups import Group, grouped
from drydock.fleet.response_cache import PageFacts
from drydock.fleet.selection import EXACT, KINDS, MATURITIES, ORDERS, SORTS, STATUSES, SortKey, Wanted

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


class ContainerPage(msgspec.Struct, omit_defaults=True, rename="camel"):
    """A page of containers."""

    data: list[ContainerView]
    total: int
    limit: int
    offset: int
    has_more: bool
    links: dict[str, str] | None = msgspec.field(default=None, name="_links")


LIST_PARAMETERS = (
    *PAGING,
    parameter("includeVulnerabilities", "Fill the vulnerability lists", kind=OpenAPIType.BOOLEAN),
    parameter("sort", "Order of the rows; a leading `-` reverses", enum=SORTS),
    parameter("order", "Overrides the prefix of `sort`", enum=ORDERS),
    parameter("status", "Runtime or update status", enum=STATUSES),
    parameter("kind", "Kind of the pending update, or whether `dd.watch` is set", enum=KINDS),
    parameter("watcher", "Name of the watcher"),
    parameter("maturity", "Maturity of the pending update", enum=MATURITIES),
    parameter("containerIds", "Comma-separated ids to keep"),
)


def wanted_of(query: Query) -> Wanted:
    """The requested filters and order. `BadRequest` names the first parameter that is not valid."""
    if not query.items:
        return Wanted()
    sort = _one_of(query, "sort", SORTS, "Invalid sort value") or "name"
    order = _one_of(query, "order", ORDERS, "Invalid order value")
    status = _one_of(query, "status", STATUSES, "Invalid status filter value")
    kind = _one_of(query, "kind", KINDS, "Invalid kind filter value")
    watcher = query.text("watcher")
    if watcher == "":
        raise BadRequest("Invalid watcher filter value")
    ids = ",".join(query.every("containerIds")).split(",")
    return Wanted(
        sort=cast("SortKey", sort.removeprefix("-")),
        descending=order == "desc" if order else sort.startswith("-"),
        status=status,
        kind=kind,
        watcher=watcher,
        maturity=_one_of(query, "maturity", MATURITIES, "Invalid maturity filter value"),
        ids=frozenset(id for part in ids if (id := part.strip())) or None,
        exact=tuple((name, value) for name in EXACT if (value := query.text(name)) is not None),
    )


def _one_of(query: Query, name: str, allowed: Sequence[str], refusal: str) -> str | None:
    value = query.text(name)
    if value is not None and value not in allowed:
        raise BadRequest(refusal, details={"parameter": name, "allowed": list(allowed)})
    return value


def list_body(request: ApiRequest) -> bytes:
    """The encoded answer of a list request; bytes that are still true are served again."""
    query, path = request.params, request.scope["path"]
    wanted, cut, reach = wanted_of(query), page(query), request.caller.reach
    if reach is not None:
        wanted = msgspec.structs.replace(wanted, within=reach.covers)

    def facts(returned: int, total: int) -> PageFacts:
        more = cut.limit > 0 and cut.offset + returned < total
        found = links(path, query, cut, returned, total) if cut.limit else None
        return PageFacts(total, cut.limit, cut.offset, more, found)

    key = (path, request.scope["query_string"], reach)
    return request.services.fleet.list_body(key, wanted, cut.cut, facts, query.flag("includeVulnerabilities"))


@get(
    "/",
    opt={**READ, "narrows": True},
    operation_class=reads(*LIST_PARAMETERS),
    responses=problems(400, _200=document(ContainerPage, "A page of containers")),
)
async def list_containers(request: ApiRequest) -> Encoded:
    """The containers that match, ordered, a page of them. Filters combine with AND."""
    return Encoded(list_body(request))


@get("/summary", opt=READ, responses=problems(_200=document(Summary, "Counters")))
async def summary(request: ApiRequest) -> Summary:
    """Counters for a dashboard."""
    return request.services.fleet.summary()


@get("/recent-status", opt=READ, responses=problems(_200=document(RecentStatus, "Outcomes")))
async def recent_status(request: ApiRequest) -> RecentStatus:
    """What happened last to each container, from the newest 100 audit entries."""
    entries, _ = await request.services.audit.records.query(AuditFilter(), RECENT_ENTRIES, 0)
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
    operation_class=reads(*LIST_PARAMETERS, body=fields(containerIds=TEXTS)),
    responses=problems(400, 404, 413, 415, _200=document(ContainerPage, "The list after the check")),
)
async def watch(request: ApiRequest) -> Encoded:
    """Check every container now, or those of `containerIds` in the body, and answer with the list."""
    wanted_of(request.params)
    ids = _wanted_ids(await request.document())
    fleet, watching, reach = request.services.fleet, request.services.watching, request.caller.reach
    if ids is None and reach is not None:
        ids = [one.id for one in fleet.all() if reach.covers(one)]  # all that a limited key may see
    if ids is None:
        await watching.watch_all()
    else:
        for id in ids:
            found = fleet.get(id)
            if found is None or (reach is not None and not reach.covers(found)):
                raise NotFound("Container not found", details={"id": id})
        await watching.watch_some(ids)
    return Encoded(list_body(request))


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
