"""Builds the ASGI application from its services: routes, guard, errors, OpenAPI, and the edge around it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from litestar import Litestar
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from litestar.handlers.base import BaseRouteHandler
from litestar.types import ControllerRouterHandler

from drydock.api import envelope, openapi
from drydock.api.access import admit
from drydock.api.asgi import App
from drydock.api.body import API_LIMIT
from drydock.api.middleware import Edge, remember
from drydock.api.request import ApiRequest
from drydock.api.routes import ROUTES
from drydock.api.services import Services
from drydock.compat.wud import bare_lists, shim
from drydock.lean import without

SCOPES = frozenset({"read", "watch", "update", "admin", "public"})


def build(services: Services, routes: Sequence[ControllerRouterHandler] = ROUTES) -> App:
    """The application. Raises `ValueError` for a route that does not declare who may call it."""
    app = litestar_app(services, routes)
    undeclared = sorted(
        f"{handler.handler_name}: {sorted(handler.paths)}" for handler in handlers(app) if open_to_all(handler)
    )
    if undeclared:
        raise ValueError(f"Routes without a scope: {undeclared}")
    if services.settings.compat_wudcard:
        return shim(Edge(bare_lists(app), services))
    return Edge(app, services)


def litestar_app(services: Services, routes: Sequence[ControllerRouterHandler] = ROUTES) -> Litestar:
    """The framework's part, without the edge; tests read its route table."""
    return _framework(services.settings.version, {"services": services, "limiters": {}}, routes)


def schema(version: str) -> dict[str, Any]:
    """The OpenAPI document, without a server."""
    return openapi.complete(_framework(version, {}).openapi_schema.to_schema())


def _framework(version: str, state: dict[str, Any], routes: Sequence[ControllerRouterHandler] = ROUTES) -> Litestar:
    with without("pydantic"):  # an optional plugin of the framework takes it: 11 MB, 0.2 s, for models we have none of
        return Litestar(
            route_handlers=list(routes),
            guards=[admit],
            request_class=ApiRequest,
            request_max_body_size=API_LIMIT,
            exception_handlers={Exception: envelope.handle},
            after_exception=[remember],
            openapi_config=openapi.config(version),
            state=State(state),
            logging_config=None,
        )


def handlers(app: Litestar) -> Iterator[BaseRouteHandler]:
    """Every handler of our own."""
    for route in app.routes:
        if route.path.startswith("/-/"):
            continue
        found = route.route_handlers if hasattr(route, "route_handlers") else [route.route_handler]
        yield from (handler for handler in found if not _automatic(handler))


def _automatic(handler: BaseRouteHandler) -> bool:
    return isinstance(handler, HTTPRouteHandler) and handler.http_methods == {"OPTIONS"}


def open_to_all(handler: BaseRouteHandler) -> bool:
    """The handler forgot to say who may call it."""
    return handler.opt.get("scope") not in SCOPES
