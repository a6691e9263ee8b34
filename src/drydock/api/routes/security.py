"""Scans, overview, SBOM, runtime status (container-api.md §6, security.md §8, platform-api.md §4.3)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any, Literal

import msgspec
from litestar import Response, Router, delete, get, post
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import FromPath

from drydock.api.access import READ, WATCH, limited, spend
from drydock.api.openapi import PAGING, TEXTS, document, fields, one_of, parameter, problems, reads
from drydock.api.request import ApiRequest, links, page
from drydock.api.streams import SSE_HEADERS, sse
from drydock.core.errors import BadRequest, DrydockError, TooManyRequests
from drydock.core.model import ContainerView
from drydock.events import Event, ScanCompleted, ScanCycleCompleted, ScanStarted
from drydock.security import model
from drydock.security.cycles import Cycle
from drydock.security.documents import Document
from drydock.security.model import FORMATS, SbomFormat, Scan
from drydock.security.overview import Group
from drydock.security.overview import page as cut_page
from drydock.sse import Channel, frame, frames
from drydock.waiting import closing

JSON = "application/json"
BARE: dict[str, SbomFormat] = {
    "application/spdx+json": "spdx-json",
    "application/vnd.cyclonedx+json": "cyclonedx-json",
}
EXTENSIONS: dict[str, str] = {"spdx-json": "spdx", "cyclonedx-json": "cyclonedx"}
LEVELS = ("critical", "high", "all")
SCAN_ALL_LIMIT = "Bulk scan rate limit exceeded. Max 1 per 60 seconds."
UNSUPPORTED = "Unsupported SBOM format. Supported values: spdx-json, cyclonedx-json"


class VulnerabilityPage(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Findings of the fleet by image."""

    total_containers: int
    scanned_containers: int
    latest_scanned_at: str | None
    total: int
    limit: int
    offset: int
    has_more: bool
    images: list[Group]
    links: dict[str, str] | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="_links")


class NotScanned(msgspec.Struct, frozen=True, rename="camel"):
    """What stands for the scan of an image that was never scanned."""

    scanner: None = None
    scanned_at: None = None
    status: Literal["not-scanned"] = "not-scanned"
    block_severities: tuple[str, ...] = ()
    blocking_count: int = 0
    summary: model.Summary = model.NOTHING_FOUND
    vulnerabilities: tuple[str, ...] = ()


class Started(msgspec.Struct, rename="camel"):
    """A bulk scan that runs in the background."""

    cycle_id: str
    scheduled_count: int


@get(
    "/security/vulnerabilities",
    opt=READ,
    operation_class=reads(*PAGING),
    responses=problems(_200=document(VulnerabilityPage, "Findings by image")),
)
async def list_vulnerabilities(request: ApiRequest) -> Response[bytes]:
    """All findings of the fleet, grouped by image; `limit` and `offset` count findings."""
    found = request.services.security.service.overview()
    wanted = page(request.params)
    images, returned = cut_page(found.images, wanted.limit, wanted.offset)
    path = "/api/v1/containers/security/vulnerabilities"
    answer = VulnerabilityPage(
        total_containers=found.total_containers,
        scanned_containers=found.scanned_containers,
        latest_scanned_at=found.latest_scanned_at,
        total=found.total,
        limit=wanted.limit,
        offset=wanted.offset,
        has_more=wanted.limit > 0 and wanted.offset + returned < found.total,
        images=images,
        links=links(path, request.params, wanted, returned, found.total) if wanted.limit else msgspec.UNSET,
    )
    return Response(msgspec.json.encode(answer), media_type=JSON)


@get(
    "/{container_id:str}/vulnerabilities",
    opt=READ,
    operation_class=reads(parameter("target", "Which image", enum=["current", "update"])),
    responses=problems(404, _200=document(Scan | NotScanned, "The latest scan")),
)
async def vulnerabilities(request: ApiRequest, container_id: FromPath[str]) -> Response[bytes]:
    """The latest scan of one container; `target=update` that of its candidate."""
    security = request.services.fleet.need(container_id).security or {}
    if request.params.text("target") == "update":
        found = security.get("updateScan")
    else:
        found = security.get("scan") or security.get("updateScan")
    return Response(msgspec.json.encode(found or NotScanned()), media_type=JSON)


