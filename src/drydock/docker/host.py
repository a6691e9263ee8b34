"""Who an Engine is and what it can do: its name, Docker or Podman, the gaps that callers must work around."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import structlog

from drydock.core.errors import EngineError
from drydock.docker.api import Document, EngineReader

log = structlog.get_logger("docker")

INFO_HINT = "A socket proxy needs INFO=1 for the server's name; DD_SERVER_NAME overrides it."


class EngineFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Identity and capabilities of an Engine.

    `name` is the host's own name, None when unknown; `default_runtime` comes with it. The flags say what a
    Docker Engine does by itself.
    """

    kind: Literal["docker", "podman"]
    version: str
    api_version: str
    os: str
    architecture: str
    name: str | None = None
    default_runtime: str | None = None
    changes_restart_policy: bool = True
    reports_health_events: bool = True
    runs_health_checks: bool = True


async def identify(engine: EngineReader) -> EngineFacts:
    """Ask the Engine who it is. Raises `EngineError` when it does not answer; a refused `/info` is only a warning."""
    version, info = await engine.version(), None
    try:
        info = await engine.info()
    except EngineError as error:
        log.warning("docker.name_unknown", reason=error.message, hint=INFO_HINT)
    return facts_from(version, info)


def facts_from(version: Document, info: Document | None = None) -> EngineFacts:
    """Facts from the `/version` and `/info` documents."""
    docker = not is_podman(version)
    return EngineFacts(
        kind="docker" if docker else "podman",
        version=_text(version, "Version"),
        api_version=_text(version, "ApiVersion"),
        os=_text(version, "Os"),
        architecture=_text(version, "Arch"),
        name=_text(info or {}, "Name") or None,
        default_runtime=_text(info or {}, "DefaultRuntime") or None,
        changes_restart_policy=docker,
        reports_health_events=docker,
        runs_health_checks=docker,
    )


def is_podman(version: Document) -> bool:
    """Podman names itself among the components of its `/version`."""
    components: Any = version.get("Components") or []
    return any(part.get("Name") == "Podman Engine" for part in components if isinstance(part, dict))


def _text(document: Document, key: str) -> str:
    value = document.get(key)
    return value.strip() if isinstance(value, str) else ""
