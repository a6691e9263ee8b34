"""Which instance serves an image (registries.md §2.4, §2.5, §3.5). Pure and total: a malformed host never raises."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from yarl import URL

from drydock.core.reference import canonical_host, try_parse
from drydock.registries.hosts import is_host, is_local_name, is_repository, official
from drydock.registries.instances import AUTO_INSTANCE, Instance
from drydock.registries.spec import HTTPS_BASE

UNKNOWN = "unknown"
PUBLIC_ECR = "public.ecr.aws"
_ECR_REGION = re.compile(r"[a-z0-9-]+\.dkr[.-]ecr\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|on\.aws)")


@dataclass(frozen=True)
class Route:
    """Where the questions about one image go.

    `host` and `repository` are those of the lookup, canonical; `name` is the repository as the API of this instance
    knows it (a path prefix in the configured URL removed). `instance_id` is `unknown` when nobody serves the host;
    `reason` says why this instance, or why none and what would help.
    """

    instance_id: str
    host: str
    repository: str
    api_base: str
    reason: str
    name: str = ""

    @property
    def known(self) -> bool:
        return self.instance_id != UNKNOWN


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


def ecr_region(host: str) -> str | None:
    """The region in an ECR host name."""
    match = _ECR_REGION.fullmatch(host)
    return match[1] if match else None


class Router:
    """Chooses among the instances, best claim first."""

    def __init__(self, instances: Sequence[Instance], *, auto: bool = True) -> None:
        self._instances = tuple(instances)
        self._auto = auto
        self.by_id = {instance.id: instance for instance in (*instances, AUTO_INSTANCE)}

    def route(self, host: str, repository: str, *, lookup: str | None = None) -> Route:
        """The route of an image; `instance_id` is `unknown` when nobody serves it."""
        target, path = lookup_target(host, repository, lookup)
        if not is_host(target) or not is_repository(path):
            return Route(UNKNOWN, target, path, "", "not a valid image name")
        instance, count = self._choose(target, path)
        if instance is not None:
            return _served(instance, target, path, f"{instance.id} claims {target} ({count} matched)")
        refusal = self._auto_refusal(target)
        if refusal is None:
            return _served(AUTO_INSTANCE, target, path, f"no instance claims {target}: asked anonymously")
        return Route(UNKNOWN, target, path, "", refusal)

    def _choose(self, host: str, repository: str) -> tuple[Instance | None, int]:
        claiming = [instance for instance in self._instances if claims(instance, host)]
        if not claiming:
            return None, 0
        return min(claiming, key=lambda instance: _rank(instance, host, repository)), len(claiming)

    def _auto_refusal(self, host: str) -> str | None:
        hint = f"declare it with DD_REGISTRY_CUSTOM_<NAME>_URL=https://{host}"
        if is_local_name(host):
            return f"no registry is configured for {host}, and private hosts are never asked unasked: {hint}"
        if not self._auto:
            return f"no registry is configured for {host} and DD_REGISTRIES_AUTO is false: {hint}"
        return None


def claims(instance: Instance, host: str) -> bool:
    """Whether an instance serves a canonical host: by the patterns of its type, or by its configured authority."""
    if instance.provider.hosts:
        return any(re.fullmatch(pattern, host) for pattern in instance.provider.hosts)
    return _is_authority(instance, host)


def _is_authority(instance: Instance, host: str) -> bool:
    """An image reference has no scheme: the default port is that of the configured URL's scheme."""
    return bool(instance.url) and canonical_host(f"{URL(instance.url or '').scheme}://{host}") == instance.authority


def _rank(instance: Instance, host: str, repository: str) -> tuple[object, ...]:
    exact = bool(instance.get("url")) and _is_authority(instance, host)
    region = instance.get("region")
    return (
        not exact,
        -len(_shared_prefix(instance, repository)),
        not (region and region == ecr_region(host)),
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
    return Route(instance.id, host, repository, base, reason, name)
