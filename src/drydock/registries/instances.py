"""Registry instances, and which of them serves an image (registries.md §1.1–1.5, §2.4, §2.5, §3.5).

An instance is one configured (or seeded) member of a type. Routing is pure and total: a malformed host never raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from yarl import URL

from drydock.config.components import Component, Family, Member, shown
from drydock.config.source import Problem
from drydock.core.errors import RegistryNotFound
from drydock.core.reference import canonical_host, is_host, is_repository, official, try_parse
from drydock.http.addresses import is_local_name
from drydock.http.tls import TlsFiles
from drydock.registries.options import ANONYMOUS, COMMON, RegistryOptions
from drydock.registries.spec import AUTO, BY_TYPE, HTTPS_BASE, PRIVATE, PROVIDERS, Pace, Provider

KIND = "registry"
CREDENTIALS = (
    "password", "auth", "token", "apikey", "clientsecret", "privatekey", "accesskeyid", "secretaccesskey",
    "clientemail", "clientkey",
)  # fmt: skip
UNKNOWN = "unknown"
PUBLIC_ECR = "public.ecr.aws"
_ECR_REGION = re.compile(r"[a-z0-9-]+\.dkr[.-]ecr\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|on\.aws)")

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
        # a login alone does not count
        self.credentialed = any(getattr(options, field) for field in CREDENTIALS)
        self.credentials = provider.credentials(options) if self.credentialed else None
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


# routing


@dataclass(frozen=True)
class Route:
    """Where the questions about one image go.

    `host` and `repository` are those of the lookup, canonical; `name` is the repository as the API of this instance
    knows it (a path prefix in the configured URL removed). `instance` is None when none serves the host; `reason` says
    why this instance, or why none and what would help.
    """

    instance: Instance | None
    host: str
    repository: str
    reason: str
    api_base: str = ""
    name: str = ""

    @property
    def instance_id(self) -> str:
        """`unknown` when no instance serves the host."""
        return self.instance.id if self.instance else UNKNOWN

    @property
    def needed(self) -> Instance:
        """The instance. Raises `RegistryNotFound` when there is none."""
        if self.instance is None:
            raise RegistryNotFound(f"No Registry Provider found for {self.host}/{self.repository}", hint=self.reason)
        return self.instance

    @cached_property
    def authority(self) -> str:
        """Canonical host and port of the API: where credentials and client certificate belong."""
        return authority(URL(self.api_base))

    @cached_property
    def key(self) -> tuple[str, str, str]:
        """What answers are kept by: rights, host and repository. Raises `RegistryNotFound`."""
        return self.needed.credential_id, self.host, self.repository

    def url(self, rest: str) -> URL:
        """An address of the API about this repository."""
        return URL(f"{self.api_base}/{self.name}/{rest}", encoded=True)


def lookup_target(host: str, repository: str, lookup: str | None) -> tuple[str, str]:
    """Host and repository to ask: the image's own, or those of its override (§2.5). An unusable override is ignored."""
    own = canonical_host(host)
    own_target = own, official(own, repository)
    text = (lookup or "").strip()
    if not text:
        return own_target
    if "://" in text or ("/" not in text and ("." in text or ":" in text or text == "localhost")):
        other, path = canonical_host(text), repository
    else:
        other_image = try_parse(text)
        return (other_image.registry_host, other_image.repository) if other_image else own_target
    return (other, official(other, path)) if is_host(other) else own_target


class Router:
    """Chooses among the instances, best claim first."""

    def __init__(self, instances: Sequence[Instance], *, auto: bool = True) -> None:
        self._instances = tuple(instances)
        self._auto = auto

    def route(self, host: str, repository: str, *, lookup: str | None = None) -> Route:
        """The route of an image; its instance is None when none serves it."""
        target, path = lookup_target(host, repository, lookup)
        if not is_host(target) or not is_repository(path):
            return Route(None, target, path, "not a valid image name")
        claiming = [instance for instance in self._instances if claims(instance, target)]
        if claiming:
            best = min(claiming, key=lambda instance: _rank(instance, target, path))
            return _served(best, target, path, f"{best.id} claims {target} ({len(claiming)} matched)")
        hint = f"declare it with DD_REGISTRY_CUSTOM_<NAME>_URL=https://{target}"
        if is_local_name(target):
            reason = f"no registry is configured for {target}, and private hosts are never asked unasked: {hint}"
            return Route(None, target, path, reason)
        if not self._auto:
            reason = f"no registry is configured for {target} and DD_REGISTRIES_AUTO is false: {hint}"
            return Route(None, target, path, reason)
        return _served(AUTO_INSTANCE, target, path, f"no instance claims {target}: asked anonymously")


def claims(instance: Instance, host: str) -> bool:
    """Whether an instance serves a canonical host: by the patterns of its type, or by its configured authority."""
    if instance.provider.hosts:
        return any(re.fullmatch(pattern, host) for pattern in instance.provider.hosts)
    return _is_authority(instance, host)


def _is_authority(instance: Instance, host: str) -> bool:
    """An image reference has no scheme: the default port is that of the configured URL's scheme."""
    return bool(instance.url) and canonical_host(f"{URL(instance.url or '').scheme}://{host}") == instance.authority


def _rank(instance: Instance, host: str, repository: str) -> tuple[object, ...]:
    exact = bool(instance.options.url) and _is_authority(instance, host)
    region, found = instance.options.region, _ECR_REGION.fullmatch(host)
    return (
        not exact,
        -len(_shared_prefix(instance, repository)),
        not (region and found and region == found[1]),
        not instance.credentialed,
        instance.name,
        instance.type,
    )


def _shared_prefix(instance: Instance, repository: str) -> str:
    """The path of the configured URL, if the repository begins with it."""
    path = URL(instance.url).path.strip("/") if instance.url else ""
    return path if path and f"{repository}/".startswith(f"{path}/") else ""


def _served(instance: Instance, host: str, repository: str, reason: str) -> Route:
    prefix = _shared_prefix(instance, repository)
    name = repository[len(prefix) :].lstrip("/") or repository
    base = (instance.provider.base or HTTPS_BASE).format(host=host, url=instance.url)
    return Route(instance, host, repository, reason, base, name)
