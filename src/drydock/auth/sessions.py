"""Signed-in browsers: creation, rotation, limits per user, expiry, and the signed cookie (platform.md §5).

A session id is 32 random bytes and exists in the cookie only; the store keeps its SHA-256. What is found in the store
is kept in memory for `CACHE_S` seconds, so an authenticated request costs no query.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Any, Literal, Protocol

import msgspec
import structlog

from drydock.auth.roles import Role
from drydock.clock import Clock
from drydock.core.errors import DrydockError
from drydock.core.secret import Secret
from drydock.core.times import DAY_MS, HOUR_MS
from drydock.store.documents import Documents

log = structlog.get_logger("auth")

COOKIE = "drydock.sid"
STORED_SECRET = ("secrets", "session")
REMEMBERED_MS = 30 * DAY_MS
UNREMEMBERED_MS = 7 * DAY_MS
BEFORE_LOGIN_MS = 600_000
RENEW_AFTER_MS = HOUR_MS
CACHE_S = 30.0
LOGIN_WAIT_S = 10.0
PENDING_MS = 300_000
PENDING_MOST = 5


SameSite = Literal["strict", "lax", "none"]


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """One OpenID Connect sign-in on its way: what its callback must present."""

    state: str
    verifier: str
    nonce: str
    created_at: int


class Session(msgspec.Struct, kw_only=True):
    """One browser. Without `user` it is a sign-in in progress. Times in epoch milliseconds."""

    key: str
    created_at: int
    expires_at: int
    seen_at: int
    user: str | None = None
    provider: str | None = None
    role: Role | None = None
    fingerprint: str | None = None
    remember: bool = False
    address: str | None = None
    agent: str | None = None
    pending: dict[str, list[Pending]] = {}


class SessionRecords(Protocol):
    """Where sessions survive (`store.sessions`)."""

    async def get(self, key: str) -> Session | None: ...
    async def insert(self, session: Session) -> None: ...
    async def update(self, session: Session) -> None:
        """Write a session that is still there; one that was deleted meanwhile stays deleted."""
        ...

    async def delete(self, keys: Sequence[str]) -> None: ...
    async def of_user(self, user: str) -> list[Session]: ...
    async def delete_expired(self, now_ms: int) -> int: ...


class SessionFailure(DrydockError):
    """The session could not be stored or removed."""

    code = "session-failure"
    default = "Unable to establish session"


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who signed in, and how: `provider` is `basic:<name>` or `oidc:<name>`.

    `fingerprint` changes with what the configuration says of the user, so that older sessions end.
    """

    user: str
    provider: str
    role: Role
    fingerprint: str = ""


class Signer:
    """Signs session ids. The first secret signs; all of them verify, so that a secret can be replaced gently."""

    def __init__(self, secrets: Sequence[Secret]) -> None:
        self._keys = [secret.reveal().encode() for secret in secrets]

    def sign(self, id: str) -> str:
        """The cookie value of a session id."""
        return f"{id}.{_signature(self._keys[0], id)}"

    def unsign(self, value: str) -> str | None:
        """The session id of a cookie value; None when this server did not sign it."""
        id, dot, given = value.rpartition(".")
        if not dot or not id or not given.isascii():
            return None
        matches = [hmac.compare_digest(_signature(key, id), given) for key in self._keys]
        return id if any(matches) else None


