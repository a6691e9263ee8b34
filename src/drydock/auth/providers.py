"""Which sign-in providers and keys the configuration names, and what is wrong with the others (platform.md §2.2, §4.1).

A provider with a fault is left out with its reason; it never opens the instance.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import msgspec

from drydock.auth.keys import ConfiguredKey, reach_of
from drydock.auth.openid import tls_files
from drydock.auth.passwords import fingerprint, parse_hash
from drydock.auth.roles import parse_role_map, parse_scopes
from drydock.auth.settings import AUTHENTICATIONS, ApiKeySettings, BasicSettings, OidcSettings
from drydock.auth.strategies.basic import BasicUser
from drydock.auth.strategies.oidc import OidcStrategy, origin_of
from drydock.clock import Clock
from drydock.config.load import Settings
from drydock.core.errors import ConfigError
from drydock.http.client import HttpClient
from drydock.http.tls import TlsContexts

T = TypeVar("T")
M = TypeVar("M")

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A provider that could not be registered, as `/auth/status` shows it. `provider` is `<type>:<name>`."""

    provider: str
    error: str


class Providers(msgspec.Struct, frozen=True, kw_only=True):
    """What the configuration gives; `errors` are what could not be registered."""

    basic: tuple[BasicUser, ...] = ()
    oidc: tuple[OidcStrategy, ...] = ()
    keys: tuple[ConfiguredKey, ...] = ()
    errors: tuple[Fault, ...] = ()


def read_providers(settings: Settings, public_url: str | None, http: HttpClient, clock: Clock) -> Providers:
    """Every provider and key that can be used, and a fault for each of the others."""
    faults: dict[str, list[str]] = {}
    types = {member.type for member in AUTHENTICATIONS.members}
    for problem in settings.left_out(AUTHENTICATIONS.kind):
        if problem.component is not None and problem.component.type in types:
            provider = problem.component.id.replace(".", ":", 1)
            faults.setdefault(provider, []).append(f"{problem.variable}: {problem.message}")

    def made(options: type[T], make: Callable[[T], M]) -> tuple[M, ...]:
        found: list[M] = []
        for one in settings.components(options):
            try:
                found.append(make(one.settings))
            except ConfigError as error:
                faults[f"{one.type}:{one.name}"] = [error.message]
        return tuple(found)

    return Providers(
        basic=made(BasicSettings, basic_user),
        oidc=made(OidcSettings, lambda found: oidc_strategy(found, public_url, http, clock)),
        keys=made(ApiKeySettings, configured_key),
        errors=tuple(
            Fault(provider=provider, error="; ".join(said).replace('"', ""))
            for provider, said in sorted(faults.items())
        ),
    )


def basic_user(settings: BasicSettings) -> BasicUser:
    """A user from its variables; `ConfigError` names what is missing or wrong."""
    if settings.user is None:
        raise ConfigError("user is required")
    if settings.hash is None:
        raise ConfigError("hash is required")
    return BasicUser(
        provider=f"basic:{settings.name}",
        user=settings.user.strip(),
        hash=parse_hash(settings.hash.reveal()),
        role=settings.role,
        fingerprint=fingerprint({"user": settings.user, "hash": settings.hash.reveal()}),
    )


def oidc_strategy(settings: OidcSettings, public_url: str | None, http: HttpClient, clock: Clock) -> OidcStrategy:
    """An OpenID Connect provider from its variables; `ConfigError` names what is missing or wrong."""
    if public_url is None:
        raise ConfigError("DD_PUBLIC_URL must be set when OIDC authentication is configured")
    required = {
        "discovery": settings.discovery,
        "clientid": settings.client_id,
        "clientsecret": settings.client_secret,
    }
    for name, value in required.items():
        if value is None:
            raise ConfigError(f"{name} is required")
    roles = parse_role_map(settings.role_map) if settings.role_map else {}
    try:
        TlsContexts().get(tls_files(settings))
    except OSError as error:
        raise ConfigError(f"cafile cannot be used ({error.strerror or type(error).__name__})") from error
    return OidcStrategy(settings, origin_of(public_url), roles, http, clock)


def configured_key(settings: ApiKeySettings) -> ConfiguredKey:
    """An API key from its variables; `ConfigError` names what is missing or wrong."""
    text = settings.hash.reveal().strip() if settings.hash else ""
    if not _SHA256.fullmatch(text):
        raise ConfigError("hash is required: the SHA-256 of the token, 64 hexadecimal digits")
    scopes, limits = parse_scopes(settings.scopes), reach_of(settings.watchers, settings.agents)
    if limits is not None and "admin" in scopes:
        raise ConfigError("a key with the scope admin cannot be limited to watchers or agents")
    return ConfiguredKey(name=settings.name, hash=text.lower(), scopes=scopes, reach=limits)
