"""Labels of a Swarm service count for its containers (watching.md §5.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from drydock.core.compose_labels import SWARM_SERVICE
from drydock.core.errors import EngineError, EngineNotFound
from drydock.docker.api import Engine

log = structlog.get_logger("watcher")


class ServiceLabels:
    """Labels of services, inspected at most once each; make a new one for every scan."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[str, dict[str, str]] = {}

    async def effective(self, labels: Mapping[str, str] | None) -> dict[str, str]:
        """Container labels over the task template's over the service's own."""
        own = dict(labels or {})
        service_id = own.get(SWARM_SERVICE)
        if not service_id:
            return own
        if service_id not in self._known:
            self._known[service_id] = await self._inspect(service_id)
        return {**self._known[service_id], **own}

    async def _inspect(self, service_id: str) -> dict[str, str]:
        try:
            service = await self._engine.inspect_service(service_id)
        except EngineNotFound as error:
            log.debug("watcher.service_unknown", service=service_id, reason=error.message)
            return {}
        except EngineError as error:
            log.warning("watcher.service_unreadable", service=service_id, reason=error.message)
            return {}
        return merge(service.get("Spec") or {})


def merge(spec: Mapping[str, Any]) -> dict[str, str]:
    """Service labels under the labels of its task template."""
    template = ((spec.get("TaskTemplate") or {}).get("ContainerSpec") or {}).get("Labels") or {}
    return {**(spec.get("Labels") or {}), **template}