@post(
    "/{container_id:str}/scan",
    opt=WATCH,
    status_code=200,
    guards=[limited("scan", 30)],
    responses=problems(400, 404, 413, 415, _200=document(ContainerView, "The container with its scan")),
)
async def scan(request: ApiRequest, container_id: FromPath[str]) -> Response[bytes]:
    """Scan the image of this container and the candidate of its update now."""
    services = request.services
    services.fleet.need(container_id)
    stored = await request.services.security.service.scan_one(container_id)
    return Response(msgspec.json.encode(services.fleet.view(stored.id)), media_type=JSON)


@post(
    "/scan-all",
    opt=WATCH,
    status_code=202,
    operation_class=reads(body=fields(containerIds=TEXTS, severity=one_of(*LEVELS))),
    responses=problems(400, 413, 415, _202=document(Started, "Started")),
)
async def scan_all(request: ApiRequest) -> Response[Any]:
    """Scan all containers, or those of `containerIds`, in the background.

    With `Accept: text/event-stream` the answer stays open and reports progress; closing it stops the scan.
    """
    service = request.services.security.service
    ids, level = _bulk_body(await _object(request)) if service.enabled else (None, "all")
    containers = service.check_ids(ids)
    await _spend_bulk(request)
    cycle = service.scan_many(containers, level, aborted=await _gone(request))  # type: ignore[arg-type]  # one of LEVELS
    if "text/event-stream" in request.headers.get("accept", ""):
        return _progress(request, cycle)
    return Response(Started(cycle.id, len(containers)), status_code=202)


async def _object(request: ApiRequest) -> dict[str, Any]:
    try:
        return await request.document()
    except BadRequest as error:
        raise BadRequest("Request body must be a JSON object") from error


def _bulk_body(body: dict[str, Any]) -> tuple[list[str] | None, str]:
    """The ids and the alert level. `BadRequest` with the texts of security.md §8.3."""
    unknown = sorted(set(body) - {"containerIds", "severity"})
    if unknown:
        raise BadRequest(f"Unknown request properties: {', '.join(unknown)}")
    ids, level = body.get("containerIds"), body.get("severity", "all")
    if "containerIds" in body and not (isinstance(ids, list) and all(isinstance(one, str) for one in ids)):
        raise BadRequest("containerIds must be an array of strings")
    if ids is not None and not all(one.strip() for one in ids):
        raise BadRequest("containerIds must be an array of non-empty strings")
    if level not in LEVELS:
        raise BadRequest("severity must be one of: critical, high, all")
    return ids, level


async def _spend_bulk(request: ApiRequest) -> None:
    """One per minute and client; signed-in administrators are not counted."""
    if request.caller.signed_in and "admin" in request.caller.scopes:
        return
    try:
        await spend(request, "scan-all", 1)
    except TooManyRequests as error:
        raise TooManyRequests(SCAN_ALL_LIMIT, headers=error.headers) from error


async def _gone(request: ApiRequest) -> bool:
    """The client has dropped its connection already. The body has been read, so the next message can only be that."""
    await request.body()
    message = asyncio.ensure_future(request.receive())
    for _ in range(3):
        await asyncio.sleep(0)
    if not message.done():
        message.cancel()
        await asyncio.gather(message, return_exceptions=True)
        return False
    return bool(message.result()["type"] == "http.disconnect")


_NAMES: dict[type[Event], str] = {ScanStarted: "dd:scan-started", ScanCompleted: "dd:scan-completed"}


