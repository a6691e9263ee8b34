"""`GET /api/v1/audit` (platform-api.md §10)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import AsyncIterator, Iterable, Sequence

import msgspec
from litestar import Router, get
from litestar.response import Stream

from drydock.api.access import READ
from drydock.api.openapi import PAGING, document, parameter, problems, reads
from drydock.api.request import ApiRequest, Query, links, page
from drydock.core.audit import AuditEntry, AuditFilter
from drydock.core.errors import BadRequest
from drydock.core.times import from_iso, to_iso

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


STATUSES = ("success", "error", "info")
LOCAL = "__local__"
LONGEST_TEXT = 200
FORMATS = {"csv": "text/csv", "ndjson": "application/x-ndjson"}
COLUMNS = AuditEntry.__struct_encode_fields__
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet would compute."""

_FILTERS = (
    parameter("action", "One action"),
    parameter("actions", "Comma-separated actions; ignored with `action`"),
    parameter("container", "Exact container name"),
    parameter("status", "How it ended", enum=STATUSES),
    parameter("agent", "Name of an agent; `__local__` for this server"),
    parameter("q", "Text in any field, in any case"),
    parameter("from", "Not before this instant"),
    parameter("to", "Not after this instant"),
)


@get(
    "/",
    opt=READ,
    operation_class=reads(*PAGING, *_FILTERS),
    responses=problems(400, _200=document(AuditPage, "A page")),
)
async def query(request: ApiRequest) -> AuditPage:
    """What happened, newest first."""
    params = request.params
    cut = page(params, default=DEFAULT_LIMIT, least=1)
    entries, total = await request.services.audit.records.query(_filter(params), cut.limit, cut.offset)
    more = cut.offset + len(entries) < total
    found = links(request.scope["path"], params, cut, len(entries), total)
    return AuditPage(entries, total, cut.limit, cut.offset, more, found)


def _filter(params: Query) -> AuditFilter:
    action = _name(params, "action")
    actions = (action,) if action else _actions(params)
    container, status = _name(params, "container"), params.text("status")
    if status and status not in STATUSES:
        raise _refusal("status")
    agent = _name(params, "agent")
    return AuditFilter(
        actions=actions,
        container=container,
        status=status or None,
        agent="" if agent == LOCAL else agent,
        text=(params.text("q") or "")[:LONGEST_TEXT] or None,
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


@get(
    "/export",
    opt=READ,
    operation_class=reads(
        *_FILTERS,
        parameter("format", "Form of the file", enum=tuple(FORMATS), required=True),
        files=tuple(FORMATS.values()),
    ),
    responses=problems(400),
)
async def export(request: ApiRequest) -> Stream:
    """Every entry that matches, as a file: a table for spreadsheets, or one JSON object per line."""
    params, form = request.params, request.params.text("format") or ""
    if form not in FORMATS:
        raise _refusal("format")
    pages = request.services.audit.records.walk(_filter(params))
    day = to_iso(request.services.clock.now_ms())[:10]
    headers = {"Content-Disposition": f'attachment; filename="drydock-audit-{day}.{form}"'}
    return Stream(_table(pages) if form == "csv" else _lines(pages), media_type=FORMATS[form], headers=headers)


async def _lines(pages: AsyncIterator[list[AuditEntry]]) -> AsyncIterator[bytes]:
    async for page_of in pages:
        yield msgspec.json.Encoder().encode_lines(page_of)


async def _table(pages: AsyncIterator[list[AuditEntry]]) -> AsyncIterator[bytes]:
    yield _rows([COLUMNS])
    async for page_of in pages:
        yield _rows([_cell(getattr(entry, name)) for name in entry.__struct_fields__] for entry in page_of)


def _rows(rows: Iterable[Sequence[str]]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue().encode()


def _cell(value: str | None) -> str:
    """Details contain what clients sent: a spreadsheet must not evaluate any of it as a formula."""
    text = value or ""
    return "'" + text if text.startswith(_FORMULA) else text


router = Router("/api/v1/audit", route_handlers=[query, export], tags=["Audit"])
