"""The OpenID Connect client: discovery, keys, code exchange, ID tokens, userinfo (platform.md §4.4).

Speaks to one provider. Nothing about sessions or users is decided here; see `strategies/oidc.py`. What leaves this
module as an error holds no token, secret or address of the inside.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec
import structlog
from yarl import URL

from drydock.auth.sessions import Pending
from drydock.auth.settings import OidcSettings
from drydock.clock import Clock
from drydock.core.errors import DrydockError
from drydock.http.client import HttpClient, HttpRequest, TransportError
from drydock.http.tls import TlsFiles

log = structlog.get_logger("auth")

LARGEST_BODY = 1024 * 1024
METADATA_S = 3600.0
KEYS_AGAIN_S = 30.0
"""An unknown key id fetches the keys again, at most this often."""


class OidcFailure(DrydockError):
    """The provider cannot be reached, answered something unusable, or a token does not hold."""

    status = 401
    code = "authentication-failed"
    default = "Authentication failed"


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the discovery document that is used."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of the token endpoint."""

    access_token: str
    id_token: str

    def __repr__(self) -> str:
        return "Tokens(***)"


def tls_files(settings: OidcSettings) -> TlsFiles:
    """The TLS rules of one provider: the system's authorities plus its CA file, or none at all when insecure."""
    return TlsFiles(settings.cafile or "", settings.insecure)


