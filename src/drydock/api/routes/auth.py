"""Signing in and out: `/auth/*` and the public status (platform-api.md §3).

What is decided, is decided in `auth.room`; here are cookies, status codes and redirects.
"""

from __future__ import annotations

import msgspec
import structlog
from litestar import Response, Router, get, post
from litestar.handlers.base import BaseRouteHandler
from litestar.params import FromPath

from drydock.api.access import PUBLIC, READ, limited
from drydock.api.network import check_same_origin, header, origin_of, own_origin
from drydock.api.openapi import FLAG, TEXT, document, fields, parameter, problems, reads
from drydock.api.request import ApiRequest
from drydock.api.settings import PublicSettings, ServerSettings
from drydock.auth.caller import Connection
from drydock.auth.openid import OidcFailure
from drydock.auth.providers import Fault
from drydock.auth.room import ANONYMOUS_NAME, Provider, Visit
from drydock.auth.sessions import REMEMBERED_MS, read_cookie, set_cookie
from drydock.auth.strategies.oidc import Redirect
from drydock.core.errors import Forbidden, Unauthorized

log = structlog.get_logger("auth")

PRIVATE = {"Cache-Control": "private, no-cache, no-store, must-revalidate", "Pragma": "no-cache", "Expires": "0"}
RETIRED = {"Deprecation": "@1783123200", "Sunset": "Sat, 01 Jul 2028 00:00:00 GMT"}
OIDC_MAX = 50
OIDC_WINDOW_S = 900

STATUS_PATHS = ["/api/v1/auth/status", "/auth/status", "/api/auth/status"]


class Status(msgspec.Struct):
    """Ways to sign in, and providers that could not be registered."""

    providers: list[Provider]
    errors: list[Fault]


class Strategies(msgspec.Struct):
    """The same under its old name."""

    strategies: list[Provider]
    warnings: list[str]


class User(msgspec.Struct):
    """Who is signed in."""

    username: str


class LoggedOut(msgspec.Struct, rename="camel"):
    """Where to go after signing out; null when there is no such place."""

    logout_url: str | None


class Ok(msgspec.Struct):
    """Done."""

    ok: bool = True


async def same_site(connection: Connection, handler: BaseRouteHandler) -> None:
    """A guard: sign-in routes are not for pages of other sites."""
    del handler
    services = connection.app.state.services
    if header(connection.scope, b"sec-fetch-site") == "cross-site":
        raise Forbidden("CSRF validation failed")
    check_same_origin(connection.scope, services.proxies, services.settings[PublicSettings].public_url)


@get(STATUS_PATHS, opt=PUBLIC, security=[{}], responses=problems(_200=document(Status, "Ways to sign in")))
async def status(request: ApiRequest) -> Status:
    """Ways to sign in, and what is wrong with those that do not work."""
    auth = request.services.auth
    return Status(auth.providers(), list(auth.faults))


@get("/auth/strategies", opt=PUBLIC, security=[{}], deprecated=True, responses=problems())
async def strategies(request: ApiRequest) -> Response[Strategies]:
    """Ways to sign in; use `/auth/status`."""
    log.warning("auth.deprecated_route", path="/auth/strategies", instead="/auth/status")
    auth = request.services.auth
    warnings = [f"{fault.provider}: {fault.error}" for fault in auth.faults]
    return Response(Strategies(auth.providers(), warnings), headers=RETIRED)


@post(
    "/auth/login",
    opt=PUBLIC,
    security=[{}],
    status_code=200,
    guards=[same_site],
    operation_class=reads(body=fields(username=TEXT, password=TEXT, remember=FLAG)),
    responses=problems(400, 413, 415, 423, _200=document(User, "Signed in")),
)
async def login(request: ApiRequest) -> Response[User]:
    """Sign in with name and password, as a Basic header or as JSON `username` and `password`."""
    authorization = header(request.scope, b"authorization")
    done = await request.services.auth.login(authorization, await request.document(), visit(request))
    return Response(User(done.user), headers={**PRIVATE, **_cookie(request, done.cookie, done.remember)})


@get("/auth/user", opt=READ, responses=problems(_200=document(User, "Who is signed in")))
async def user(request: ApiRequest) -> Response[User]:
    """Who is signed in."""
    return Response(User(request.caller.name or ANONYMOUS_NAME), headers=PRIVATE)


