"""Authentication: session cookie, then header credentials, then API keys; sign-in and sign-out (platform.md §4, §5).

Closed when nothing is configured, and when something is configured but unusable: a mistyped hash never opens the
instance. HTTP stays outside: routes hand in plain values and set the cookie.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import structlog
from litestar.enums import ScopeType

from drydock.auth.caller import ANONYMOUS, Caller, Connection
from drydock.auth.cookies import read_cookie
from drydock.auth.keys import PREFIX, ApiKeys
from drydock.auth.openid import OidcFailure
from drydock.auth.providers import Fault
from drydock.auth.report import SignInReport
from drydock.auth.roles import SCOPES
from drydock.auth.sessions import Session, SessionFailure, Sessions, SignIn
from drydock.auth.strategies.basic import BasicUser, Guess, Passwords
from drydock.auth.strategies.oidc import OidcStrategy, Redirect
from drydock.core.errors import DrydockError, NotFound, Unauthorized
from drydock.events import LoginAttempted

log = structlog.get_logger("auth")

ANONYMOUS_NAME: Final = "anonymous"
REFUSED_MOST: Final = 1000
"""Refused tokens that are remembered."""

CLOSED_HINT = (
    "No one can sign in yet. Set DD_AUTH_BASIC_ADMIN_USER and DD_AUTH_BASIC_ADMIN_HASH (`drydock hash-password` makes "
    "the hash) or DD_AUTH_OIDC_<NAME>_*, or confirm open access with DD_ANONYMOUS_AUTH_CONFIRM=true; then restart."
)
BROKEN_HINT = (
    "A sign-in provider is configured but cannot be used, so everything stays closed; GET /auth/status says why. "
    "Anonymous access is never a fallback for a broken provider."
)


class Provider(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A way to sign in, as `/auth/status` lists it."""

    type: str
    name: str
    redirect: bool | msgspec.UnsetType = msgspec.UNSET
    logout_url: str | None = None


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """A finished sign-in. `cookie` is the new cookie value, None in anonymous mode."""

    user: str
    cookie: str | None
    remember: bool = False


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """Where a sign-in comes from: the session cookie it carries, the client's address and program."""

    cookie: str | None = None
    address: str = ""
    agent: str | None = None


