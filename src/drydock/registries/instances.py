"""Registry instances: made of the components that could be read, seeded, shown (registries.md §1.1–1.5).

An instance is one configured (or seeded) member of a type. Which one serves an image is `routing.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from yarl import URL

from drydock.config.components import Component, Family, Member, shown
from drydock.config.source import Problem
from drydock.core.reference import canonical_host
from drydock.http.tls import TlsFiles
from drydock.registries.options import ANONYMOUS, COMMON, RegistryOptions
from drydock.registries.spec import AUTO, BY_TYPE, PRIVATE, PROVIDERS, Pace, Provider

KIND = "registry"
CREDENTIALS = (
    "password", "auth", "token", "apikey", "clientsecret", "privatekey", "accesskeyid", "secretaccesskey",
    "clientemail", "clientkey",
)  # fmt: skip

FAMILY = Family(
    kind=KIND,
    prefixes=("DD_REGISTRY_",),
    members=tuple(
        Member(type=row.type, options=RegistryOptions, only=row.shape.keys | COMMON, check=row.shape.check)
        for row in PROVIDERS
    ),
    bare=True,
)
"""`DD_REGISTRY_<TYPE>_<NAME>_<KEY>`."""


def authority(url: URL) -> str:
    """Host and port of a URL in canonical form, brackets kept for IPv6."""
    return canonical_host(f"{url.scheme}://{url.host_subcomponent or ''}:{url.port or 0}")


class Instance:
    """One registry: its type, its label and its options.

    `url` is the configured or fixed address, None where it depends on the image; `authority` its canonical host and
    port. `authurl` is the token server that may see the credentials, if configured or fixed. `credentials` are None for
    anonymous access and for ECR, whose token expires.
    """

    def __init__(self, provider: Provider, name: str, options: RegistryOptions) -> None:
        self.provider = provider
        self.type = provider.type
        self.name = name
        self.id = f"{provider.type}.{name}"
        self.options = options
        fixed = provider.base.removesuffix("/v2") if provider.base and "{" not in provider.base else None
        self.url = options.url or provider.url or fixed
        self.authurl = options.authurl or provider.authurl
        self.authority = authority(URL(self.url)) if self.url else None
        self.credentials = provider.credentials(options)
        # a login alone does not count
        self.credentialed = any(getattr(options, field) for field in CREDENTIALS)
        # separates what is cached for different rights; reveals nothing about the secret
        anonymous = self.id if self.credentialed else ANONYMOUS
        self.credential_id = self.credentials.id if self.credentials else anonymous
        self.tls = TlsFiles(
            options.cafile or "", bool(options.insecure), options.clientcert or "", options.clientkey or ""
        )

    @cached_property
    def pace(self) -> Pace:
        """Start values of the limiter for this instance's own host."""
        row, options = self.provider, self.options
        pace = PRIVATE if options.url and not row.hosts and self.url != row.url else row.pace
        return Pace(pace.rate, pace.burst, options.concurrency) if options.concurrency else pace

    def masked(self) -> dict[str, Any]:
        """All options that have a value, and the addresses that are in force; set secrets as `[REDACTED]`."""
        addresses = {"url": self.url, "authurl": self.authurl}
        return shown(self.options) | {key: value for key, value in addresses.items() if value}


AUTO_INSTANCE = Instance(AUTO, "public", RegistryOptions())


def instances_of(
    components: Iterable[Component[RegistryOptions]], left_out: Sequence[Problem]
) -> tuple[list[Instance], list[str]]:
    """All instances by id, and the reasons why some could not be registered.

    `left_out` are the problems of those that could not be read. Seeds (§1.3) are added for the types that have no
    instance with credentials; a `public` that was declared, well or not, replaces the seed.
    """
    good = [Instance(BY_TYPE[one.type], one.name, one.settings) for one in components]
    taken = {item.type for item in good if item.credentialed}
    declared = {item.id for item in good} | {problem.component.id for problem in left_out if problem.component}
    seeds = [
        Instance(row, "public", RegistryOptions())
        for row in PROVIDERS
        if row.seed and row.type not in taken and f"{row.type}.public" not in declared
    ]
    problems = [
        f"Error when registering component {problem.component.type} "
        f"({problem.variable}: {problem.message}{f'; {problem.hint}' if problem.hint else ''})"
        for problem in left_out
        if problem.component
    ]
    return sorted([*good, *seeds], key=lambda item: item.id), problems