def _signature(key: bytes, id: str) -> str:
    digest = hmac.new(key, id.encode("utf-8", "replace"), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


class Sessions:
    """All sessions of this server."""

    def __init__(self, clock: Clock, records: SessionRecords, signer: Signer, most_per_user: int = 5) -> None:
        self._clock = clock
        self._records = records
        self._signer = signer
        self._most = most_per_user
        self._cache: dict[str, tuple[Session, float]] = {}
        self._closed: dict[str, float] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def find(self, cookie: str | None) -> Session | None:
        """The session of a cookie value; None when it is forged, unknown or expired. Its use keeps it alive."""
        id = self._signer.unsign(cookie) if cookie else None
        if id is None:
            return None
        key, now = key_of(id), self._clock.now_ms()
        session, read_at = self._cache.get(key, (None, 0.0))
        if session is None or self._clock.monotonic() - read_at >= CACHE_S:
            session = await self._records.get(key)
            if session is None or key in self._closed:  # it may have been closed while it was read
                self._cache.pop(key, None)
                return None
            self._cache[key] = (session, self._clock.monotonic())
        if session.expires_at <= now:
            return None
        if session.user is not None and now - session.seen_at >= RENEW_AFTER_MS:
            session.seen_at, session.expires_at = now, now + lifetime(session.remember)
            await self.save(session)
        return session

    async def begin(self, remember: bool) -> tuple[Session, str]:
        """A session before login, which carries the remember-me wish and pending OpenID Connect checks."""
        return await self._open(BEFORE_LOGIN_MS, remember=remember)

    async def establish(
        self, who: Identity, *, remember: bool, replaces: Session | None, address: str = "", agent: str | None = None
    ) -> tuple[Session, str]:
        """Sign a user in under a fresh id: the old session ends, the user's oldest sessions make room.

        Gives the session and its cookie value. `SessionFailure` when another sign-in of this user blocks for 10 s.
        """
        lock = self._locks.setdefault(who.user, asyncio.Lock())  # users are few: only real logins come here
        try:
            await asyncio.wait_for(lock.acquire(), LOGIN_WAIT_S)
        except TimeoutError as error:
            raise SessionFailure() from error
        try:
            if replaces is not None:
                await self.close(replaces)
            held = sorted(await self._records.of_user(who.user), key=lambda session: session.expires_at)
            await self.close(*held[: max(0, len(held) - self._most + 1)])
            return await self._open(
                lifetime(remember),
                remember=remember,
                user=who.user,
                provider=who.provider,
                role=who.role,
                fingerprint=who.fingerprint,
                address=address,
                agent=agent,
            )
        finally:
            lock.release()

    async def _open(self, lifetime_ms: int, **fields: Any) -> tuple[Session, str]:
        now, id = self._clock.now_ms(), secrets.token_urlsafe(32)
        session = Session(key=key_of(id), created_at=now, seen_at=now, expires_at=now + lifetime_ms, **fields)
        await self._records.insert(session)
        self._cache[session.key] = (session, self._clock.monotonic())
        return session, self._signer.sign(id)

    async def save(self, session: Session) -> None:
        """Store changes of a session."""
        await self._records.update(session)

    async def close(self, *sessions: Session) -> None:
        """End sessions."""
        keys = [session.key for session in sessions]
        for key in keys:
            self._cache.pop(key, None)
            self._closed[key] = self._clock.monotonic()
        if keys:
            await self._records.delete(keys)

    async def of_user(self, user: str) -> list[Session]:
        """Live sessions of a user, newest first."""
        now = self._clock.now_ms()
        found = [session for session in await self._records.of_user(user) if session.expires_at > now]
        return sorted(found, key=lambda session: -session.created_at)

    async def remember(self, session: Session, wish: bool) -> None:
        """Change the remember-me wish of a session."""
        session.remember = wish
        if session.user is not None:
            session.expires_at = self._clock.now_ms() + lifetime(wish)
        await self.save(session)

    async def prune(self) -> int:
        """Remove expired sessions; how many there were."""
        now = self._clock.now_ms()
        horizon = self._clock.monotonic() - CACHE_S
        self._cache = {key: item for key, item in self._cache.items() if item[1] > horizon}
        self._closed = {key: at for key, at in self._closed.items() if at > horizon}
        return await self._records.delete_expired(now)


async def session_secrets(configured: Secret | None, documents: Documents) -> list[Secret]:
    """The configured secrets, separated by commas; else the one kept in the store, made at the first start."""
    given = [part.strip() for part in configured.reveal().split(",")] if configured is not None else []
    if found := [Secret(part) for part in given if part]:
        return found
    kept = await documents.get(*STORED_SECRET, str)
    if kept is None:
        kept = secrets.token_hex(64)
        await documents.put(*STORED_SECRET, kept)
    else:
        log.warning("auth.stored_session_secret", advice="set DD_SESSION_SECRET to keep it out of the store")
    return [Secret(kept)]


def lifetime(remember: bool) -> int:
    """How long an unused session lives, in milliseconds."""
    return REMEMBERED_MS if remember else UNREMEMBERED_MS


def key_of(id: str) -> str:
    """Under which key the store knows a session id."""
    return hashlib.sha256(id.encode("utf-8", "replace")).hexdigest()


def add_pending(session: Session, provider: str, check: Pending, now_ms: int) -> None:
    """Keep one more check of `provider`: the latest five, each for five minutes."""
    kept = [item for item in session.pending.get(provider, []) if now_ms - item.created_at < PENDING_MS]
    session.pending = {**session.pending, provider: [*kept, check][-PENDING_MOST:]}


def take_pending(session: Session, provider: str, state: str, now_ms: int) -> Pending | None:
    """Take the check with this state out of the session: it can be used once. None: unknown, used or expired."""
    checks = session.pending.get(provider, [])
    found = next((item for item in checks if secrets.compare_digest(item.state, state)), None)
    session.pending = {**session.pending, provider: [item for item in checks if item is not found]}
    return found if found and now_ms - found.created_at < PENDING_MS else None


def read_cookie(header: str | None) -> str | None:
    """The value of the session cookie in a `Cookie` header."""
    if not header or COOKIE not in header:
        return None
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE and value:
            try:
                jar = SimpleCookie(f"{COOKIE}={value}")  # takes the quotes off
            except CookieError:
                return None
            return jar[COOKIE].value if COOKIE in jar else None
    return None


def set_cookie(value: str, *, same_site: SameSite, secure: bool, max_age_s: int | None) -> str:
    """The `Set-Cookie` header. Without `max_age_s` the cookie ends with the browser's session."""
    parts = [f"{COOKIE}={value}", "Path=/", "HttpOnly", f"SameSite={same_site.capitalize()}"]
    if max_age_s is not None:
        parts.append(f"Max-Age={max_age_s}")
    if secure or same_site == "none":
        parts.append("Secure")
    return "; ".join(parts)
