"""`GET /api/v1/audit` (platform-api.md §10)."""

from __future__ import annotations

import re

import msgspec
from litestar import Router, get

from drydock.api.access import READ
from drydock.api.openapi import PAGING, document, parameter, problems, reads
from drydock.api.query import Query, links, page
from drydock.api.request import ApiRequest
from drydock.core.audit import AuditEntry, AuditFilter
from drydock.core.errors import BadRequest
from drydock.core.times import from_iso

_NAME = re.compile(r"[A-Za-z0-9._-]+")
DEFAULT_LIMIT = 50


class AuditPage(msgspec.Struct, rename="camel"):
    """Audit entries, newest first."""

    data: list[AuditEntry]
    total: int
    limit: int
    offset: int
    has_more: bool
    links: dict[str, str] = msgspec.field(name="_links")


_PARAMETERS = (
    *PAGING,
    parameter("action", "One action"),
    parameter("actions", "Comma-separated actions; ignored with `action`"),
    parameter("container", "Exact container name"),
    parameter("from", "Not before this instant"),
    parameter("to", "Not after this instant"),
)


@get("/", opt=READ, operation_class=reads(*_PARAMETERS), responses=problems(400, _200=document(AuditPage, "A page")))
async def query(request: ApiRequest) -> AuditPage:
    """What happened, newest first."""
    params = request.params
    cut = page(params, default=DEFAULT_LIMIT, least=1)
    entries, total = await request.services.audit.query(_filter(params), cut.limit, cut.offset)
    more = cut.offset + len(entries) < total
    found = links(request.scope["path"], params, cut, len(entries), total)
    return AuditPage(entries, total, cut.limit, cut.offset, more, found)


def _filter(params: Query) -> AuditFilter:
    action = _name(params, "action")
    return AuditFilter(
        actions=(action,) if action else _actions(params),
        container=_name(params, "container"),
        since=_instant(params, "from"),
        until=_instant(params, "to"),
    )


def _name(params: Query, parameter: str) -> str | None:
    value = params.text(parameter)
    if value and not _NAME.fullmatch(value):
        raise _refusal(parameter)
    return value or None


def _actions(params: Query) -> tuple[str, ...]:
    found = tuple(item for part in (params.text("actions") or "").split(",") if (item := part.strip()))
    if not all(_NAME.fullmatch(item) for item in found):
        raise _refusal("actions")
    return found


def _instant(params: Query, parameter: str) -> int | None:
    text = params.text(parameter)
    if not text:
        return None
    found = int(text) if text.isdecimal() and len(text) < 16 else from_iso(text)
    if found is None:
        raise _refusal(parameter)
    return found


def _refusal(parameter: str) -> BadRequest:
    return BadRequest(f"Invalid {parameter} query parameter")


router = Router("/api/v1/audit", route_handlers=[query], tags=["Audit"])