def _progress(request: ApiRequest, cycle: Cycle) -> Response[Any]:
    """The cycle as a stream that ends with it; the client's leaving stops the cycle."""
    services = request.services
    channel = services.live.streams.open(capacity=10_000)
    cycle.listeners.append(lambda event: _offer(channel, event))

    async def sent() -> AsyncIterator[bytes]:
        try:
            async with closing(frames(channel, services.clock)) as source:
                async for item in source:
                    yield item
        finally:
            cycle.abort()

    answer = sse(sent())
    answer.status_code = 202
    answer.headers.update(SSE_HEADERS)
    return answer


def _offer(channel: Channel, event: Event) -> None:
    if isinstance(event, ScanCycleCompleted):
        channel.offer(frame("dd:security-scan-cycle-complete", event.summary))
        channel.close()
    elif isinstance(event, ScanStarted):
        channel.offer(frame(_NAMES[ScanStarted], {"containerId": event.container_id}))
    elif isinstance(event, ScanCompleted):
        said = {"containerId": event.container_id, "status": event.status}
        channel.offer(frame(_NAMES[ScanCompleted], said))


@delete("/scan-all/{cycle_id:str}", opt=WATCH, status_code=202, responses=problems(404))
async def stop_scan(request: ApiRequest, cycle_id: FromPath[str]) -> dict[str, str]:
    """Stop a bulk scan: no further container is started, running scanners are killed, stored results stay."""
    request.services.security.service.abort(cycle_id)
    return {"cycleId": cycle_id}


@get(
    "/{container_id:str}/sbom",
    opt=READ,
    operation_class=reads(
        parameter("format", "Format of the document", enum=FORMATS),
        parameter("raw", "The bare document instead of the envelope", kind=OpenAPIType.BOOLEAN),
        bare=tuple(BARE),
    ),
    responses=problems(400, 404, 503, _200=document(Document, "The document in its envelope")),
)
async def sbom(request: ApiRequest, container_id: FromPath[str]) -> Response[bytes]:
    """What is in the image of this container. `Accept: application/spdx+json` gives the bare document."""
    bare_type, form = _sbom_form(request)
    container = request.services.fleet.need(container_id)
    try:
        found = await request.services.security.service.sbom(container_id, form)
    except DrydockError as error:
        if error.status != 500:
            raise
        raise DrydockError("Error generating SBOM") from error  # always the same text; the reason is in the log
    if bare_type is None and not request.params.flag("raw"):
        return Response(msgspec.json.encode(found), media_type=JSON)
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", container.name)
    headers = {"Content-Disposition": f'attachment; filename="{name}.{EXTENSIONS[form]}.json"'}
    kind = next(media for media, known in BARE.items() if known == form)
    return Response(msgspec.json.encode(found.document), media_type=kind, headers=headers)


def _sbom_form(request: ApiRequest) -> tuple[str | None, SbomFormat]:
    """The media type of a bare document, if one is accepted, and the format: the requested one, else of that type, else SPDX."""
    accepted = [part.partition(";")[0].strip().lower() for part in request.headers.get("accept", "").split(",")]
    bare = next((media for media in accepted if media in BARE), None)
    asked = (request.params.text("format") or "").lower()
    if not asked:
        return bare, BARE[bare] if bare else "spdx-json"
    for form in FORMATS:
        if form == asked:
            return bare, form
    raise BadRequest(UNSUPPORTED)


@get(
    "/api/v1/server/security/runtime",
    opt=READ,
    responses=problems(_200=document(dict[str, Any], "What is there")),
    tags=["System"],
)
async def runtime(request: ApiRequest) -> Response[bytes]:
    """Whether scanner, SBOM generator and verifier are there, and which versions."""
    try:
        status = await request.services.security.runtime.status()
    except OSError as error:
        raise DrydockError("Error loading security runtime status") from error
    return Response(msgspec.json.encode(status), media_type=JSON)


router = Router(
    "/",
    route_handlers=[
        Router(
            "/api/v1/containers",
            route_handlers=[list_vulnerabilities, vulnerabilities, scan, scan_all, stop_scan, sbom],
            tags=["Containers"],
        ),
        runtime,
    ],
)