class Authentication:
    """Implements `auth.caller.Access`. `address_of` gives a connection's client address, proxies considered."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        passwords: Passwords,
        keys: ApiKeys,
        report: SignInReport,
        address_of: Callable[[Connection], str],
        oidc: Sequence[OidcStrategy] = (),
        anonymous: bool = False,
        faults: Sequence[Fault] = (),
        bucket: Callable[[str], str] = str,
    ) -> None:
        self.sessions = sessions
        self.passwords = passwords
        self.keys = keys
        self.oidc: Mapping[str, OidcStrategy] = {strategy.name: strategy for strategy in oidc}
        self.faults = tuple(faults)
        self._users = {(user.provider, user.user): user for user in passwords.users}
        self._registered = bool(self._users or self.oidc or keys.configured)
        self.anonymous = anonymous and not (self._users or self.oidc or self.faults)
        self._report = report
        self._address_of = address_of
        self._bucket = bucket
        self._refused: dict[bytes, None] = {}

    @property
    def ready(self) -> bool:
        """Whether anyone can be admitted; `/health` answers 503 otherwise."""
        return self.anonymous or self._registered

    def closed_hint(self) -> str | None:
        """What to do when no one can be admitted."""
        return None if self.ready else BROKEN_HINT if self.faults else CLOSED_HINT

    async def caller(self, connection: Connection) -> Caller | None:
        """Session cookie, else header credentials, else anonymous mode. None: wrong or missing credentials.

        Raises `Unauthorized` with advice while no one can sign in, `Locked` and `TooManyLogins` for passwords.
        """
        session = await self.session(read_cookie(connection.headers.get("cookie")))
        found = self._of_session(session)
        if found is None and _headers_count(connection):
            found = await self._of_header(connection.headers.get("authorization"), self._address_of(connection))
        if found is None and self.anonymous:
            return ANONYMOUS
        if found is None and not self.ready:
            raise Unauthorized(hint=self.closed_hint())
        return found

    async def session(self, cookie: str | None) -> Session | None:
        """The live session of a cookie value."""
        return await self.sessions.find(cookie)

    def _of_session(self, session: Session | None) -> Caller | None:
        """The signed-in user of a session, if the configuration still lets that user in, with today's role."""
        if session is None or session.user is None:
            return None
        kind, _, name = (session.provider or "").partition(":")
        user = self._users.get((name, session.user)) if kind == "basic" else None
        strategy = self.oidc.get(name) if kind == "oidc" else None
        if user is not None and user.fingerprint == session.fingerprint:
            return Caller(kind="session", name=session.user, session_id=session.key, scopes=SCOPES[user.role])
        if strategy is not None and strategy.config.fingerprint == session.fingerprint and session.role:
            return Caller(kind="session", name=session.user, session_id=session.key, scopes=SCOPES[session.role])
        return None

    async def _of_header(self, authorization: str | None, address: str) -> Caller | None:
        scheme, _, credentials = (authorization or "").partition(" ")
        if scheme.lower() == "basic":
            guess = read_basic(credentials, address)
            user = await self.passwords.check(guess) if guess and self._users else None
            return Caller(kind="basic", name=user.user, scopes=SCOPES[user.role]) if user else None
        if scheme.lower() == "bearer":
            return await self._of_bearer(credentials.strip(), address)
        return None

    async def _of_bearer(self, token: str, address: str) -> Caller | None:
        if token.startswith(PREFIX):
            return await self._of_key(token, address)
        if not any(strategy.remembers(token) for strategy in self.oidc.values()):
            self.passwords.lockout.check(None, self._bucket(address))  # a locked address asks no provider either
        for strategy in self.oidc.values():
            identity = await strategy.bearer(token)
            if identity is not None:
                return Caller(kind="bearer", name=identity.user, scopes=SCOPES[identity.role])
        if self.oidc:
            await self.refused(token, "oidc", "Unknown access token", address)
        return None

    async def _of_key(self, token: str, address: str) -> Caller | None:
        """A valid key passes even from a locked address; an unknown one counts against it."""
        found = await self.keys.admit(token, address)
        if found is None:
            await self.refused(token, "key", "Unknown API key", address)
            return None
        if found.first_use:
            await self._report.event("api-key-used-first-time", user=found.owner, address=address, details=found.name)
        return Caller(kind="key", name=found.owner, key=found.id, scopes=found.scopes, reach=found.reach)

    async def refused(self, token: str, provider: str, text: str, address: str) -> None:
        """Count a token that opens nothing against the address it came from; `Locked` from the limit on.

        The same token again is no further guess: a dashboard with an expired one must not lock its owner's address.
        """
        lockout, key = self.passwords.lockout, self._bucket(address)
        lockout.check(None, key)
        mark = hashlib.sha256(f"{key}\n{token}".encode("utf-8", "replace")).digest()
        if mark in self._refused:
            return
        while len(self._refused) >= REFUSED_MOST:
            del self._refused[next(iter(self._refused))]
        self._refused[mark] = None
        await self._report.attempted(
            LoginAttempted(outcome="invalid", provider=provider, details=text, address=address)
        )
        lockout.failed(None, key)

    def providers(self) -> list[Provider]:
        """Every way to sign in, by name; all users with a password are one entry."""
        found = [Provider(type="basic", name="Login")] if self._users else []
        found += [
            Provider(type="oidc", name=name, redirect=strategy.config.redirect, logout_url=strategy.logout_url())
            for name, strategy in self.oidc.items()
        ]
        found += [Provider(type=ANONYMOUS_NAME, name="Anonymous")] if self.anonymous else []
        return sorted(found, key=lambda provider: provider.name)

    async def login(self, authorization: str | None, body: Mapping[str, object], visit: Visit) -> SignedIn:
        """Sign in with a password from the header, else from the body; `Unauthorized`, `Locked` or `TooManyLogins`."""
        if self.anonymous:
            return SignedIn(user=ANONYMOUS_NAME, cookie=None)
        guess = _guess(authorization, body, visit.address)
        user = await self.passwords.login(guess) if guess and self._users else None
        if user is None:
            raise Unauthorized(hint=self.closed_hint())
        remember = body.get("remember")
        return await self._establish(_sign_in(user, visit), remember if isinstance(remember, bool) else None, visit)

    async def _establish(self, who: SignIn, wish: bool | None, visit: Visit) -> SignedIn:
        """A fresh session. Without a wish the one made before the login counts."""
        before = await self.session(visit.cookie)
        remember = wish if wish is not None else bool(before and before.remember)
        try:
            _, cookie = await self.sessions.establish(who, remember=remember, replaces=before)
        except SessionFailure:
            provider, details = who.provider.partition(":")[0], SessionFailure.default
            await self._report.attempted(
                LoginAttempted(outcome="error", provider=provider, details=details, user=who.user, address=who.address)
            )
            raise
        return SignedIn(user=who.user, cookie=cookie, remember=remember)

    async def logout(self, visit: Visit) -> str | None:
        """End the session; gives the address to go to, if a provider has one."""
        session = await self.session(visit.cookie)
        if session is not None:
            await self.sessions.close(session)
            if session.user:
                await self._report.event("auth-logout", user=session.user, address=visit.address)
        urls = (provider.logout_url for provider in self.providers())
        return next((url for url in urls if url), None)

    async def remember(self, wish: bool, visit: Visit) -> tuple[str | None, bool]:
        """Keep the remember-me wish: in the session, or in a new one before the login, whose cookie is given.

        The second value tells whether the caller is signed in.
        """
        session = await self.session(visit.cookie)
        if session is None:
            return (await self.sessions.begin(wish))[1], False
        await self.sessions.remember(session, wish)
        return visit.cookie, session.user is not None

    async def start_oidc(self, name: str, visit: Visit) -> tuple[Redirect, str | None]:
        """Begin a sign-in at a provider: where to go, and a new cookie when there was no session yet."""
        strategy, cookie = self._strategy(name), None
        session = await self.session(visit.cookie)
        if session is None:
            session, cookie = await self.sessions.begin(remember=False)
        try:
            redirect = await strategy.start(session)
        except OidcFailure as error:
            raise InitializationFailed() from error
        await self.sessions.save(session)
        return redirect, cookie

    async def finish_oidc(self, name: str, answer: Mapping[str, str | None], visit: Visit) -> SignedIn:
        """Handle the provider's callback (`code`, `state`, `iss`); `Unauthorized` or `OidcFailure`."""
        strategy = self._strategy(name)
        session = await self.session(visit.cookie)
        try:
            check = strategy.check_of(session, answer.get("state"))
            if session is not None:
                await self.sessions.save(session)
            identity = await strategy.finish(answer.get("code") or "", answer.get("iss"), check)
        except DrydockError as error:
            await self._report.attempted(
                LoginAttempted(outcome="invalid", provider="oidc", details=error.message, address=visit.address)
            )
            raise
        who = SignIn(
            user=identity.user,
            provider=f"oidc:{name}",
            role=identity.role,
            fingerprint=strategy.config.fingerprint,
            address=visit.address,
            agent=visit.agent,
        )
        await self._report.attempted(
            LoginAttempted(
                outcome="success",
                provider="oidc",
                details="Login succeeded",
                user=identity.user,
                address=visit.address,
            )
        )
        return await self._establish(who, None, visit)

    def _strategy(self, name: str) -> OidcStrategy:
        found = self.oidc.get(name.lower())
        if found is None:
            raise NotFound("Route not found")
        return found


