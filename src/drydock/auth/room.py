"""Authentication: session cookie, then header credentials, then API keys; and sign-in and sign-out (platform.md §4, §5).

Closed when nothing is configured, and when something is configured but unusable: a mistyped hash never opens the
instance. HTTP stays outside: routes hand in plain values and set the cookie.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import msgspec
import structlog
from litestar.enums import ScopeType

from drydock.auth.caller import ANONYMOUS, Caller, Connection
from drydock.auth.keys import PREFIX, ApiKey, ApiKeys
from drydock.auth.lockout import Lockout, LockoutFile
from drydock.auth.openid import OidcFailure
from drydock.auth.providers import read_providers
from drydock.auth.recent import Recent
from drydock.auth.roles import SCOPES
from drydock.auth.sessions import Identity, Session, SessionFailure, Sessions, Signer, read_cookie, session_secrets
from drydock.auth.settings import AnonymousSettings, AuthSettings, SessionSettings
from drydock.auth.strategies.basic import Guess, Passwords
from drydock.auth.strategies.oidc import OidcStrategy, Redirect
from drydock.config.load import Settings
from drydock.core.audit import AUTHENTICATION
from drydock.core.errors import DrydockError, NotFound, Unauthorized
from drydock.core.scrub import printable
from drydock.events import LoginAttempted
from drydock.http.client import HttpClient
from drydock.kernel import Kernel, Room
from drydock.store.keys import KeyRecords
from drydock.store.sessions import SessionRecords
from drydock.store.settings import StoreSettings

log = structlog.get_logger("auth")

ANONYMOUS_NAME: Final = "anonymous"
REFUSED_MOST: Final = 1000
"""Refused tokens that are remembered."""
SESSION_PRUNE_S: Final = 3600.0

CLOSED_HINT = (
    "No sign-in is configured. Set DD_AUTH_BASIC_ADMIN_USER and DD_AUTH_BASIC_ADMIN_HASH (`drydock hash-password` makes "
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


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What sign-in takes from the HTTP side."""

    http: HttpClient
    public_url: str | None
    max_sessions: int
    address_of: Callable[[Mapping[str, Any]], str]
    """The client address of a connection's scope, trusted proxies considered."""
    bucket: Callable[[str], str]
    """The key under which an address is counted."""


