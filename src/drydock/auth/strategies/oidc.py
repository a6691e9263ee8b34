"""Sign-in at an OpenID Connect provider: redirect, callback, bearer tokens, and who is let in (platform.md §4.4).

Protocol and token checks are `auth.openid`; sessions are passed in.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit

import msgspec
import structlog

from drydock.auth.openid import OidcFailure, OpenId, new_check
from drydock.auth.passwords import fingerprint
from drydock.auth.recent import Recent
from drydock.auth.roles import Role, role_of_groups
from drydock.auth.sessions import Identity, Pending, Session, add_pending, take_pending
from drydock.auth.settings import OidcSettings
from drydock.clock import Clock
from drydock.core.errors import Unauthorized
from drydock.http.client import HttpClient

log = structlog.get_logger("auth")

STATE = re.compile(r"[A-Za-z0-9._~-]{8,256}")
BEARER = re.compile(r"[A-Za-z0-9._~+/=-]{16,8192}")
BEARER_S = 60.0
"""A token that the provider takes back is good for this long at most."""
BEARER_MOST = 512

Refused = Literal["refused"]


class Redirect(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Where the browser shall go, and what it may check before it goes there."""

    redirect: str
    strict_endpoints: list[str]
    allowed_origins: list[str]


class OidcStrategy:
    """One provider as a way to sign in. `origin` is ours, `roles` what groups may do."""

    def __init__(
        self, settings: OidcSettings, origin: str, roles: Mapping[str, Role], http: HttpClient, clock: Clock
    ) -> None:
        self.settings = settings
        self.name = settings.name
        self.fingerprint = fingerprint(
            {
                "discovery": settings.discovery or "",
                "client": settings.client_id or "",
                "roles": str(sorted(roles.items())),
                "users": str(settings.allowed_users),
                "groups": str(settings.allowed_groups),
            }
        )
        """Changes when the meaning of this provider's sign-ins does; sessions of an older one end."""
        self._origin = origin
        self._roles = roles
        self._openid = OpenId(settings, f"{origin}/auth/oidc/{settings.name}/cb", http, clock)
        self._clock = clock
        self._bearers: Recent[Identity | Refused] = Recent(clock, BEARER_MOST, BEARER_S)

    def logout_url(self) -> str | None:
        """Where to go after signing out: the provider's own address, else the configured one."""
        metadata = self._openid.known
        if metadata is None or metadata.end_session_endpoint is None:
            return self.settings.logout_url
        query = urlencode({"client_id": self.settings.client_id, "post_logout_redirect_uri": f"{self._origin}/"})
        joint = "&" if urlsplit(metadata.end_session_endpoint).query else "?"
        return f"{metadata.end_session_endpoint}{joint}{query}"

    async def warm_up(self) -> None:
        """Read the discovery document; a failure is only a warning, it is tried again when it is needed."""
        if self.settings.insecure:
            log.warning("auth.oidc_insecure", provider=self.name, advice="certificates are not verified")
        try:
            await self._openid.metadata()
        except OidcFailure:
            log.warning("auth.oidc_not_ready", provider=self.name, advice="tried again at the next sign-in")

    async def start(self, session: Session) -> Redirect:
        """Begin a sign-in; its check is added to `session`, which the caller saves."""
        check = new_check(self._clock.now_ms())
        metadata = await self._openid.metadata()
        url = await self._openid.authorization_url(check)
        endpoint = _bare(metadata.authorization_endpoint)
        if _bare(url) != endpoint:
            raise OidcFailure()
        add_pending(session, self.name, check, self._clock.now_ms())
        addresses = (self.settings.discovery or "", metadata.authorization_endpoint, metadata.issuer)
        origins = dict.fromkeys(origin_of(address) for address in addresses)
        return Redirect(redirect=url, strict_endpoints=[endpoint], allowed_origins=list(origins))

    def check_of(self, session: Session | None, state: str | None) -> Pending:
        """The pending check that a callback answers; it is used up, the caller saves the session. `Unauthorized`."""
        if session is None or not session.pending.get(self.name):
            raise Unauthorized("OIDC session is missing or expired. Please retry authentication.")
        if state is None or not STATE.fullmatch(state):
            raise Unauthorized("OIDC callback is missing state. Please retry authentication.")
        found = take_pending(session, self.name, state, self._clock.now_ms())
        if found is None:
            raise Unauthorized("OIDC session state mismatch or expired. Please retry authentication.")
        return found

    async def finish(self, code: str, issuer: str | None, check: Pending) -> Identity:
        """Turn the callback's code into an identity; `OidcFailure` when anything does not hold."""
        metadata = await self._openid.metadata()
        if not code or (issuer is not None and issuer != metadata.issuer):
            raise OidcFailure()
        claims, access_token = await self._openid.exchange(code, check)
        info = await self._openid.userinfo(access_token) if metadata.userinfo_endpoint else claims
        if info.get("sub") != claims.get("sub"):
            log.warning("auth.oidc_failed", provider=self.name, reason="userinfo is about another user")
            raise OidcFailure()
        return self._admitted({**claims, **info})

    def remembers(self, token: str) -> bool:
        """Whether this token was good within the last minute."""
        return isinstance(self._bearers.get(_mark(token)), Identity)

    async def bearer(self, token: str) -> Identity | None:
        """Who presents this access token, asked of the provider at most once a minute; None when refused."""
        if not BEARER.fullmatch(token) or not _meant_for(token, self.settings.client_id or ""):
            return None
        mark = _mark(token)
        held = self._bearers.get(mark)
        if held is None:
            try:
                held = self._admitted(await self._openid.userinfo(token))
            except OidcFailure:
                held = "refused"
            self._bearers.put(mark, held)
        return held if isinstance(held, Identity) else None

    def _admitted(self, claims: Mapping[str, Any]) -> Identity:
        """Name and role of a verified user; `OidcFailure` when the configuration lets only others in."""
        user = _user_name(claims, self.settings.username_claim)
        groups = _texts(claims.get(self.settings.groups_claim))
        role = role_of_groups(groups, self._roles)
        users, allowed = self.settings.allowed_users, self.settings.allowed_groups
        if role is None or (users and user not in users) or (allowed and not set(groups) & set(allowed)):
            log.warning("auth.oidc_refused", provider=self.name, user=user, reason="no allowed user, group or role")
            raise OidcFailure()
        return Identity(user=user, provider=f"oidc:{self.name}", role=role, fingerprint=self.fingerprint)


def _mark(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _user_name(claims: Mapping[str, Any], claim: str | None) -> str:
    """The configured claim, else `email`, else `sub`, else `unknown`."""
    for name in (claim,) if claim else ("email", "sub"):
        value = claims.get(name)
        if isinstance(value, str) and value:
            return value
    if claim:
        log.warning("auth.oidc_refused", reason="user name claim is missing", claim=claim)
        raise OidcFailure()
    return "unknown"


def _texts(value: Any) -> Sequence[str]:
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _meant_for(token: str, client_id: str) -> bool:
    """A JWT must name Drydock's client as its audience or authorized party; other tokens are opaque and the provider decides."""
    parts = token.split(".")
    if len(parts) != 3:
        return True
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        claims = msgspec.json.decode(payload, type=dict[str, Any])
    except (ValueError, msgspec.DecodeError):
        return True
    return client_id in (*_texts(claims.get("aud")), *_texts(claims.get("azp")), *_texts(claims.get("client_id")))


def _bare(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
