"""Which sign-in providers and keys the configuration names, and what is wrong with the others (platform.md §2.2, §4.1).

A provider with a fault is left out with its reason; it never opens the instance.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from drydock.auth.keys import ConfiguredKey, reach_of
from drydock.auth.passwords import fingerprint, parse_hash
from drydock.auth.roles import Role, parse_role, parse_role_map, parse_scopes
from drydock.auth.settings import ApiKeySettings, AuthSettings, BasicSettings, OidcSettings
from drydock.auth.strategies.basic import BasicUser
from drydock.auth.strategies.oidc import OidcConfig
from drydock.config.load import component_names
from drydock.config.reader import read_component, unknown
from drydock.config.schema import section_of, spellings
from drydock.config.source import Source
from drydock.core.errors import ConfigError

T = TypeVar("T")
M = TypeVar("M")

RESERVED = ("LOCKOUT", "ACCOUNT", "IP", "MAX", "ANONYMOUS")
"""First words of tuning variables; never provider types."""

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A provider that could not be registered, as `/auth/status` shows it. `provider` is `<type>:<name>`."""

    provider: str
    error: str


class Providers(msgspec.Struct, frozen=True, kw_only=True):
    """What the configuration gives. `errors` are providers, `warnings` variables that nobody reads."""

    basic: tuple[BasicUser, ...] = ()
    oidc: tuple[OidcConfig, ...] = ()
    keys: tuple[ConfiguredKey, ...] = ()
    errors: tuple[Fault, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        """Whether people can sign in."""
        return bool(self.basic or self.oidc)


def read_providers(source: Source, public_url: str | None) -> Providers:
    """Read every `DD_AUTH_BASIC_*`, `DD_AUTH_OIDC_*` and `DD_AUTH_APIKEY_*` group."""
    faults: list[Fault] = []
    basic = _family(source, "basic", BasicSettings, basic_user, faults)
    oidc = _family(source, "oidc", OidcSettings, lambda found: oidc_config(found, public_url), faults)
    keys = _family(source, "apikey", ApiKeySettings, configured_key, faults)
    return Providers(
        basic=tuple(basic),
        oidc=tuple(oidc),
        keys=tuple(keys),
        errors=tuple(faults),
        warnings=tuple(_strangers(source)),
    )


def _family(source: Source, kind: str, cls: type[T], make: Callable[[T], M], faults: list[Fault]) -> list[M]:
    made: list[M] = []
    for name in component_names(source, section_of(cls).prefix):
        try:
            made.append(make(_component(source, cls, name)))
        except ConfigError as error:
            faults.append(Fault(provider=f"{kind}:{name}", error=error.message.replace('"', "")))
    return made


def _component(source: Source, cls: type[T], name: str) -> T:
    reading = read_component(cls, source, name)
    wrong = [problem.message for problem in reading.problems if problem.fatal]
    prefix = f"{section_of(cls).prefix}{name.upper()}_"
    known = [prefix + suffix for suffix, _, _ in spellings(section_of(cls))]
    wrong += [str(unknown(variable, known)) for variable in source.names(prefix) if variable not in reading.used]
    if wrong or reading.settings is None:
        raise ConfigError("; ".join(wrong))
    settings: Any = reading.settings
    made: T = dataclasses.replace(settings, name=name)
    return made


def _strangers(source: Source) -> list[str]:
    families = tuple(section_of(cls).prefix for cls in (BasicSettings, OidcSettings, ApiKeySettings))
    known = ["DD_AUTH_" + suffix for suffix, _, _ in spellings(section_of(AuthSettings))]
    known += [*families, "DD_AUTH_ANONYMOUS_CONFIRM"]
    names = [name for name in source.names("DD_AUTH_") if not name.startswith(families) and name not in known]
    return [str(unknown(name, known)) for name in names]


def basic_user(settings: BasicSettings) -> BasicUser:
    """A user from its variables; `ConfigError` names what is missing or wrong."""
    if settings.user is None:
        raise ConfigError("user is required")
    if settings.hash is None:
        raise ConfigError("hash is required")
    return BasicUser(
        provider=settings.name,
        user=settings.user.strip(),
        hash=parse_hash(settings.hash.reveal()),
        role=parse_role(settings.role),
        fingerprint=fingerprint({"user": settings.user, "hash": settings.hash.reveal()}),
    )


def oidc_config(settings: OidcSettings, public_url: str | None) -> OidcConfig:
    """An OpenID Connect provider from its variables; `ConfigError` names what is missing or wrong."""
    if public_url is None:
        raise ConfigError("DD_PUBLIC_URL must be set when OIDC authentication is configured")
    for name in ("discovery", "clientid", "clientsecret"):
        if getattr(settings, name) is None:
            raise ConfigError(f"{name} is required")
    roles: dict[str, Role] = parse_role_map(settings.rolemap) if settings.rolemap else {}
    return OidcConfig.from_settings(settings, public_url, roles)


def configured_key(settings: ApiKeySettings) -> ConfiguredKey:
    """An API key from its variables; `ConfigError` names what is missing or wrong."""
    text = settings.hash.reveal().strip() if settings.hash else ""
    if not _SHA256.fullmatch(text):
        raise ConfigError("hash is required: the SHA-256 of the token, 64 hexadecimal digits")
    scopes, limits = parse_scopes(settings.scopes), reach_of(settings.watchers, settings.agents)
    if limits is not None and "admin" in scopes:
        raise ConfigError("a key with the scope admin cannot be limited to watchers or agents")
    return ConfiguredKey(name=settings.name, hash=text.lower(), scopes=scopes, reach=limits)
