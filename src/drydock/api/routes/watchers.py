"""`/api/v1/watchers` (platform-api.md §7)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from drydock.api import components
from drydock.api.request import ApiRequest
from drydock.api.services import Component
from drydock.core.model import ContainerView


def watchers(request: ApiRequest) -> Sequence[Component]:
    """The watchers, each with the counts of its containers."""
    by_place: dict[tuple[str, str | None], list[ContainerView]] = {}
    for view in request.services.fleet.views():
        by_place.setdefault((view.watcher, view.agent), []).append(view)
    return [
        _counted(item, by_place.get((item.name, item.agent), [])) for item in request.services.watching.components()
    ]


def _counted(item: Component, views: Iterable[ContainerView]) -> Component:
    found = list(views)
    running = sum(view.status.lower() == "running" for view in found)
    counts: dict[str, Any] = {
        "containers": {
            "total": len(found),
            "running": running,
            "stopped": len(found) - running,
            "updatesAvailable": sum(view.update_available for view in found),
        },
        "images": len({view.image.id or view.image.name or view.id for view in found}),
    }
    known = {} if item.metadata is msgspec.UNSET else item.metadata
    return msgspec.structs.replace(item, metadata={**known, **counts})


router = components.routes("watchers", watchers)
