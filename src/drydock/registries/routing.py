"""Which instance serves an image (registries.md §2.4, §2.5, §3.5). Pure and total: a malformed host never raises."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from yarl import URL

from drydock.core.errors import RegistryNotFound
from drydock.core.reference import canonical_host, is_host, is_repository, official, try_parse
from drydock.http.addresses import is_local_name
from drydock.registries.instances import AUTO_INSTANCE, Instance, authority
from drydock.registries.spec import HTTPS_BASE

UNKNOWN = "unknown"
PUBLIC_ECR = "public.ecr.aws"
_ECR_REGION = re.compile(r"[a-z0-9-]+\.dkr[.-]ecr\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|on\.aws)")


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
