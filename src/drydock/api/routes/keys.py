"""API keys and the caller's own sessions (platform.md §13, platform-api.md §19)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Router, delete, get, post
from litestar.openapi.spec import Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import FromPath, JSONBody

from drydock.api.access import ADMIN, READ
from drydock.api.openapi import document, fields, problems, reads
from drydock.api.request import ApiRequest
from drydock.auth.caller import LOCAL, Scope
from drydock.auth.keys import LONGEST_GRACE_MINUTES, LONGEST_LIFE_DAYS, ApiKey
from drydock.auth.sessions import Session
from drydock.core.audit import AUTHENTICATION
from drydock.core.errors import BadRequest, Forbidden, NotFound
from drydock.core.scrub import printable
from drydock.core.times import to_iso

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._ -]+$")]
Days = Annotated[int, msgspec.Meta(ge=1, le=LONGEST_LIFE_DAYS)]
Minutes = Annotated[int, msgspec.Meta(ge=0, le=LONGEST_GRACE_MINUTES)]


Places = Annotated[list[Annotated[str, msgspec.Meta(min_length=1, max_length=64)]], msgspec.Meta(max_length=50)]


class NewKey(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What a new key shall be."""

    name: Name
    scopes: Annotated[list[Scope], msgspec.Meta(min_length=1, max_length=4)]
    expires_in_days: Days | None = None
    watchers: Places = []
    agents: Places = []


