"""`/api/v1/icons`: pictures of containers, from the cache or fetched from the network (platform-api.md §15)."""

from __future__ import annotations

import msgspec
from litestar import Response, Router, delete, get
from litestar.params import FromPath

from drydock.api.access import ADMIN, READ, spend
from drydock.api.openapi import document, problems, reads
from drydock.api.request import ApiRequest
from drydock.core.errors import BadGateway, NotFound, TooManyRequests
from drydock.icons.room import Picture, fallback
from drydock.icons.sources import SOURCES, icon_name

KEPT = "public, max-age=31536000, immutable"
NOT_KEPT = "no-store"
SVG = "image/svg+xml"
SVG_POLICY = "sandbox; script-src 'none'; object-src 'none'; base-uri 'none'"
BUDGET = "icons"


class Cleared(msgspec.Struct):
    """How many icons were removed."""

    cleared: int


@get(
    "/{provider:str}/{slug:str}",
    opt=READ,
    operation_class=reads(files=sorted({source.media_type for source in SOURCES})),
    responses=problems(400, 404, 502),
)
async def icon(request: ApiRequest, provider: FromPath[str], slug: FromPath[str]) -> Response[bytes]:
    """An icon. Requests for an image always get one: a drawn container where the icon cannot be had."""
    name, icons = icon_name(provider, slug), request.services.icons
    at_hand = await icons.at_hand(name)
    if at_hand is not None:
        return _shown(at_hand, KEPT)
    try:
        # what must be fetched counts against the budget of the client; what is kept does not
        maximum, window_s = icons.budget
        await spend(request, BUDGET, maximum, window_s)
        return _shown(await icons.fetched(name), KEPT)
    except (NotFound, BadGateway, TooManyRequests):
        # an `<img>` and its like get a picture; programs get the reason
        wanted = request.headers.get("sec-fetch-dest", "").strip().lower()
        if wanted != "image" and "image/" not in request.headers.get("accept", "").lower():
            raise
        state = request.scope["state"]
        if "rate" in state:  # the placeholder is not an error, so it carries no `Retry-After`
            state["rate"] = state["rate"]._replace(allowed=True)
        return _shown(fallback(), NOT_KEPT)


def _shown(picture: Picture, cache: str) -> Response[bytes]:
    policy = {"Content-Security-Policy": SVG_POLICY} if picture.media_type == SVG else {}
    headers = {"Cache-Control": cache, "X-Content-Type-Options": "nosniff", **policy}
    return Response(picture.content, media_type=picture.media_type, headers=headers)


@delete("/cache", opt=ADMIN, status_code=200, responses=problems(_200=document(Cleared, "Done")))
async def clear(request: ApiRequest) -> Cleared:
    """Forget every kept icon."""
    return Cleared(await request.services.icons.clear())


router = Router("/api/v1/icons", route_handlers=[icon, clear], tags=["Icons"])