class InitializationFailed(DrydockError):
    """A sign-in at a provider cannot begin."""

    code = "oidc-initialization-failed"
    default = "Unable to initialize OIDC session"


def read_basic(credentials: str, address: str) -> Guess | None:
    """Name and password of a Basic header, split at the first colon: passwords may contain colons."""
    try:
        text = base64.b64decode(credentials.strip(), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    user, colon, password = text.partition(":")
    return Guess(user, password, address) if colon else None


def _guess(authorization: str | None, body: Mapping[str, object], address: str) -> Guess | None:
    """What is verified is what is counted: the header wins over the body."""
    scheme, _, credentials = (authorization or "").partition(" ")
    if scheme.lower() == "basic":
        return read_basic(credentials, address)
    user, password = body.get("username"), body.get("password")
    return Guess(user, password, address) if isinstance(user, str) and isinstance(password, str) else None


def _sign_in(user: BasicUser, visit: Visit) -> SignIn:
    return SignIn(
        user=user.user,
        provider=f"basic:{user.provider}",
        role=user.role,
        fingerprint=user.fingerprint,
        address=visit.address,
        agent=visit.agent,
    )


def _headers_count(connection: Connection) -> bool:
    """On a WebSocket only the cookie counts, unless the handler says otherwise (container-api.md §1.2)."""
    if connection.scope["type"] != ScopeType.WEBSOCKET:
        return True
    handler = connection.scope.get("route_handler")
    return handler is not None and handler.opt.get("credentials") == "any"
