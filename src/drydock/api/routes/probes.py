"""`GET /health` (platform-api.md §16.1)."""

from __future__ import annotations

import msgspec
from litestar import Response, Router, get

from drydock.api.access import PUBLIC
from drydock.api.openapi import document
from drydock.api.request import ApiRequest


class Alive(msgspec.Struct):
    """Seconds since the process began to serve."""

    uptime: float


class Starting(msgspec.Struct):
    """No authentication strategy is registered yet."""

    status: str = "starting"
    reason: str = "auth strategies not yet registered"


@get(
    "/health",
    opt=PUBLIC,
    tags=["System"],
    security=[{}],
    responses={200: document(Alive, "Ready"), 503: document(Starting, "Not ready to authenticate anybody")},
)
async def health(request: ApiRequest) -> Response[Alive | Starting]:
    """Whether the server is ready: 200 with its uptime, 503 while nobody could sign in."""
    services = request.services
    if not services.access.ready:
        return Response(Starting(), status_code=503)
    return Response(Alive(round(services.clock.monotonic() - services.started_at, 1)))


router = Router("/", route_handlers=[health])