class OpenId:
    """One provider. The discovery document is fetched when it is first needed, and again after a failure."""

    def __init__(self, settings: OidcSettings, redirect_uri: str, http: HttpClient, clock: Clock) -> None:
        import drydock.auth.idtoken  # noqa: F401  # 10 MB with its libraries: loaded where a provider is configured

        self._settings = settings
        self._client_id = settings.client_id or ""
        self._redirect_uri = redirect_uri
        self._http = http
        self._clock = clock
        self._metadata: tuple[Metadata, float] | None = None
        self._keys: tuple[Any, float] | None = None
        self._discovering = asyncio.Lock()
        self._fetching_keys = asyncio.Lock()

    @property
    def known(self) -> Metadata | None:
        """The discovery document, if it was read already."""
        return self._metadata[0] if self._metadata else None

    async def metadata(self) -> Metadata:
        """The discovery document; one request at a time, kept for an hour, a stale one serves when renewal fails."""
        async with self._discovering:
            held = self._metadata
            if held is not None and self._clock.monotonic() - held[1] < METADATA_S:
                return held[0]
            try:
                document = await self._call("GET", self._settings.discovery or "")
                try:
                    found = msgspec.convert(document, Metadata)
                except msgspec.ValidationError as error:
                    raise self._failure("discovery document is incomplete", error) from error
                for url in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri):
                    if urlsplit(url).scheme != "https":
                        raise self._failure("discovery document names an address that is not https")
            except OidcFailure:
                if held is None:
                    raise
                return held[0]
            self._metadata = (found, self._clock.monotonic())
            return found

    async def authorization_url(self, check: Pending) -> str:
        """Where the browser goes to sign in: code flow, PKCE S256, state and nonce of `check`."""
        metadata = await self.metadata()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(check.verifier.encode()).digest())
        query = {
            "client_id": self._client_id,
            "redirect_uri": self._redirect_uri,
            "response_type": "code",
            "scope": "openid email profile",
            "code_challenge_method": "S256",
            "code_challenge": challenge.decode().rstrip("="),
            "state": check.state,
            "nonce": check.nonce,
        }
        joint = "&" if urlsplit(metadata.authorization_endpoint).query else "?"
        return f"{metadata.authorization_endpoint}{joint}{urlencode(query)}"

    async def exchange(self, code: str, check: Pending) -> tuple[dict[str, Any], str]:
        """Trade a code for tokens and verify the ID token; its claims and the access token. `OidcFailure` otherwise."""
        metadata = await self.metadata()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": check.verifier,
            "client_id": self._client_id,
            "client_secret": self._settings.client_secret.reveal() if self._settings.client_secret else "",
        }
        answer = await self._call("POST", metadata.token_endpoint, form=form)
        try:
            tokens = msgspec.convert(answer, Tokens)
        except msgspec.ValidationError as error:
            raise self._failure("token answer is incomplete", error) from error
        claims = await self._verified(tokens.id_token, metadata)
        audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        if len(audience) > 1 and claims.get("azp") != self._client_id:
            raise self._failure("ID token was issued for another client")
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), check.nonce.encode()):
            raise self._failure("ID token carries another nonce")
        return claims, tokens.access_token

    async def _verified(self, token: str, metadata: Metadata) -> dict[str, Any]:
        """Signature, issuer, audience and times; a key that rotated is fetched once more."""
        if token.count(".") == 4:
            raise self._failure("encrypted ID tokens are not supported")
        from drydock.auth.idtoken import check_claims, signed_claims

        try:
            try:
                claims = signed_claims(token, await self._key_set(metadata))
            except ValueError:
                if not await self._renew_keys(metadata):
                    raise
                claims = signed_claims(token, await self._key_set(metadata))
            check_claims(claims, metadata.issuer, self._client_id, self._clock.now_ms() // 1000)
        except ValueError as error:
            raise self._failure("ID token is not valid", error) from error
        return claims

    async def userinfo(self, access_token: str) -> dict[str, Any]:
        """What the provider says about the bearer of `access_token`; `OidcFailure` when it refuses."""
        metadata = await self.metadata()
        if metadata.userinfo_endpoint is None:
            raise self._failure("discovery document names no userinfo endpoint")
        found = await self._call("GET", metadata.userinfo_endpoint, bearer=access_token)
        if not isinstance(found.get("sub"), str):
            raise self._failure("userinfo has no sub")
        return found

    async def _key_set(self, metadata: Metadata) -> Any:
        if self._keys is None:
            await self._renew_keys(metadata)
        if self._keys is None:
            raise self._failure("signing keys cannot be read")
        return self._keys[0]

    async def _renew_keys(self, metadata: Metadata) -> bool:
        """Fetch the signing keys; False when they were fetched a moment ago."""
        from drydock.auth.idtoken import read_keys

        async with self._fetching_keys:
            now = self._clock.monotonic()
            if self._keys is not None and now - self._keys[1] < KEYS_AGAIN_S:
                return False
            try:
                self._keys = (read_keys(await self._call("GET", metadata.jwks_uri)), now)
            except ValueError as error:
                raise self._failure("signing keys are not usable", error) from error
            return True

    async def _call(
        self, method: str, url: str, *, form: Mapping[str, str] | None = None, bearer: str | None = None
    ) -> dict[str, Any]:
        """The JSON object that the provider answers. `OidcFailure` for anything else, redirects included."""
        headers = {"Accept": "application/json"}
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        request = HttpRequest(
            method,
            URL(url, encoded=True),
            headers,
            urlencode(form).encode() if form is not None else None,
            cap=LARGEST_BODY,
            timeout_s=self._settings.timeout_s,
            tls=tls_files(self._settings),
        )
        try:
            answer = await self._http.exchange(request)
        except TransportError as error:
            raise self._failure(f"{error.url.host}: {error.text}", error) from error
        if answer.status != 200:
            raise self._failure(f"provider answered {answer.status}")
        try:
            return msgspec.json.decode(answer.body, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise self._failure("provider's answer is not a JSON object", error) from error

    def _failure(self, reason: str, cause: Exception | None = None) -> OidcFailure:
        """The error for the client, after the reason went to the log. Texts of the provider are never passed on."""
        log.warning("auth.oidc_failed", provider=self._settings.name, reason=reason, cause=type(cause).__name__)
        return OidcFailure()


def new_check(now_ms: int) -> Pending:
    """State, PKCE verifier and nonce of a new sign-in."""
    state, verifier, nonce = (secrets.token_urlsafe(size) for size in (24, 48, 24))
    return Pending(state=state, verifier=verifier, nonce=nonce, created_at=now_ms)
