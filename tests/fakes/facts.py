"""Plain facts of the Engine in memory: what a new container gets, and questions about documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Document = dict[str, Any]

HOST_DEFAULTS: Document = {
    "AutoRemove": False,
    "Binds": None,
    "IpcMode": "private",
    "KernelMemory": 0,
    "Links": None,
    "LogConfig": {"Type": "json-file", "Config": {}},
    "NetworkMode": "default",
    "PidMode": "",
    "PortBindings": {},
    "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
    "Runtime": "runc",
    "ShmSize": 67108864,
    "VolumesFrom": None,
}


def has(mounts: list[Document], mount: Document) -> bool:
    return any(other["Destination"] == mount["Destination"] for other in mounts)


def address(container: Document, network: str) -> str | None:
    facts = container["NetworkSettings"]["Networks"].get(network) or {}
    found: str | None = (facts.get("IPAMConfig") or {}).get("IPv4Address")
    return found


def host_ports(container: Document) -> set[str]:
    bindings = container["HostConfig"].get("PortBindings") or {}
    return {b["HostPort"] for entries in bindings.values() for b in entries or [] if b.get("HostPort")}


def filtered(found: list[Document], filters: dict[str, Sequence[str]]) -> list[Document]:
    """Entries of a list that the filters `label`, `name` and `id` let through."""
    for wanted in filters.get("label", []):
        key, equals, value = wanted.partition("=")
        found = [c for c in found if key in c["Labels"] and (not equals or c["Labels"][key] == value)]
    for wanted in filters.get("name", []):
        found = [c for c in found if wanted.lstrip("/^").rstrip("$") in c["Names"][0]]
    for wanted in filters.get("id", []):
        found = [c for c in found if c["Id"].startswith(wanted)]
    return found
