"""The one guard in front of every route: closed by default.

Each handler declares what it needs with `opt=READ`, `WATCH`, `UPDATE`, `ADMIN` or `PUBLIC`; `application.build` refuses
a route that declares nothing. Route limits (`limited`) run after this guard. See platform-api.md §1.2 and §1.7.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from litestar.enums import ScopeType
from litestar.handlers.base import BaseRouteHandler

from drydock.api.limits import FixedWindow
from drydock.api.network import check_same_origin, check_websocket_origin, client_address
from drydock.api.services import Services
from drydock.auth.caller import Caller, Connection
from drydock.core.errors import ConfirmationRequired, Forbidden, NotFound, TooManyRequests, Unauthorized

READ: Final = {"scope": "read"}
WATCH: Final = {"scope": "watch"}
UPDATE: Final = {"scope": "update"}
ADMIN: Final = {"scope": "admin"}
PUBLIC: Final = {"scope": "public"}

UPGRADES = 1000
UPGRADES_WINDOW_S = 900
"""WebSocket upgrades of one client: container logs and server log share this budget (platform-api.md §1.7)."""

_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
Guard = Callable[[Connection, BaseRouteHandler], Awaitable[None]]


def services_of(connection: Connection) -> Services:
    """The services of the application that serves `connection`."""
    found: Services = connection.scope["state"]["services"]
    return found


async def admit(connection: Connection, handler: BaseRouteHandler) -> None:
    """Authenticate, check the scope, check the origin of cookie-carrying mutations; in this order.

    A WebSocket upgrade is checked for its origin first, and counted before a stranger is refused (platform-api §11.4).
    """
    connection.scope["state"]["guarded"] = True
    scope = handler.opt.get("scope")
    if scope == "public":
        return
    if scope is None and connection.scope.get("method") != "OPTIONS":
        raise NotFound("Route not found")
    services = services_of(connection)
    upgrade = connection.scope["type"] == ScopeType.WEBSOCKET
    if upgrade:
        check_websocket_origin(connection.scope, services.proxies)
    caller = await services.access.caller(connection)
    if caller is not None:
        connection.scope["state"]["caller"] = caller
    if upgrade:
        await spend(connection, "websocket-upgrades", UPGRADES, UPGRADES_WINDOW_S)
    if caller is None:
        raise Unauthorized(siblings=handler.opt.get("unauthorized"))
    if scope:
        admit_scope(caller, scope)
    if connection.scope.get("method", "GET") not in _SAFE and caller.kind != "key":
        _check_origin(connection, services, caller)


def _check_origin(connection: Connection, services: Services, caller: Caller) -> None:
    """Same origin for what carries cookies; in anonymous mode for everything, since any page a person visits could act.

    A page of the configured CORS origin is meant to call, then.
    """
    settings, anonymous = services.settings, caller.kind == "anonymous"
    if anonymous and settings.cors_origin in ("*", connection.headers.get("origin", "")):
        return
    check_same_origin(connection.scope, services.proxies, settings.public_url, cookie_only=not anonymous)


def admit_scope(caller: Caller, scope: str) -> None:
    """`Forbidden` unless the caller may do what needs `scope`."""
    if scope not in caller.scopes:
        raise Forbidden("Permission denied", details={"requiredScope": scope})


def caller_of(connection: Connection) -> Caller:
    """The admitted caller of a guarded route."""
    caller: Caller = connection.scope["state"]["caller"]
    return caller


def limit_key(connection: Connection) -> str:
    """The key of a client in a limiter: its address, or its login with `DD_SERVER_RATELIMIT_IDENTITYKEYING`."""
    services = services_of(connection)
    caller: Caller | None = connection.scope["state"].get("caller")
    if services.settings.identity_keying and caller is not None and caller.signed_in:
        return f"session:{caller.session_id}" if caller.session_id else f"user:{caller.name}"
    return services.address_key(client_address(connection.scope, services.proxies))


def limited(name: str, maximum: int, window_s: int = 60, *, bypass: Callable[[Caller], bool] | None = None) -> Guard:
    """A guard: at most `maximum` requests per client and window on the routes that share `name`, whatever the id.

    `bypass` excuses callers. Headers of container-api.md §1.8 go on every answer.
    """

    async def guard(connection: Connection, handler: BaseRouteHandler) -> None:
        del handler
        if bypass is None or not bypass(caller_of(connection)):
            await spend(connection, name, maximum, window_s)

    return guard


async def spend(connection: Connection, name: str, maximum: int, window_s: int = 60) -> None:
    """Count one request against the limiter `name`; `TooManyRequests` when its budget is spent."""
    limiters: dict[str, FixedWindow] = connection.app.state.limiters
    limiter = limiters.get(name)
    if limiter is None:
        limiter = limiters[name] = FixedWindow(services_of(connection).clock, maximum, window_s)
    verdict = limiter.hit(limit_key(connection))
    connection.scope["state"]["rate"] = verdict
    if not verdict.allowed:
        raise TooManyRequests(headers=verdict.headers())


def confirmed(token: str) -> Guard:
    """A guard for destructive routes: `X-DD-Confirm-Action: <token>`, trimmed, any case, first header counts."""

    async def guard(connection: Connection, handler: BaseRouteHandler) -> None:
        del handler
        given: Any = connection.headers.getall("x-dd-confirm-action", [""])[0]
        if given.strip().lower() != token:
            raise ConfirmationRequired(f"Confirmation required: X-DD-Confirm-Action={token}")

    return guard
