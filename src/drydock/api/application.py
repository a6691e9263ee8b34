"""Builds the ASGI application from its services: routes, guard, errors, OpenAPI, and the middleware around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from litestar import Litestar
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from litestar.handlers.base import BaseRouteHandler
from litestar.types import ControllerRouterHandler

from drydock.api import envelope, openapi
from drydock.api.access import admit
from drydock.api.asgi import App
from drydock.api.middleware import API_LIMIT, Middleware, remember
from drydock.api.request import ApiRequest
from drydock.api.routes import ROUTES
from drydock.api.services import Services
from drydock.api.settings import PublicSettings, ServerSettings
from drydock.lean import without

SCOPES = frozenset({"read", "watch", "update", "admin", "public"})

Layer = Callable[[App], App]


log = structlog.get_logger("api")


def _nothing(app: App) -> App:
    return app


@dataclass(frozen=True)
class Extension:
    """What another room adds to the application: routes, what they ask (`app.state`), and its own layers.

    `around` sees every request first; `within` stands between the middleware and the framework.
    """

    routes: tuple[ControllerRouterHandler, ...] = ()
    state: Mapping[str, Any] = field(default_factory=dict)
    around: Layer = _nothing
    within: Layer = _nothing


NO_EXTENSION = Extension()


def build(services: Services, extension: Extension = NO_EXTENSION) -> App:
    """The application. Raises `ValueError` for a route that does not declare who may call it."""
    app = litestar_app(services, extension)
    undeclared = sorted(
        f"{handler.handler_name}: {sorted(handler.paths)}" for handler in handlers(app) if open_to_all(handler)
    )
    if undeclared:
        raise ValueError(f"Routes without a scope: {undeclared}")
    if services.settings[ServerSettings].trust_proxy is True:
        log.warning("auth.every_proxy_trusted", reason="clients can choose their address; name your proxies instead")
    return extension.around(Middleware(extension.within(app), services))


def litestar_app(services: Services, extension: Extension = NO_EXTENSION) -> Litestar:
    """The framework's part, without the middleware; tests read its route table."""
    state = {"services": services, "limiters": {}, **extension.state}
    return _framework(services.settings[PublicSettings].version, state, extension.routes)


def schema(version: str, more: tuple[ControllerRouterHandler, ...] = ()) -> dict[str, Any]:
    """The OpenAPI document of all routes and `more`, without a server."""
    return openapi.complete(_framework(version, {}, more).openapi_schema.to_schema())


def _framework(version: str, state: dict[str, Any], more: tuple[ControllerRouterHandler, ...]) -> Litestar:
    # an optional plugin of the framework imports pydantic: 11 MB, 0.2 s, for models that are not used
    with without("pydantic"):
        return Litestar(
            route_handlers=[*ROUTES, *more],
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
    """Every handler of this API."""
    for route in app.routes:
        if route.path.startswith("/-/"):
            continue
        found = route.route_handlers if hasattr(route, "route_handlers") else [route.route_handler]
        for handler in found:
            if not (
                isinstance(handler, HTTPRouteHandler) and handler.http_methods == {"OPTIONS"}
            ):  # the framework's own
                yield handler


def open_to_all(handler: BaseRouteHandler) -> bool:
    """The handler forgot to say who may call it."""
    return handler.opt.get("scope") not in SCOPES
