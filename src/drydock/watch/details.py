"""Runtime facts of a container from the Engine's documents (watching.md §5.11, container-api.md §2.12)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from drydock.core.model import Details, EnvEntry, Health
from drydock.core.redact import is_sensitive
from drydock.core.times import from_iso, to_iso

HEALTHS: dict[str, Health] = {"starting": "starting", "healthy": "healthy", "unhealthy": "unhealthy"}
ZERO_TIME = "0001-"


def details(entry: Mapping[str, Any], inspected: Mapping[str, Any] | None, stored: Details | None) -> Details:
    """Ports, volumes, environment and start time: the inspect document wins over the list, the list over the stored."""
    from_inspect = inspected or {}
    old = stored or Details(ports=[], volumes=[], env=[])
    lines = (str(line).partition("=") for line in (from_inspect.get("Config") or {}).get("Env") or [])
    env = (EnvEntry(key=key.strip(), value=value, sensitive=is_sensitive(key)) for key, _, value in lines)
    return Details(
        ports=_unique(_inspect_ports(from_inspect)) or _unique(_list_ports(entry)) or old.ports,
        volumes=_unique(_volumes(from_inspect.get("Mounts"))) or _unique(_volumes(entry.get("Mounts"))) or old.volumes,
        env=list(dict.fromkeys(entry for entry in env if entry.key)) or old.env,
        started_at=started_at(from_inspect) if inspected is not None else old.started_at,
    )


def health(inspected: Mapping[str, Any]) -> Health | None:
    """Health of a container that has a health check, else None (Podman says "" without one)."""
    status = ((inspected.get("State") or {}).get("Health") or {}).get("Status")
    return HEALTHS.get(str(status))


def started_at(inspected: Mapping[str, Any]) -> str | None:
    """When the container was started last; None if never."""
    text = str((inspected.get("State") or {}).get("StartedAt") or "")
    if not text or text.startswith(ZERO_TIME):
        return None
    instant = from_iso(text)
    return to_iso(instant) if instant is not None else None


def _inspect_ports(inspected: Mapping[str, Any]) -> Iterator[str]:
    ports = (inspected.get("NetworkSettings") or {}).get("Ports") or {}
    for private, bindings in ports.items():
        if not bindings:
            yield private
        for binding in bindings or []:
            yield _bound(binding.get("HostIp"), binding.get("HostPort"), private)


def _list_ports(entry: Mapping[str, Any]) -> Iterator[str]:
    for port in entry.get("Ports") or []:
        private = f"{port.get('PrivatePort')}/{port.get('Type') or 'tcp'}"
        public = port.get("PublicPort")
        yield _bound(port.get("IP"), public, private) if public else private


def _bound(address: Any, public: Any, private: str) -> str:
    host = f"{address}:" if address else ""
    return f"{host}{public}->{private}"


def _volumes(mounts: Any) -> Iterator[str]:
    for mount in mounts or []:
        source = mount.get("Name") or mount.get("Source") or ""
        read_only = ":ro" if mount.get("RW") is False else ""
        yield f"{source}:{mount.get('Destination', '')}{read_only}"


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(stripped for text in texts if (stripped := text.strip())))
