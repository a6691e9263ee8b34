"""Where an Engine is and how it is reached: from a watcher's settings to a client (watching.md §1.2–§1.4).

Decides scheme, TLS and credentials; fails closed where credentials would travel in the clear. Requests themselves are
`transport.py`, calls are `client.py`.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver

from drydock.core.errors import ConfigError
from drydock.core.secret import Secret
from drydock.docker.client import EngineClient
from drydock.docker.settings import AuthType, EngineSettings
from drydock.docker.transport import Transport

DEFAULT_PORT = 2375
TLS_PORT = 2376
"""The docker program's own default with TLS; a watcher's PORT is never implied."""


@dataclass(frozen=True, kw_only=True)
class EngineAddress:
    """A resolved Engine: `label` for people, `base` URL, and either a `socket` path or TCP.

    `blocked` says why nothing may be sent (§1.4); the watcher logs `warnings` once.
    """

    label: str
    base: str
    socket: str | None = None
    settings: EngineSettings
    authorization: Secret | None = None
    blocked: str | None = None
    warnings: tuple[str, ...] = ()

    def source_key(self, agent: str = "") -> str:
        """Equal for two watchers on the same daemon (§1.3)."""
        place = f"socket:{self.socket}" if self.socket is not None else f"tcp:{self.base}"
        return f"agent:{agent}|{place}"


def resolve(settings: EngineSettings) -> EngineAddress:
    """Decide how the Engine is reached. Never fails: faulty credentials give a blocked address."""
    if settings.host is None:
        label = f"unix://{settings.socket}"
        return EngineAddress(label=label, base="http://localhost", socket=settings.socket, settings=settings)
    scheme = settings.protocol or ("https" if settings.tls else "http")
    host = settings.host.lower()
    base = f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.port}"
    return _with_auth(EngineAddress(label=base, base=base, settings=settings))


def from_docker_host(environ: Mapping[str, str]) -> EngineSettings:
    """Settings from `DOCKER_HOST`, `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH`; the local socket without them.

    Raises `ConfigError` for schemes that cannot be served (`ssh`, `npipe`).
    """
    text = environ.get("DOCKER_HOST", "").strip()
    if not text:
        return EngineSettings()
    parts = urlsplit(text)
    if parts.scheme == "unix":
        path = text.removeprefix("unix://")
        return EngineSettings(socket=path) if path else EngineSettings()
    if parts.scheme not in ("tcp", "http", "https") or not parts.hostname:
        raise ConfigError(
            f"DOCKER_HOST={text} cannot be used",
            hint="Use unix:///path, tcp://host:port, http:// or https://. Tunnel ssh:// to a TCP port.",
        )
    return _from_url(parts.scheme, parts.hostname, parts.port, environ)


def connect(address: EngineAddress, resolver: AbstractResolver | None = None) -> EngineClient:
    """A client for `address`. Nothing is sent yet. Raises `ConfigError` when a TLS file cannot be read.

    `resolver` orders the addresses of a TCP host (`DD_DNS_MODE`); the system's order without one.
    """
    return EngineClient(
        Transport(
            base=address.base,
            socket=address.socket,
            label=address.label,
            tls=tls_context(address.settings) if address.base.startswith("https:") and not address.blocked else None,
            authorization=address.authorization,
            blocked=address.blocked,
            resolver=resolver,
        )
    )


def tls_context(settings: EngineSettings) -> ssl.SSLContext:
    """TLS from the watcher's files: the CA replaces the system's, the pair is the client's certificate."""
    named = [("CAFILE", settings.cafile), ("CERTFILE", settings.certfile), ("KEYFILE", settings.keyfile)]
    for key, path in named:
        _readable(key, path)
    try:
        context = ssl.create_default_context(cafile=settings.cafile)
        if settings.certfile:
            context.load_cert_chain(settings.certfile, settings.keyfile)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"TLS files of the Docker API cannot be used: {error}",
            hint="CAFILE, CERTFILE and KEYFILE must be PEM files, the key belonging to the certificate.",
        ) from error
    if settings.keyfile and not settings.certfile:
        raise ConfigError("KEYFILE is set without CERTFILE", hint="Set CERTFILE to the client certificate.")
    return context


def _readable(key: str, path: str | None) -> None:
    if path is None:
        return
    try:
        with open(path, "rb") as file:
            file.read(1)
    except OSError as error:
        raise ConfigError(f"{key}={path} cannot be read: {error.strerror}") from error


def _from_url(scheme: str, host: str, port: int | None, environ: Mapping[str, str]) -> EngineSettings:
    folder = environ.get("DOCKER_CERT_PATH", "")
    verify = bool(environ.get("DOCKER_TLS_VERIFY")) and bool(folder)
    protocol: Literal["http", "https"] = "https" if scheme == "https" or verify else "http"
    return EngineSettings(
        host=host,
        port=port or (TLS_PORT if protocol == "https" else DEFAULT_PORT),
        protocol=protocol,
        cafile=f"{folder}/ca.pem" if verify else None,
        certfile=f"{folder}/cert.pem" if verify else None,
        keyfile=f"{folder}/key.pem" if verify else None,
    )


def _with_auth(address: EngineAddress) -> EngineAddress:
    if not address.settings.auth_given:
        return address
    header = authorization(address.settings)
    fault = _auth_fault(address.settings, header)
    if fault is not None and not address.settings.auth_insecure:
        return replace(address, blocked=fault)
    return replace(address, authorization=header, warnings=(fault,) if fault else ())


def auth_type(settings: EngineSettings) -> AuthType | None:
    """The type in force: as set, else bearer, else basic when complete (§1.4)."""
    if settings.auth_type:
        return settings.auth_type
    if settings.auth_bearer:
        return "bearer"
    return "basic" if settings.auth_user and settings.auth_password else None


def authorization(settings: EngineSettings) -> Secret | None:
    """The Authorization header, or None when the credentials are incomplete."""
    kind = auth_type(settings)
    if kind == "bearer" and settings.auth_bearer:
        return Secret(f"Bearer {settings.auth_bearer.reveal()}")
    if kind == "basic" and settings.auth_user and settings.auth_password:
        pair = f"{settings.auth_user}:{settings.auth_password.reveal()}".encode()
        return Secret(f"Basic {base64.b64encode(pair).decode()}")
    return None


def _auth_fault(settings: EngineSettings, header: Secret | None) -> str | None:
    kind = auth_type(settings)
    if kind == "oidc":
        return "Authentication by OIDC to a Docker API is not available; use AUTH_TYPE=basic or bearer"
    if header is None:
        needs = {"basic": "AUTH_USER and AUTH_PASSWORD", "bearer": "AUTH_BEARER"}.get(kind or "", "")
        return f"Credentials for the Docker API are incomplete: set {needs or 'AUTH_USER and AUTH_PASSWORD, or AUTH_BEARER'}"
    if settings.protocol != "https" and not settings.tls:
        return "Authentication to a Docker API requires HTTPS: set PROTOCOL=https or TLS files"
    return None