class Rotation(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """How long the old secret still works."""

    grace_minutes: Minutes = 0


class Key(msgspec.Struct, kw_only=True, rename="camel"):
    """A key without its secret."""

    id: str
    name: str
    owner: str
    scopes: list[Scope]
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    last_used_ip: str | None
    watchers: list[str] | msgspec.UnsetType = msgspec.UNSET
    agents: list[str] | msgspec.UnsetType = msgspec.UNSET
    """Only for a key that is limited to them."""


class ShownKey(Key, kw_only=True, rename="camel"):
    """A key with its token, shown this once."""

    token: str


class Keys(msgspec.Struct):
    """All keys."""

    data: list[Key]
    total: int


class OpenSession(msgspec.Struct, kw_only=True, rename="camel"):
    """One signed-in browser."""

    id: str
    current: bool
    created_at: str
    last_seen_at: str
    expires_at: str
    ip: str | None
    user_agent: str | None


class OpenSessions(msgspec.Struct):
    """The caller's own sessions."""

    data: list[OpenSession]
    total: int


@get("/tokens", opt=ADMIN, responses=problems(_200=document(Keys, "The keys")))
async def tokens(request: ApiRequest) -> Keys:
    """All API keys, newest first."""
    _people_only(request)
    found = [_key(key) for key in request.services.auth.keys.listed()]
    return Keys(found, len(found))


@post("/tokens", opt=ADMIN, responses=problems(400, 413, 415, _201=document(ShownKey, "Made; the token is shown once")))
async def create(request: ApiRequest, data: JSONBody[NewKey]) -> ShownKey:
    """Make an API key."""
    _people_only(request)
    owner = request.caller.name or "anonymous"
    watchers = _known(data.watchers, {item.name for item in request.services.watching.components()}, "watcher")
    agents = _known(data.agents, {LOCAL}, "agent")
    if (watchers or agents) and "admin" in data.scopes:
        raise BadRequest("A key with the scope admin cannot be limited to watchers or agents")
    key, token = await request.services.auth.keys.create(
        data.name, data.scopes, owner, data.expires_in_days, watchers=watchers, agents=agents
    )
    await request.note("api-key-created", "success", container_name=AUTHENTICATION, details=_named(key))
    return _shown(key, token)


@post(
    "/tokens/{id:str}/rotate",
    opt=ADMIN,
    status_code=200,
    operation_class=reads(body=fields(graceMinutes=Schema(type=OpenAPIType.INTEGER, minimum=0, maximum=1440))),
    responses=problems(400, 404, 413, 415, _200=document(ShownKey, "Rotated; the token is shown once")),
)
async def rotate(request: ApiRequest, id: FromPath[str]) -> ShownKey:
    """Give a key a new secret; the old one may work a while longer."""
    _people_only(request)
    try:
        wish = msgspec.convert(await request.document(), Rotation)
    except msgspec.ValidationError as error:
        raise BadRequest() from error
    key, token = await request.services.auth.keys.rotate(id, wish.grace_minutes)
    await request.note("api-key-rotated", "success", container_name=AUTHENTICATION, details=_named(key))
    return _shown(key, token)


@delete("/tokens/{id:str}", opt=ADMIN, status_code=204, responses=problems(404))
async def revoke(request: ApiRequest, id: FromPath[str]) -> None:
    """End a key for good."""
    _people_only(request)
    key = await request.services.auth.keys.revoke(id)
    await request.note("api-key-revoked", "success", container_name=AUTHENTICATION, details=_named(key))


@get("/sessions", opt=READ, responses=problems(_200=document(OpenSessions, "Your own sessions")))
async def sessions(request: ApiRequest) -> OpenSessions:
    """Your own signed-in browsers, newest first."""
    caller = request.caller
    found = await request.services.auth.sessions.of_user(caller.name) if caller.name and caller.signed_in else []
    return OpenSessions([_session(item, caller.session_id) for item in found], len(found))


@delete("/sessions/{id:str}", opt=READ, status_code=204, responses=problems(404))
async def end_session(request: ApiRequest, id: FromPath[str]) -> None:
    """Sign one of your own browsers out."""
    caller, store = request.caller, request.services.auth.sessions
    _people_only(request)
    found = await store.of_user(caller.name) if caller.name and caller.signed_in else []
    session = next((item for item in found if _public_id(item) == id), None)
    if session is None:
        raise NotFound("Session not found")
    await store.close(session)


def _known(names: list[str], known: set[str], what: str) -> list[str]:
    """The names in lower case, each once. `BadRequest` for one that nothing has: it would never be found out."""
    found = list(dict.fromkeys(name.strip().lower() for name in names))
    strange = [name for name in found if name not in {one.lower() for one in known}]
    if strange:
        raise BadRequest(f"Unknown {what}: {printable(strange[0])}", details={"known": sorted(known)})
    return found


def _people_only(request: ApiRequest) -> None:
    """A key must not create keys or end sessions: a stolen one could make its access permanent."""
    if request.caller.kind == "key":
        raise Forbidden("Permission denied", hint="Sign in as a person; API keys cannot manage keys or sessions.")


def _named(key: ApiKey) -> str:
    limits = "".join(
        f"; {what}={','.join(names)}" for what, names in (("watchers", key.watchers), ("agents", key.agents)) if names
    )
    return f"{key.name} ({key.id}); scopes={','.join(key.scopes)}{limits}"


def _key(key: ApiKey) -> Key:
    return Key(
        id=key.id,
        name=key.name,
        owner=key.owner,
        scopes=key.scopes,
        created_at=to_iso(key.created_at),
        expires_at=_iso(key.expires_at),
        last_used_at=_iso(key.last_used_at),
        last_used_ip=key.last_used_ip,
        watchers=key.watchers or msgspec.UNSET,
        agents=key.agents or msgspec.UNSET,
    )


def _shown(key: ApiKey, token: str) -> ShownKey:
    return ShownKey(**msgspec.structs.asdict(_key(key)), token=token)


def _iso(ms: int | None) -> str | None:
    return None if ms is None else to_iso(ms)


def _public_id(session: Session) -> str:
    """A part of the key, which is itself a hash: enough to name it, useless to forge it."""
    return session.key[:16]


def _session(session: Session, current: str | None) -> OpenSession:
    return OpenSession(
        id=_public_id(session),
        current=session.key == current,
        created_at=to_iso(session.created_at),
        last_seen_at=to_iso(session.seen_at),
        expires_at=to_iso(session.expires_at),
        ip=session.address,
        user_agent=session.agent,
    )


router = Router(
    "/api/v1/auth", route_handlers=[tokens, create, rotate, revoke, sessions, end_session], tags=["Authentication"]
)
