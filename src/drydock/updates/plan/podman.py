"""Podman's description of a container, in Docker's terms (updates.md §6; measured on Podman 4.3).

Podman resolves what the image left open into the container's own document, so that the comparison with the image would
take it for the operator's choice: `Entrypoint: []`, `WorkingDir: "/"`, signals as numbers, its own variables, the
image's health check with its defaults filled in. And it does not say which addresses were assigned manually.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from drydock.docker.api import Document

OWN_NETWORK = "podman"
_OWN_VARIABLES = ("container=podman", "TERM=xterm")
_CHECK_DEFAULTS = {"Interval": 30_000_000_000, "Timeout": 30_000_000_000, "Retries": 3, "StartPeriod": 0}
_NAMELESS = re.compile(r"[0-9a-f]{64}")
_SERVICE = ("system", "service")
_ADDRESS_OPTION = "ip="
"""`--network name:ip=10.0.0.9`"""


def as_docker(
    inspect: Document, source: Document | None, check: Document | None, command: Sequence[str]
) -> tuple[Document, list[str]]:
    """The inspect document as Docker would give it, and notes about what cannot be known.

    `source` is the `Config` of the image that runs, `check` its health check, `command` the command line that created
    the container (the service's own for one created over the API).
    """
    found = deepcopy(inspect)
    config, image = found["Config"], source or {}
    for name in ("Entrypoint", "Cmd"):
        if not config.get(name):
            config[name] = None
    if config.get("WorkingDir") == "/" and not image.get("WorkingDir"):
        config["WorkingDir"] = image.get("WorkingDir", "")
    if _signal(config.get("StopSignal")) == _signal(image.get("StopSignal") or "SIGTERM"):
        config.pop("StopSignal", None)
    own = set(_OWN_VARIABLES) - set(image.get("Env") or [])
    config["Env"] = [entry for entry in config.get("Env") or [] if entry not in own]
    if check is not None and _filled(config.get("Healthcheck") or {}) == _filled(check):
        config.pop("Healthcheck", None)
    return found, _keep_addresses(found, command)


def volumes_at_risk(inspect: Document) -> list[str]:
    """Where a container that removes itself has volumes without a name: Podman deletes them with its last user.

    They survive a good update. But a new container that dies at once takes them along (updates.md §0, I4).
    """
    if not (inspect.get("HostConfig") or {}).get("AutoRemove"):
        return []
    mounts = inspect.get("Mounts") or []
    return [mount["Destination"] for mount in mounts if _NAMELESS.fullmatch(str(mount.get("Name") or ""))]


def _signal(value: Any) -> str:
    """A signal's name, whether given by name or number; as it is where it is unknown."""
    text = str(value or "").upper()
    if text.isdecimal() and int(text) in {one.value for one in signal.Signals}:
        return signal.Signals(int(text)).name
    return text if text.startswith("SIG") or not text else f"SIG{text}"


def _filled(check: Mapping[str, Any]) -> Document:
    return {"Test": check.get("Test"), **{key: check.get(key) or value for key, value in _CHECK_DEFAULTS.items()}}


def _keep_addresses(found: Document, command: Sequence[str]) -> list[str]:
    """Keep the addresses, for a fixed one must not be lost; but not where the command line shows that none was requested."""
    by_service = not command or all(word in command for word in _SERVICE)
    if not by_service and not any(word.startswith("--ip") or _ADDRESS_OPTION in word for word in command):
        return []
    notes = []
    for name, facts in ((found.get("NetworkSettings") or {}).get("Networks") or {}).items():
        address = (facts or {}).get("IPAddress")
        if name == OWN_NETWORK or not address or facts.get("IPAMConfig"):
            continue
        facts["IPAMConfig"] = {"IPv4Address": address}
        if by_service:
            notes.append(f"Podman does not say whether {address} in network {name} was assigned manually: it was kept")
    return notes