@post("/auth/logout", opt=READ, status_code=200, responses=problems(_200=document(LoggedOut, "Signed out")))
async def logout(request: ApiRequest) -> Response[LoggedOut]:
    """Sign out: the session ends, its cookie is taken back."""
    url = await request.services.auth.logout(visit(request))
    return Response(LoggedOut(url), headers=_cookie(request, ""))


@post(
    "/auth/remember",
    opt=PUBLIC,
    security=[{}],
    status_code=200,
    guards=[same_site],
    operation_class=reads(body=fields(remember=FLAG)),
    responses=problems(400, 413, 415, _200=document(Ok, "Kept")),
)
async def remember(request: ApiRequest) -> Response[Ok]:
    """Keep or forget the sign-in after the browser is closed; before signing in, for the coming one."""
    wish = (await request.document()).get("remember") is True
    cookie, signed_in = await request.services.auth.remember(wish, visit(request))
    return Response(Ok(), headers=_cookie(request, cookie, wish and signed_in))


@get(
    "/auth/oidc/{name:str}/redirect",
    opt=PUBLIC,
    security=[{}],
    guards=[limited("oidc", OIDC_MAX, OIDC_WINDOW_S)],
    responses=problems(404, _200=document(Redirect, "Where the browser goes")),
)
async def oidc_redirect(request: ApiRequest, name: FromPath[str]) -> Response[Redirect]:
    """Begin a sign-in at an identity provider."""
    redirect, cookie = await request.services.auth.start_oidc(name, visit(request))
    return Response(redirect, headers=_cookie(request, cookie))


_ANSWER = tuple(parameter(name, f"`{name}` of the provider's answer") for name in ("code", "state", "iss"))


@get(
    "/auth/oidc/{name:str}/cb",
    opt=PUBLIC,
    security=[{}],
    status_code=302,
    guards=[limited("oidc", OIDC_MAX, OIDC_WINDOW_S)],
    operation_class=reads(*_ANSWER),
    responses=problems(404),
)
async def oidc_callback(request: ApiRequest, name: FromPath[str]) -> Response[None]:
    """The identity provider sends the browser back here."""
    home = _home(request)
    try:
        answer = {field: request.params.text(field) for field in ("code", "state", "iss")}
        done = await request.services.auth.finish_oidc(name, answer, visit(request))
    except (Unauthorized, OidcFailure) as error:
        if "text/html" not in (header(request.scope, b"accept") or ""):
            raise
        text = error.message
        code = "session" if "session" in text.lower() else "state" if "state" in text else "failed"
        return Response(None, status_code=302, headers={"Location": f"{home}login?error={code}"})
    headers = {"Location": home, **_cookie(request, done.cookie, done.remember)}
    return Response(None, status_code=302, headers=headers)


def visit(request: ApiRequest) -> Visit:
    """Where a sign-in comes from."""
    cookie = read_cookie(header(request.scope, b"cookie"))
    agent = header(request.scope, b"user-agent")
    return Visit(cookie=cookie, address=request.address, agent=agent[:200] if agent else None)


def _cookie(request: ApiRequest, value: str | None, remember: bool = False) -> dict[str, str]:
    """The `Set-Cookie` header for a session; "" takes the cookie back, None (anonymous mode) sets none."""
    if value is None:
        return {}
    services = request.services
    server, origin = services.settings[ServerSettings], own_origin(request.scope, services.proxies)
    secure = server.tls or (origin is not None and origin[0] == "https")  # to this server or to a trusted proxy
    max_age_s = 0 if not value else REMEMBERED_MS // 1000 if remember else None
    return {"Set-Cookie": set_cookie(value, same_site=server.cookie_samesite, secure=secure, max_age_s=max_age_s)}


def _home(request: ApiRequest) -> str:
    public = origin_of(request.services.settings[PublicSettings].public_url or "")
    if public is None:
        return "/"
    scheme, host, port = public
    standard = port == {"http": 80, "https": 443}[scheme]
    return f"{scheme}://{host}/" if standard else f"{scheme}://{host}:{port}/"


router = Router(
    "/",
    route_handlers=[status, strategies, login, user, logout, remember, oidc_redirect, oidc_callback],
    tags=["Authentication"],
)
