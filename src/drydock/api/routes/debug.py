"""`GET /api/v1/debug/dump` (platform-api.md §4.6)."""

from __future__ import annotations

from typing import Any

import structlog
from litestar import Response, Router, get

from drydock.api.access import ADMIN
from drydock.api.openapi import document, parameter, problems, reads
from drydock.api.request import ApiRequest
from drydock.core.errors import DrydockError
from drydock.core.times import to_iso

log = structlog.get_logger("api")

DEFAULT_MINUTES = 30
MOST_MINUTES = 1440


class DumpFailed(DrydockError):
    """The dump cannot be made."""

    code = "debug-dump-failed"
    default = "Unable to generate debug dump"


@get(
    "/dump",
    opt=ADMIN,
    operation_class=reads(parameter("minutes", "How far back recent events go, 1 to 1440; 30 when absent")),
    responses=problems(_200=document(dict[str, Any], "The dump")),
)
async def dump(request: ApiRequest) -> Response[bytes]:
    """Everything that helps to find a fault, as a file, without secrets."""
    minutes = request.params.integer("minutes", DEFAULT_MINUTES)
    minutes = min(minutes, MOST_MINUTES) if minutes > 0 else DEFAULT_MINUTES
    services = request.services
    try:
        content = await services.diagnostics.dump(minutes)
    except Exception as error:
        log.exception("api.debug_dump_failed")
        raise DumpFailed() from error
    await request.note("debug-dump", "info")
    day = to_iso(services.clock.now_ms())[:10]
    disposition = f'attachment; filename="drydock-debug-dump-{day}.json"'
    return Response(content, media_type="application/json", headers={"Content-Disposition": disposition})


router = Router("/api/v1/debug", route_handlers=[dump], tags=["System"])