class Authentication(Room):
    """Who calls, and signing in and out; the API asks nothing else."""

    def __init__(self, kernel: Kernel, settings: Settings, needs: Needs, signer: Signer) -> None:
        clock, store, limits = kernel.clock, kernel.store, settings[AuthSettings]
        self._supervisor = kernel.supervisor
        self._clock = clock
        self._needs = needs
        self._audit, self._bus = kernel.audit, kernel.bus
        providers = read_providers(settings, needs.public_url, needs.http, clock)
        self.faults = providers.errors

        # `<store file>.auth-lockouts.json`; beside where the file would be when the store is a server
        location, place = store.database.location, settings[StoreSettings]
        file = location.file if location is not None else Path(place.path) / place.file
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.lockout = Lockout(clock, limits, LockoutFile(file.with_name(file.name + ".auth-lockouts.json")))
        self._prune_interval_s = limits.prune_interval_s

        self.sessions = Sessions(clock, SessionRecords(store.database, Session), signer, needs.max_sessions)
        self.keys = ApiKeys(clock, KeyRecords(store.database, ApiKey), providers.keys)
        self.passwords = Passwords(
            providers.basic,
            self.lockout,
            clock,
            self._attempted,
            at_once=limits.concurrent_attempts,
            bucket=needs.bucket,
        )
        self.oidc: Mapping[str, OidcStrategy] = {strategy.name: strategy for strategy in providers.oidc}
        self._users = {(user.provider, user.user): user for user in providers.basic}
        people = bool(self._users or self.oidc)
        self.anonymous = settings[AnonymousSettings].confirmed and not (people or self.faults)
        self.ready = self.anonymous or people or bool(providers.keys)
        """Whether anyone could be admitted; `/health` answers 503 otherwise."""
        self._refused: Recent[bool] = Recent(clock, REFUSED_MOST)

    @classmethod
    async def build(cls, kernel: Kernel, settings: Settings, needs: Needs) -> Self:
        """Sign-in as configured. Faulty providers are named in the log and leave the instance closed."""
        documents = kernel.store.documents
        signer = Signer(await session_secrets(settings[SessionSettings].secret, documents))
        made = cls(kernel, settings, needs, signer)
        await made.keys.load()
        for fault in made.faults:
            log.error("auth.provider_not_registered", provider=fault.provider, reason=fault.error)
        if not made.ready:
            log.error("auth.closed", advice=made.closed_hint())
        if made.anonymous:
            log.warning("auth.anonymous", advice="everyone who reaches this server may do everything")
        elif settings[AnonymousSettings].confirmed:
            log.warning("auth.anonymous_ignored", reason="a sign-in provider is configured")
        return made

    async def start(self) -> None:
        """Write lockouts, clear away what expired, and read the discovery documents of providers."""
        self._supervisor.start("auth:lockouts", self.lockout.keep)
        self._supervisor.start("auth:lockout-prune", self._prune_lockouts)
        self._supervisor.start("auth:sessions", self._prune_sessions)
        for strategy in self.oidc.values():
            self._supervisor.spawn(f"auth:oidc:{strategy.name}", strategy.warm_up())

    async def stop(self) -> None:
        """Write what was not written yet."""
        await self.lockout.flush()

    async def _prune_lockouts(self) -> None:
        while True:
            await self._clock.sleep(self._prune_interval_s)
            self.lockout.prune()

    async def _prune_sessions(self) -> None:
        while True:
            await self.sessions.prune()
            await self._clock.sleep(SESSION_PRUNE_S)

    def closed_hint(self) -> str | None:
        """What to do when no one can be admitted."""
        return None if self.ready else BROKEN_HINT if self.faults else CLOSED_HINT

    # ── who calls ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def caller(self, connection: Connection) -> Caller | None:
        """Session cookie, else header credentials, else anonymous mode. None: wrong or missing credentials.

        Raises `Unauthorized` with advice while no one can sign in, `Locked` and `TooManyLogins` for passwords.
        """
        headers = connection.headers
        found = self._of_session(await self.sessions.find(read_cookie(headers.get("cookie"))))
        # on a WebSocket only the cookie counts, unless the handler says otherwise (container-api.md §1.2)
        handler = connection.scope.get("route_handler")
        upgrade = connection.scope["type"] == ScopeType.WEBSOCKET
        if found is None and (not upgrade or (handler is not None and handler.opt.get("credentials") == "any")):
            found = await self._of_header(headers.get("authorization"), self._needs.address_of(connection.scope))
        if found is None and self.anonymous:
            return ANONYMOUS
        if found is None and not self.ready:
            raise Unauthorized(hint=self.closed_hint())
        return found

    def _of_session(self, session: Session | None) -> Caller | None:
        """The signed-in user of a session, if the configuration still lets that user in, with today's role."""
        if session is None or session.user is None or session.provider is None:
            return None
        user = self._users.get((session.provider, session.user))
        strategy = self.oidc.get(session.provider.removeprefix("oidc:"))
        if user is not None:
            role, fingerprint = user.role, user.fingerprint
        elif strategy is not None and session.provider.startswith("oidc:") and session.role:
            role, fingerprint = session.role, strategy.fingerprint
        else:
            return None
        if fingerprint != session.fingerprint:
            return None
        return Caller(kind="session", name=session.user, session_id=session.key, scopes=SCOPES[role])

    async def _of_header(self, authorization: str | None, address: str) -> Caller | None:
        """Basic: a user's password. Bearer: an API key, else an access token of a provider."""
        scheme, _, credentials = (authorization or "").partition(" ")
        if scheme.lower() == "basic":
            guess = read_basic(credentials, address)
            user = await self.passwords.check(guess) if guess and self._users else None
            return Caller(kind="basic", name=user.user, scopes=SCOPES[user.role]) if user else None
        if scheme.lower() != "bearer":
            return None
        token = credentials.strip()
        if token.startswith(PREFIX):
            # a valid key passes even from a locked address; an unknown one counts against it
            key = await self.keys.admit(token, address)
            if key is None:
                await self.refused(token, "key", "Unknown API key", address)
                return None
            if key.first_use:
                await self._audit.note(
                    "api-key-used-first-time",
                    "success",
                    container_name=AUTHENTICATION,
                    user=key.owner,
                    ip=address,
                    details=key.name,
                )
            return Caller(kind="key", name=key.owner, key=key.id, scopes=key.scopes, reach=key.reach)
        if not any(strategy.remembers(token) for strategy in self.oidc.values()):
            self.lockout.check(None, self._needs.bucket(address))  # a locked address asks no provider either
        for strategy in self.oidc.values():
            identity = await strategy.bearer(token)
            if identity is not None:
                return Caller(kind="bearer", name=identity.user, scopes=SCOPES[identity.role])
        if self.oidc:
            await self.refused(token, "oidc", "Unknown access token", address)
        return None

    async def refused(self, token: str, provider: str, text: str, address: str) -> None:
        """Count a token that opens nothing against the address it came from; `Locked` from the limit on.

        The same token again is no further guess: a dashboard with an expired one must not lock its owner's address.
        """
        key = self._needs.bucket(address)
        self.lockout.check(None, key)
        mark = hashlib.sha256(f"{key}\n{token}".encode("utf-8", "replace")).digest()
        if self._refused.get(mark):
            return
        self._refused.put(mark, True)
        attempt = LoginAttempted(outcome="invalid", provider=provider, details=text, address=address)
        await self._attempted(attempt)
        self.lockout.failed(None, key)

    async def _attempted(self, attempt: LoginAttempted) -> None:
        """Publish an attempt, and write it unless it is quiet. Names are the client's text: unprintable ones are masked."""
        self._bus.publish(attempt)
        if attempt.quiet:
            return
        user = printable(attempt.user) if attempt.user is not None else None
        await self._audit.note(
            "auth-login",
            "success" if attempt.outcome == "success" else "error",
            container_name=AUTHENTICATION,
            details=attempt.details if user is None else f"{attempt.details}; user={user}",
            user=user,
            ip=attempt.address,
        )

    # ── signing in and out ─────────────────────────────────────────────────────────────────────────────────────────

    def providers(self) -> list[Provider]:
        """Every way to sign in, by name; all users with a password are one entry."""
        found = [Provider(type="basic", name="Login")] if self._users else []
        found += [
            Provider(type="oidc", name=name, redirect=strategy.settings.redirect, logout_url=strategy.logout_url())
            for name, strategy in self.oidc.items()
        ]
        found += [Provider(type=ANONYMOUS_NAME, name="Anonymous")] if self.anonymous else []
        return sorted(found, key=lambda provider: provider.name)

    async def login(self, authorization: str | None, body: Mapping[str, object], visit: Visit) -> SignedIn:
        """Sign in with a password from the header, else from the body; `Unauthorized`, `Locked` or `TooManyLogins`."""
        if self.anonymous:
            return SignedIn(user=ANONYMOUS_NAME, cookie=None)
        # what is verified is what is counted: the header wins over the body
        scheme, _, credentials = (authorization or "").partition(" ")
        name, password = body.get("username"), body.get("password")
        guess = None
        if scheme.lower() == "basic":
            guess = read_basic(credentials, visit.address)
        elif isinstance(name, str) and isinstance(password, str):
            guess = Guess(name, password, visit.address)
        user = await self.passwords.login(guess) if guess and self._users else None
        if user is None:
            raise Unauthorized(hint=self.closed_hint())
        remember = body.get("remember")
        return await self._establish(user, remember if isinstance(remember, bool) else None, visit)

    async def _establish(self, who: Identity, wish: bool | None, visit: Visit) -> SignedIn:
        """A fresh session. Without a wish the one made before the login counts."""
        before = await self.sessions.find(visit.cookie)
        remember = wish if wish is not None else bool(before and before.remember)
        try:
            _, cookie = await self.sessions.establish(
                who, remember=remember, replaces=before, address=visit.address, agent=visit.agent
            )
        except SessionFailure as error:
            attempt = LoginAttempted(
                outcome="error",
                provider=who.provider.partition(":")[0],
                details=error.message,
                user=who.user,
                address=visit.address,
            )
            await self._attempted(attempt)
            raise
        return SignedIn(user=who.user, cookie=cookie, remember=remember)

    async def logout(self, visit: Visit) -> str | None:
        """End the session; gives the address to go to, if a provider has one."""
        session = await self.sessions.find(visit.cookie)
        if session is not None:
            await self.sessions.close(session)
            if session.user:
                await self._audit.note(
                    "auth-logout", "success", container_name=AUTHENTICATION, user=session.user, ip=visit.address
                )
        return next((provider.logout_url for provider in self.providers() if provider.logout_url), None)

    async def remember(self, wish: bool, visit: Visit) -> tuple[str | None, bool]:
        """Keep the remember-me wish: in the session, or in a new one before the login, whose cookie is given.

        The second value says whether a user is signed in.
        """
        session = await self.sessions.find(visit.cookie)
        if session is None:
            return (await self.sessions.begin(wish))[1], False
        await self.sessions.remember(session, wish)
        return visit.cookie, session.user is not None

    async def start_oidc(self, name: str, visit: Visit) -> tuple[Redirect, str | None]:
        """Begin a sign-in at a provider: where to go, and a new cookie when there was no session yet."""
        strategy, cookie = self._strategy(name), None
        session = await self.sessions.find(visit.cookie)
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
        session = await self.sessions.find(visit.cookie)
        attempt = LoginAttempted(outcome="success", provider="oidc", details="Login succeeded", address=visit.address)
        try:
            check = strategy.check_of(session, answer.get("state"))
            if session is not None:
                await self.sessions.save(session)
            who = await strategy.finish(answer.get("code") or "", answer.get("iss"), check)
        except DrydockError as error:
            await self._attempted(msgspec.structs.replace(attempt, outcome="invalid", details=error.message))
            raise
        await self._attempted(msgspec.structs.replace(attempt, user=who.user))
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
