"""Self-updates from outside: how far one is, and the helper's report (platform-api.md §12.6, §12.7)."""

from __future__ import annotations

import ipaddress

from litestar import Response, Router, get, post
from litestar.params import FromPath

from drydock.api.access import PUBLIC
from drydock.api.network import header
from drydock.api.openapi import TEXT, document, fields, one_of, parameter, problems, reads
from drydock.api.request import ApiRequest
from drydock.api.settings import ServerSettings
from drydock.core.errors import Forbidden
from drydock.updates.self_update.status import ENDINGS, Finalized, SelfUpdateStatus, read_report

SECRET = "X-DD-Self-Update-Secret"
FINALIZE_PATH = "/internal/self-update/finalize"

_REPORT = fields("operationId", "status", operationId=TEXT, status=one_of(*ENDINGS), phase=TEXT, lastError=TEXT)


def finalize_url(server: ServerSettings) -> str:
    """Where a helper's report goes, from inside the server's own container; "" without an HTTP server."""
    scheme = "https" if server.tls else "http"
    return f"{scheme}://127.0.0.1:{server.port}/api/v1{FINALIZE_PATH}" if server.enabled else ""


@get(
    "/self-update/{operation_id:str}/status",
    opt=PUBLIC,
    security=[{}],
    responses=problems(404, _200=document(SelfUpdateStatus, "How far it is")),
)
async def status(request: ApiRequest, operation_id: FromPath[str]) -> SelfUpdateStatus:
    """Progress of a self-update. Needs no session: only a client that saw it begin knows the id."""
    return await request.updates.self_updates.status(operation_id.strip())


@post(
    FINALIZE_PATH,
    opt=PUBLIC,
    security=[{}],
    status_code=202,
    operation_class=reads(
        parameter(SECRET, "What only the helper of this operation knows", place="header"), body=_REPORT
    ),
    responses=problems(400, 404, 409, 413, 415, _202=document(Finalized, "Taken note of")),
)
async def finalize(request: ApiRequest) -> Response[Finalized]:
    """The helper's report of how it ended; from the loopback only, whatever forwarded headers say."""
    host = (request.scope.get("client") or ("", 0))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    mapped = getattr(address, "ipv4_mapped", None) or address
    if mapped is None or not mapped.is_loopback:
        raise Forbidden("Loopback access required")
    report = read_report(await request.document())
    secret = header(request.scope, SECRET.lower().encode()) or ""
    return Response(await request.updates.self_updates.finalize(report, secret), status_code=202)


router = Router("/api/v1", route_handlers=[status, finalize], tags=["Actions"])
