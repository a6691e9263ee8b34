"""Lists of components: watchers, registries, triggers, authentications, all alike (platform-api.md §7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from litestar import Response, Router, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from drydock.api.access import READ
from drydock.api.openapi import PAGING, document, problems, reads
from drydock.api.request import ApiRequest, page
from drydock.core.component import Component
from drydock.core.errors import NotFound

Lister = Callable[[ApiRequest], Sequence[Component]]


class ComponentPage(msgspec.Struct, rename="camel"):
    """A page of components, by type, then name."""

    data: Sequence[Component]
    total: int
    limit: int
    offset: int
    has_more: bool


def routes(kind: str, lister: Lister, *more: HTTPRouteHandler) -> Router:
    """The three reading routes of one kind of component, and `more` on the same paths; `lister` gives all of them."""

    @get("/", opt=READ, operation_class=reads(*PAGING), responses=problems(_200=document(ComponentPage, "A page")))
    async def listed(request: ApiRequest) -> ComponentPage:
        """All components of this kind, by type, then name."""
        return cut(request, lister(request))

    @get("/{type:str}/{name:str}", opt=READ, responses=problems(404, _200=document(Component, "The component")))
    async def one(request: ApiRequest, type: FromPath[str], name: FromPath[str]) -> Response[Component]:
        """One local component."""
        return Response(find(lister(request), type, name, None))

    @get("/{type:str}/{name:str}/{agent:str}", opt=READ, responses=problems(404, _200=document(Component, "It")))
    async def of_agent(
        request: ApiRequest, type: FromPath[str], name: FromPath[str], agent: FromPath[str]
    ) -> Response[Component]:
        """One component of an agent."""
        return Response(find(lister(request), type, name, agent))

    return Router(f"/api/v1/{kind}", route_handlers=[listed, one, of_agent, *more], tags=[kind.capitalize()])


def cut(request: ApiRequest, items: Sequence[Component]) -> ComponentPage:
    """The requested page."""
    wanted = page(request.params)
    found = sorted(items, key=lambda item: (item.type, item.name, item.agent or ""))
    data = wanted.cut(found)
    more = wanted.limit > 0 and wanted.offset + len(data) < len(found)
    return ComponentPage(data, len(found), wanted.limit, wanted.offset, more)


def find(items: Sequence[Component], type: str, name: str, agent: str | None) -> Component:
    """The component of this name, any case. `NotFound`."""
    wanted = _folded(type, name, agent)
    for item in items:
        if _folded(item.type, item.name, item.agent) == wanted:
            return item
    raise NotFound("Component not found")


def _folded(type: str, name: str, agent: str | None) -> tuple[str, str, str]:
    return type.lower(), name.lower(), (agent or "").lower()
