"""A token server whose tokens docker-registry verifies; tells which scopes were asked for, and can be made odd."""

from __future__ import annotations

import base64
import datetime as dt
import pathlib
import secrets
import ssl as tls_library
import time
from dataclasses import dataclass, field
from typing import Any

import jwt
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

SERVICE = "test-registry"
ISSUER = "test-issuer"


@dataclass
class TokenServer:
    """Issues RS256 tokens. Without credentials only `public/…` may be pulled; `users` may pull everything.

    `first_scope_only`: grants the first scope whatever is asked. `life`: what `expires_in` says (None: absent).
    `unbound`: repositories that every token opens, asked for or not. `field_name`: where the token is. `raw`: answers this body instead. `asked`: scopes and header of every request.
    """

    users: dict[str, str] = field(default_factory=lambda: {"alice": "s3cret"})
    first_scope_only: bool = False
    life: int | None = 300
    field_name: str = "token"
    raw: bytes | None = None
    open_to_all: bool = False
    unbound: tuple[str, ...] = ()
    redirect: str | None = None
    asked: list[tuple[tuple[str, ...], str | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, ISSUER)])
        now = dt.datetime.now(dt.UTC)
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(1)
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def write_certificate(self, path: pathlib.Path) -> pathlib.Path:
        """The file that docker-registry's `rootcertbundle` names."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        return path

    async def start(self, port: int = 0, ssl: tls_library.SSLContext | None = None) -> TokenServer:
        """Listen on the loopback."""
        app = web.Application()
        app.router.add_get("/{tail:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=ssl).start()
        self.port = self._runner.addresses[0][1]
        self.realm = f"{'https' if ssl else 'http'}://127.0.0.1:{self.port}/token"
        return self

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        scopes = tuple(" ".join(request.query.getall("scope", [])).split())
        header = request.headers.get("Authorization")
        self.asked.append((scopes, header))
        if self.redirect is not None:
            return web.Response(status=302, headers={"Location": self.redirect})
        if self.raw is not None:
            return web.Response(body=self.raw, content_type="application/json")
        user = self._user(header)
        if header is not None and user is None:
            return web.json_response({"errors": [{"code": "UNAUTHORIZED"}]}, status=401)
        return web.json_response(self._document(scopes, user, request.query.get("service", SERVICE)))

    def _user(self, header: str | None) -> str | None:
        if header is None or not header.startswith("Basic "):
            return None
        user, _, password = base64.b64decode(header[6:]).decode().partition(":")
        return user if self.users.get(user) == password else None

    def _document(self, scopes: tuple[str, ...], user: str | None, service: str) -> dict[str, Any]:
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": user or "",
            "aud": service,
            "iat": now,
            "nbf": now - 10,
            "exp": now + 300,
            "jti": secrets.token_hex(8),
            "access": [self._grant(scope, user) for scope in self._granted(scopes)],
        }
        der = self._certificate.public_bytes(serialization.Encoding.DER)
        token = jwt.encode(claims, self._key, algorithm="RS256", headers={"x5c": [base64.b64encode(der).decode()]})
        return {self.field_name: token, **({"expires_in": self.life} if self.life is not None else {})}

    def _granted(self, scopes: tuple[str, ...]) -> tuple[str, ...]:
        asked = scopes[:1] if self.first_scope_only else scopes
        return asked + tuple(f"repository:{name}:pull" for name in self.unbound)

    def _grant(self, scope: str, user: str | None) -> dict[str, Any]:
        rest, _, actions = scope.rpartition(":")
        kind, _, name = rest.partition(":")
        allowed = user is not None or self.open_to_all or name.startswith("public/")
        return {"type": kind, "name": name, "actions": actions.split(",") if allowed else []}
