"""`GET /health` (platform-api.md §16.1)."""

from __future__ import annotations

import msgspec
from litestar import Response, Router, get

from drydock.api.access import PUBLIC, caller_now
from drydock.api.openapi import document, parameter, reads
from drydock.api.request import ApiRequest
from drydock.core.errors import DrydockError

VERBOSE = frozenset({"1", "true"})


class Alive(msgspec.Struct):
    """Seconds since the process began to serve; the rest for `verbose` requests of a caller who may read."""

    uptime: float
    store: bool | msgspec.UnsetType = msgspec.UNSET
    watchers: bool | msgspec.UnsetType = msgspec.UNSET
    agents: bool | msgspec.UnsetType = msgspec.UNSET


class Starting(msgspec.Struct):
    """No authentication strategy is registered yet."""

    status: str = "starting"
    reason: str = "auth strategies not yet registered"


@get(
    "/health",
    opt=PUBLIC,
    tags=["System"],
    security=[{}],
    operation_class=reads(parameter("verbose", "`1`: whether store, watchers and agents work, for who may read")),
    responses={200: document(Alive, "Ready"), 503: document(Starting, "Not ready: no one can sign in")},
)
async def health(request: ApiRequest) -> Response[Alive | Starting]:
    """Whether the server is ready: 200 with its uptime, 503 while no one can sign in."""
    services = request.services
    if not services.auth.ready:
        return Response(Starting(), status_code=503)
    alive = Alive(round(services.clock.monotonic() - services.started_at, 1))
    if request.params.text("verbose") in VERBOSE and await _may_read(request):
        alive = msgspec.structs.replace(alive, **await services.diagnostics.health())
    return Response(alive)


async def _may_read(request: ApiRequest) -> bool:
    """A probe is answered for every caller; wrong or locked credentials only hide the details."""
    try:
        caller = await caller_now(request)
    except DrydockError:
        return False
    return caller is not None and "read" in caller.scopes and caller.reach is None


router = Router("/", route_handlers=[health])
