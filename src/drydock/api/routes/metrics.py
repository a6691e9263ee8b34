"""`GET /metrics` (platform-api.md §16.2)."""

from __future__ import annotations

import hmac

from litestar import Response, Router, get

from drydock.api.access import PUBLIC, admit_scope, caller_now, narrow
from drydock.api.network import header
from drydock.api.openapi import problems
from drydock.api.request import ApiRequest
from drydock.core.errors import Unauthorized
from drydock.core.secret import Secret
from drydock.metrics.settings import MetricsAccessSettings

TEXT = "text/plain; charset=utf-8"


@get(
    "/metrics",
    opt=PUBLIC,
    tags=["Metrics"],
    security=[{"metricsBearerAuth": []}, {"sessionAuth": []}],
    media_type=TEXT,
    responses=problems(),
)
async def metrics(request: ApiRequest) -> Response[bytes]:
    """Metrics in the Prometheus text format."""
    # for the token when one is set, else by the API's credentials, else for everyone
    access = request.services.settings[MetricsAccessSettings]
    if access.metrics_token is not None:
        await _check_token(request, header(request.scope, b"authorization") or "", access.metrics_token)
    elif access.metrics_auth:
        caller = await caller_now(request)
        if caller is None:
            raise Unauthorized()
        narrow(request, request.route_handler, caller)
        admit_scope(caller, "read")
    return Response(request.services.metrics.text(), media_type=TEXT)


async def _check_token(request: ApiRequest, authorization: str, token: Secret) -> None:
    """The right token passes even from a locked address; a wrong one counts against it, as an API key does."""
    scheme, _, given = authorization.partition(" ")
    right = hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.reveal().strip().encode())
    if scheme.lower() == "bearer" and right:
        return
    if given.strip():
        await request.services.auth.refused(given.strip(), "metrics", "Unknown metrics token", request.address)
    raise Unauthorized()


router = Router("/", route_handlers=[metrics])
