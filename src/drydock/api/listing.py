"""The parameters of `GET /containers`: reading, refusing, and putting the answer together (container-api.md §3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgspec
from litestar.openapi.spec.enums import OpenAPIType

from drydock.api.openapi import PAGING, parameter
from drydock.api.query import Page, Query, links, page
from drydock.api.request import ApiRequest
from drydock.core.errors import BadRequest
from drydock.core.model import ContainerView
from drydock.fleet.response_cache import PageFacts
from drydock.fleet.selection import EXACT, KINDS, MATURITIES, ORDERS, SORTS, STATUSES, SortKey, Wanted


class ContainerPage(msgspec.Struct, omit_defaults=True, rename="camel"):
    """A page of containers."""

    data: list[ContainerView]
    total: int
    limit: int
    offset: int
    has_more: bool
    links: dict[str, str] | None = msgspec.field(default=None, name="_links")


PARAMETERS = (
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


def read(query: Query) -> Wanted:
    """The requested filters and order. `BadRequest` names the first parameter that is not valid."""
    if not query.items:
        return Wanted()
    sort, descending = _sort(query)
    return Wanted(
        sort=sort,
        descending=descending,
        status=_one_of(query, "status", STATUSES, "Invalid status filter value"),
        kind=_one_of(query, "kind", KINDS, "Invalid kind filter value"),
        watcher=_watcher(query),
        maturity=_one_of(query, "maturity", MATURITIES, "Invalid maturity filter value"),
        ids=_ids(query),
        exact=tuple((name, value) for name in EXACT if (value := query.text(name)) is not None),
    )


def _sort(query: Query) -> tuple[SortKey, bool]:
    sort = _one_of(query, "sort", SORTS, "Invalid sort value") or "name"
    order = _one_of(query, "order", ORDERS, "Invalid order value")
    descending = order == "desc" if order else sort.startswith("-")
    return cast("SortKey", sort.removeprefix("-")), descending


def _one_of(query: Query, name: str, allowed: Sequence[str], refusal: str) -> str | None:
    value = query.text(name)
    if value is not None and value not in allowed:
        raise BadRequest(refusal, details={"parameter": name, "allowed": list(allowed)})
    return value


def _watcher(query: Query) -> str | None:
    value = query.text("watcher")
    if value == "":
        raise BadRequest("Invalid watcher filter value")
    return value


def _ids(query: Query) -> frozenset[str] | None:
    given = ",".join(query.every("containerIds"))
    return frozenset(id for part in given.split(",") if (id := part.strip())) or None


def body(request: ApiRequest) -> bytes:
    """The encoded answer of a list request; bytes that are still true are served again."""
    scope = request.scope
    query = Query(scope["query_string"])
    wanted, cut, path, reach = read(query), page(query), scope["path"], request.caller.reach
    if reach is not None:
        wanted = msgspec.structs.replace(wanted, within=reach.covers)
    return request.services.fleet.list_body(
        (path, scope["query_string"], reach),
        wanted,
        cut.cut,
        lambda returned, total: _facts(path, query, cut, returned, total),
        query.flag("includeVulnerabilities"),
    )


def _facts(path: str, query: Query, cut: Page, returned: int, total: int) -> PageFacts:
    more = cut.limit > 0 and cut.offset + returned < total
    found = links(path, query, cut, returned, total) if cut.limit else None
    return PageFacts(total, cut.limit, cut.offset, more, found)
