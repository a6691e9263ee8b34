"""Which token server may be asked, and which may see credentials (registries.md §5.4). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from yarl import URL

from drydock.core.errors import RegistryAuthFailed
from drydock.registries.faults import clean
from drydock.registries.hosts import authority, origin
from drydock.registries.instances import AUTO_INSTANCE, Instance
from drydock.registries.routing import PUBLIC_ECR


@dataclass(frozen=True)
class Trust:
    """`credentials`: may be sent. `guarded`: only public addresses may be connected to."""

    credentials: bool
    guarded: bool


def judge(realm: URL, request: URL, instance: Instance) -> Trust:
    """What a realm named by the server behind `request` may see. Raises `RegistryAuthFailed` if it may not be asked."""
    auto = instance == AUTO_INSTANCE
    if origin(realm) == origin(request):
        return Trust(credentials=not auto, guarded=auto)
    if realm.scheme != "https" and request.scheme == "https":
        raise _refused(realm, instance, "it is not https while the registry is")
    if not auto and _named(realm, request, instance):
        return Trust(credentials=True, guarded=False)
    if realm.scheme != "https" and realm.host != request.host:
        raise _refused(realm, instance, "it is another host without https")
    if instance.credentialed and authority(request) != PUBLIC_ECR:
        raise _refused(realm, instance, "it is not the registry's own host, so it must not see the credentials")
    return Trust(credentials=False, guarded=auto or realm.host != request.host)


def _named(realm: URL, request: URL, instance: Instance) -> bool:
    """Whether the operator (AUTHURL) or the type's own list names this realm; exact, port included."""
    host = authority(realm)
    if instance.authurl and host == authority(URL(instance.authurl)):
        return True
    region = re.escape(_region(request.host or ""))
    return any(re.fullmatch(pattern.replace("{region}", region), host) for pattern in instance.provider.realms)


def _region(host: str) -> str:
    """The label before the provider's domain: `registry.cn-hangzhou.aliyuncs.com` → `cn-hangzhou`."""
    labels = host.split(".")
    return next((label for label in labels[1:] if "-" in label), labels[1] if len(labels) > 1 else "")


def _refused(realm: URL, instance: Instance, why: str) -> RegistryAuthFailed:
    variable = f"DD_REGISTRY_{instance.type}_{instance.name}_AUTHURL".upper()
    return RegistryAuthFailed(
        f"Token server {clean(authority(realm))} is not trusted for {instance.id}: {why}. {variable} would allow it.",
        hint=f"set {variable} if this token server is yours",
    )
