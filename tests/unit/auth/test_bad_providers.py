"""Identity providers that are wrong, hostile or slow: nobody gets in through them (platform.md §4.4)."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from drydock.auth.openid import OidcFailure, OpenId, new_check
from drydock.auth.settings import OidcSettings
from drydock.core.secret import Secret
from drydock.http.client import HttpClient

from .conftest import SkippingClock

Claims = dict[str, Any]


@dataclass
class Provider:
    """An identity provider that a test bends: `claims` changes the ID token, `sign` how it is signed."""

    issuer: str = ""
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one"}))
    published: RSAKey | None = None
    bend: Callable[[Claims], None] = lambda claims: None
    sign: Callable[[Provider, Claims], str] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    nonce: str = ""

    async def discovery(self, request: web.Request) -> web.Response:
        self.asked.append("discovery")
        names = {
            "authorization_endpoint": "auth",
            "token_endpoint": "token",
            "jwks_uri": "keys",
            "userinfo_endpoint": "me",
        }
        found = {name: f"{self.issuer}/{path}" for name, path in names.items()}
        return web.json_response({"issuer": self.issuer, **found, **self.metadata})

    async def keys(self, request: web.Request) -> web.Response:
        self.asked.append("keys")
        shown = (self.published or self.key).as_dict(private=False)
        return web.json_response({"keys": [shown]})

    async def token(self, request: web.Request) -> web.Response:
        now = int(time.time())
        claims: Claims = {"iss": self.issuer, "aud": "drydock", "sub": "u1", "iat": now, "exp": now + 60}
        claims["nonce"] = self.nonce
        self.bend(claims)
        signed = self.sign(self, claims) if self.sign else jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)
        return web.json_response({"access_token": "an-access-token-1234", "id_token": signed, "token_type": "Bearer"})

    async def me(self, request: web.Request) -> web.Response:
        return web.json_response({"sub": "u1"})


@dataclass
class Scene:
    """A provider, and our client for it."""

    provider: Provider
    openid: OpenId
    clock: SkippingClock

    async def exchange(self) -> Claims:
        check = new_check(self.clock.now_ms())
        self.provider.nonce = check.nonce
        claims, _ = await self.openid.exchange("a-code", check)
        return claims


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    provider, authority = Provider(), trustme.CA()
    app = web.Application()
    app.add_routes(
        [
            web.get("/.well-known/openid-configuration", provider.discovery),
            web.get("/keys", provider.keys),
            web.post("/token", provider.token),
            web.get("/me", provider.me),
        ]
    )
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server_tls)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_tls)
    await site.start()
    provider.issuer = f"https://localhost:{runner.addresses[0][1]}"
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    clock = SkippingClock(int(time.time() * 1000))
    async with HttpClient(roots=lambda: trusted) as http:
        discovery = f"{provider.issuer}/.well-known/openid-configuration"
        settings = OidcSettings(name="corp", discovery=discovery, client_id="drydock", client_secret=Secret("s"))
        yield Scene(provider, OpenId(settings, "https://x/cb", http, clock), clock)
    await runner.cleanup()


async def test_a_good_token_is_accepted(scene: Scene) -> None:
    assert (await scene.exchange())["sub"] == "u1"


BENT: dict[str, Callable[[Claims], None]] = {
    "another issuer": lambda claims: claims.update(iss="https://evil.example"),
    "another audience": lambda claims: claims.update(aud="other"),
    "two audiences without azp": lambda claims: claims.update(aud=["drydock", "other"]),
    "two audiences and another azp": lambda claims: claims.update(aud=["drydock", "other"], azp="other"),
    "expired": lambda claims: claims.update(exp=int(time.time()) - 120),
    "from the future": lambda claims: claims.update(iat=int(time.time()) + 3600, nbf=int(time.time()) + 3600),
    "another nonce": lambda claims: claims.update(nonce="other"),
    "no nonce": lambda claims: claims.pop("nonce"),
    "no expiry": lambda claims: claims.pop("exp"),
    "no subject": lambda claims: claims.pop("sub"),
}


@pytest.mark.parametrize("how", list(BENT))
async def test_bent_claims_are_refused(scene: Scene, how: str) -> None:
    scene.provider.bend = BENT[how]
    with pytest.raises(OidcFailure):
        await scene.exchange()


def unsigned(provider: Provider, claims: Claims) -> str:
    import base64
    import json

    parts = [json.dumps({"alg": "none"}), json.dumps(claims)]
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts) + "."


def by_public_key(provider: Provider, claims: Claims) -> str:
    """The classic confusion: HMAC with the public key as secret."""
    public = provider.key.as_pem(private=False)
    return jwt.encode({"alg": "HS256", "kid": "one"}, claims, OctKey.import_key(public), algorithms=["HS256"])


def by_client_secret(provider: Provider, claims: Claims) -> str:
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(b"s" * 32), algorithms=["HS256"])


def by_another_key(provider: Provider, claims: Claims) -> str:
    return jwt.encode({"alg": "RS256", "kid": "one"}, claims, RSAKey.generate_key(2048, {"kid": "one"}))


SIGNED = {
    "unsigned": unsigned,
    "with the public key": by_public_key,
    "with the client secret": by_client_secret,
    "with another key": by_another_key,
    "garbage": lambda provider, claims: "a.b.c",
    "encrypted": lambda provider, claims: "a.b.c.d.e",
    "empty": lambda provider, claims: "",
}


@pytest.mark.parametrize("how", list(SIGNED))
async def test_wrong_signatures_are_refused(scene: Scene, how: str) -> None:
    scene.provider.sign = SIGNED[how]
    with pytest.raises(OidcFailure):
        await scene.exchange()


async def test_a_rotated_key_is_fetched_once(scene: Scene) -> None:
    await scene.exchange()
    scene.provider.key = RSAKey.generate_key(2048, {"kid": "two"})
    scene.provider.sign = lambda provider, claims: jwt.encode({"alg": "RS256", "kid": "two"}, claims, provider.key)
    with pytest.raises(OidcFailure):
        await scene.exchange()
    scene.clock.advance(31)
    assert (await scene.exchange())["sub"] == "u1"
    assert scene.provider.asked.count("keys") == 2


async def test_endpoints_without_tls_are_refused(scene: Scene) -> None:
    scene.provider.metadata = {"token_endpoint": "http://localhost/token"}
    with pytest.raises(OidcFailure):
        await scene.exchange()


async def test_discovery_is_asked_once_by_many_and_kept_when_it_fails(scene: Scene) -> None:
    await asyncio.gather(*(scene.openid.metadata() for _ in range(5)))
    assert scene.provider.asked == ["discovery"]
    scene.clock.advance(3601)
    scene.provider.metadata = {"jwks_uri": 5}
    assert (await scene.openid.metadata()).jwks_uri.endswith("/keys")
