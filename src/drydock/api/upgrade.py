"""The checks before a WebSocket upgrade, in their order (container-api.md §9.3, platform-api.md §11.4).

Origin (403), budget (429), sign-in (401): refusals are plain HTTP answers. What the stream is about is judged after the
upgrade and told by close codes.
"""

from __future__ import annotations

from typing import Final

from litestar.handlers.base import BaseRouteHandler

from drydock.api.access import services_of, spend
from drydock.api.network import check_websocket_origin
from drydock.auth.caller import Connection
from drydock.core.errors import Forbidden, Unauthorized

UPGRADES: Final = "websocket-upgrades"
MAXIMUM, WINDOW_S = 1000, 900
BY_COOKIE: Final = frozenset({"session", "anonymous"})

SOCKET: Final = {"scope": "public"}
"""`opt=` of a WebSocket handler: `guards=[cookie_upgrade]` admits, in an order of its own."""


async def cookie_upgrade(connection: Connection, handler: BaseRouteHandler) -> None:
    """Admit an upgrade with a session cookie, or in confirmed anonymous mode. Header credentials do not count."""
    del handler
    services = services_of(connection)
    check_websocket_origin(connection.scope, services.proxies)
    caller = await services.access.caller(connection)
    if caller is not None and caller.kind in BY_COOKIE:
        connection.scope["state"]["caller"] = caller
    await spend(connection, UPGRADES, MAXIMUM, WINDOW_S)
    if caller is None or caller.kind not in BY_COOKIE:
        raise Unauthorized()
    if "read" not in caller.scopes:
        raise Forbidden("Permission denied", details={"requiredScope": "read"})
