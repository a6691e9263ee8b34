"""Registry instances: read from DD_REGISTRY_* variables, validated, seeded, shown (registries.md §1.1–1.5).

An instance is one configured (or seeded) member of a type. Nothing here does I/O except checking whether the named TLS
files can be read. Which instance serves an image is `routing.py`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from yarl import URL

from drydock.core.reference import canonical_host
from drydock.core.secret import MASK, Secret
from drydock.http.tls import TlsFiles
from drydock.registries import option_rules
from drydock.registries.credentials import ANONYMOUS, Credentials
from drydock.registries.spec import AUTO, BY_TYPE, PRIVATE, TYPES, Pace, Provider

PREFIX = "DD_REGISTRY_"
SECRET_KEYS = frozenset(
    {"password", "auth", "token", "apikey", "clientsecret", "privatekey", "accesskeyid", "secretaccesskey"}
)
CREDENTIAL_KEYS = SECRET_KEYS | {"clientemail", "clientkey"}


def authority(url: URL) -> str:
    """Host and port of a URL in canonical form, brackets kept for IPv6."""
    return canonical_host(f"{url.scheme}://{url.host_subcomponent or ''}:{url.port or 0}")


@dataclass(frozen=True, eq=False)
class Instance:
    """One registry: its type, its label and its keys. Secrets are kept apart and never shown."""

    type: str
    name: str
    settings: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The component id, `hub.public`."""
        return f"{self.type}.{self.name}"

    @cached_property
    def provider(self) -> Provider:
        return BY_TYPE[self.type]

    @cached_property
    def credentialed(self) -> bool:
        """Whether any credential key has a non-blank value; a login alone does not count."""
        return any(self.get(key).strip() for key in CREDENTIAL_KEYS)

    @cached_property
    def url(self) -> str | None:
        """The configured or fixed URL, with scheme, without trailing slash; None where it depends on the image."""
        text = self.get("url") or self.provider.url
        if not text and self.provider.base and "{" not in self.provider.base:
            text = self.provider.base.removesuffix("/v2")
        return option_rules.with_scheme(text) if text else None

    @property
    def authurl(self) -> str | None:
        """The token server that may see the credentials, if configured or fixed."""
        text = self.get("authurl") or self.provider.authurl
        return option_rules.with_scheme(text) if text else None

    @cached_property
    def authority(self) -> str | None:
        """Canonical host and port of the configured URL."""
        return authority(URL(self.url)) if self.url else None

    @cached_property
    def credential_id(self) -> str:
        """Separates what is cached for different rights; tells nothing about the secret."""
        found = self.credentials()
        if found is not None:
            return found.id
        return f"{self.id}" if self.credentialed else ANONYMOUS

    @cached_property
    def tls(self) -> TlsFiles:
        """The TLS files of its own host."""
        insecure = self.get("insecure").lower() == "true"
        return TlsFiles(self.get("cafile"), insecure, self.get("clientcert"), self.get("clientkey"))

    @property
    def pace(self) -> Pace:
        """Start values of the limiter for this instance's own host."""
        row = self.provider
        pace = PRIVATE if self.get("url") and not row.hosts and self.url != row.url else row.pace
        number = self.settings.get("concurrency")
        return Pace(pace.rate, pace.burst, int(number)) if number else pace

    def get(self, key: str) -> str:
        """The value of a key, secret or not; empty when it is not set."""
        secret = self.secrets.get(key)
        return secret.reveal() if secret is not None else self.settings.get(key, "")

    def credentials(self) -> Credentials | None:
        """User and password by the rule of the type; None for anonymous access and for ECR (its token expires)."""
        return self.provider.credentials({**self.settings, **{k: s.reveal() for k, s in self.secrets.items()}})

    def masked(self) -> dict[str, Any]:
        """All keys after initialisation, set secrets as `[REDACTED]`."""
        shown: dict[str, Any] = dict(self.settings)
        for key, value in (("url", self.url), ("authurl", self.authurl)):
            if value:
                shown[key] = value
        if "insecure" in shown:
            shown["insecure"] = shown["insecure"].lower() == "true"
        return shown | {key: MASK for key, secret in self.secrets.items() if secret}


AUTO_INSTANCE = Instance("auto", "public")


def make_instance(type_: str, name: str, keys: Mapping[str, str]) -> Instance:
    """An instance of validated keys."""
    return Instance(
        type_,
        name,
        {key: value for key, value in keys.items() if key not in SECRET_KEYS},
        {key: Secret(value) for key, value in keys.items() if key in SECRET_KEYS},
    )


def register(variables: Mapping[str, str]) -> tuple[list[Instance], list[str]]:
    """All instances and the reasons why some could not be registered.

    `variables` holds the environment with `…__FILE` already resolved; other names are ignored. A wrong instance never
    prevents another one. Seeds (§1.3) are added for the types without configured credentials.
    """
    declared, problems = _declared(variables)
    good: list[Instance] = []
    for (type_, name), keys in declared.items():
        reason = check(type_, keys)
        if reason is None:
            good.append(make_instance(type_, name, keys))
        else:
            problems.append(f"Error when registering component {type_} ({reason})")
    return sorted([*good, *_seeds(good, set(declared))], key=lambda instance: instance.id), problems


def check(type_: str, keys: Mapping[str, str]) -> str | None:
    """The reason why these keys are wrong for this type, naming key and rule but no value; None when they are right."""
    if type_ not in BY_TYPE or type_ == AUTO.type:
        return f'unknown registry type "{type_}" in DD_REGISTRY_{type_.upper()}_*; known types: {", ".join(TYPES)}'
    blank = sorted(key for key, value in keys.items() if not value.strip() and key != "auth")
    if blank:
        return f'"{blank[0]}" is not allowed to be empty'
    own = {key: value for key, value in keys.items() if key not in option_rules.COMMON_KEYS}
    return BY_TYPE[type_].shape(own) or option_rules.common(keys) or _unreadable(keys)


def summary(problems: Sequence[str]) -> str | None:
    """The one warning of §1.2, or None."""
    return f"Some registries failed to register ({'; '.join(problems)})" if problems else None


def _declared(variables: Mapping[str, str]) -> tuple[dict[tuple[str, str], dict[str, str]], list[str]]:
    declared: dict[tuple[str, str], dict[str, str]] = {}
    problems: list[str] = []
    for variable in sorted(variables):
        if not variable.upper().startswith(PREFIX):
            continue
        parts = variable[len(PREFIX) :].lower().split("_")
        if len(parts) not in (2, 3) or not all(parts) or (len(parts) == 2 and variables[variable]):
            problems.append(f"Error when registering component {parts[0]} ({_shape_of(variable)})")
            continue
        keys = declared.setdefault((parts[0], parts[1]), {})
        if len(parts) == 3:
            keys[parts[2]] = variables[variable]
    return declared, problems


def _shape_of(variable: str) -> str:
    return f'"{variable.upper()}" must have the form DD_REGISTRY_TYPE_NAME_KEY=value or DD_REGISTRY_TYPE_NAME='


def _seeds(good: Sequence[Instance], declared: set[tuple[str, str]]) -> list[Instance]:
    taken = {instance.type for instance in good if instance.credentialed}
    return [
        Instance(type_, "public")
        for type_ in TYPES
        if BY_TYPE[type_].seed and type_ not in taken and (type_, "public") not in declared
    ]


def _unreadable(keys: Mapping[str, str]) -> str | None:
    for key in ("cafile", "clientcert", "clientkey"):
        if key in keys and not (os.path.isfile(keys[key]) and os.access(keys[key], os.R_OK)):
            return f'"{key}" must name a readable file'
    return None
