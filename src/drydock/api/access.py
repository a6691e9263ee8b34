"""The one guard in front of every route: closed by default.

Each handler declares what it needs with `opt=READ`, `WATCH`, `UPDATE`, `ADMIN` or `PUBLIC`; `application.build` refuses
a route that declares nothing. Route limits (`limited`) run after this guard; they are fixed windows in memory
(`FixedWindow`, container-api.md §1.8). See platform-api.md §1.2 and §1.7.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from litestar.enums import ScopeType
from litestar.handlers.base import BaseRouteHandler

from drydock.api.network import bucket, check_same_origin, check_websocket_origin, client_address, refuse_cross_site
from drydock.api.services import Services
from drydock.api.settings import PublicSettings, ServerSettings
from drydock.auth.caller import Caller, Connection
from drydock.clock import Clock
from drydock.core.audit import Requester
from drydock.core.errors import ConfirmationRequired, DrydockError, Forbidden, NotFound, TooManyRequests, Unauthorized
from drydock.request_context import asked_by

READ: Final = {"scope": "read"}
WATCH: Final = {"scope": "watch"}
UPDATE: Final = {"scope": "update"}
ADMIN: Final = {"scope": "admin"}
PUBLIC: Final = {"scope": "public"}

UPGRADES: Final = ("websocket-upgrades", 1000, 900)
"""WebSocket upgrades of one client: container logs and server log share this budget (platform-api.md §1.7)."""
BY_COOKIE: Final = frozenset({"session", "anonymous"})
"""Who may open a WebSocket; `opt={"credentials": "any"}` of its handler lets header credentials do as well."""

SWEEP_EVERY = 100
"""Requests; keys whose window is over are dropped this often."""
LARGEST_TABLE = 10_000

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
    caller = await caller_now(connection)
    if upgrade and caller is not None and caller.kind not in BY_COOKIE and handler.opt.get("credentials") != "any":
        caller = None
    if caller is not None:
        connection.scope["state"]["caller"] = caller  # for limits and handlers
    if upgrade:
        await spend(connection, *UPGRADES)
    if caller is None:
        raise Unauthorized(siblings=handler.opt.get("unauthorized"))
    asked_by(Requester(user=caller.name, ip=client_address(connection.scope, services.proxies), key=caller.key))
    if scope:
        admit_scope(caller, scope)
    narrow(connection, handler, caller)
    if connection.scope.get("method", "GET") not in _SAFE and caller.kind != "key":
        # Same origin for what carries cookies (platform.md §6.3). Anonymous mode needs no cookie, so any page that a
        # person visits could act: what a browser calls cross-site is refused there, unless CORS allows its origin.
        if caller.kind == "anonymous":
            allowed = services.settings[ServerSettings].allowed_origin
            if allowed not in ("*", connection.headers.get("origin", "")):
                refuse_cross_site(connection.scope)
        check_same_origin(connection.scope, services.proxies, services.settings[PublicSettings].public_url)


async def caller_now(connection: Connection) -> Caller | None:
    """The caller by its credentials; they are verified, and failures counted, once per request."""
    state = connection.scope["state"]
    if "identified" not in state:
        try:
            state["identified"] = await services_of(connection).auth.caller(connection)
        except DrydockError as error:
            state["identified"] = error
    found: Caller | DrydockError | None = state["identified"]
    if isinstance(found, DrydockError):
        raise found
    return found


def narrow(connection: Connection, handler: BaseRouteHandler, caller: Caller) -> None:
    """Keep a key that is limited to watchers or agents to their containers; fleet-wide routes are closed to it.

    A container of another watcher is not found. Handlers with `opt={"narrows": True}` see to it themselves.
    """
    if caller.reach is None or handler.opt.get("narrows"):
        return
    id = connection.path_params.get("container_id")
    if id is None:
        raise Forbidden("Permission denied", hint="This API key is limited to some watchers or agents.")
    container = services_of(connection).fleet.get(id)
    if container is None or not caller.reach.covers(container):
        raise NotFound("Container not found")


def admit_scope(caller: Caller, scope: str) -> None:
    """`Forbidden` unless the caller may do what needs `scope`."""
    if scope not in caller.scopes:
        raise Forbidden("Permission denied", details={"requiredScope": scope})


def caller_of(connection: Connection) -> Caller:
    """The admitted caller of a guarded route."""
    caller: Caller = connection.scope["state"]["caller"]
    return caller


class Verdict(NamedTuple):
    """Where a key stands after one request: admitted or not, and what the headers say."""

    allowed: bool
    maximum: int
    window_s: int
    remaining: int
    reset_s: int

    def headers(self) -> dict[str, str]:
        """`RateLimit-*` for every answer of a limited route, and `Retry-After` on a refusal."""
        found = {
            "RateLimit-Policy": f"{self.maximum};w={self.window_s}",
            "RateLimit-Limit": str(self.maximum),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_s),
        }
        return found if self.allowed else {**found, "Retry-After": str(self.reset_s)}


class FixedWindow:
    """At most `maximum` requests per key in a window of `window_s` seconds that opens at the key's first request.

    When `LARGEST_TABLE` keys are live, new keys are refused: a flood of addresses must not eat the memory.
    """

    def __init__(self, clock: Clock, maximum: int, window_s: int) -> None:
        self._clock = clock
        self.maximum = maximum
        self.window_s = window_s
        self._windows: dict[str, list[float]] = {}
        self._calls = 0

    def hit(self, key: str) -> Verdict:
        """Count one request of `key`."""
        now = self._clock.monotonic()
        self._calls += 1
        if self._calls % SWEEP_EVERY == 0:
            self._windows = {key: window for key, window in self._windows.items() if window[0] > now}
        window = self._windows.get(key)
        if window is None or window[0] <= now:
            if window is None and len(self._windows) >= LARGEST_TABLE:
                return Verdict(False, self.maximum, self.window_s, 0, self.window_s)
            window = self._windows[key] = [now + self.window_s, 0]
        window[1] += 1
        left = max(0, self.maximum - int(window[1]))
        return Verdict(window[1] <= self.maximum, self.maximum, self.window_s, left, math.ceil(window[0] - now))

    def give_back(self, key: str) -> None:
        """Take back one counted request."""
        window = self._windows.get(key)
        if window is not None and window[1] > 0:
            window[1] -= 1


def limit_key(connection: Connection, caller: Caller | None = None) -> str:
    """The key of a client in a limiter: its address, or its login with `DD_SERVER_RATELIMIT_IDENTITYKEYING`."""
    services = services_of(connection)
    caller = caller or connection.scope["state"].get("caller")
    if services.settings[ServerSettings].identity_keying and caller is not None and caller.signed_in:
        if caller.kind == "key":
            return f"key:{caller.key}"
        return f"session:{caller.session_id}" if caller.session_id else f"user:{caller.name}"
    return bucket(client_address(connection.scope, services.proxies))


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
