"""`/api/v1/watchers` (platform-api.md §7)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from litestar import post
from litestar.params import FromPath

from drydock.api import components
from drydock.api.access import WATCH
from drydock.api.components import find
from drydock.api.openapi import document, problems
from drydock.api.request import ApiRequest
from drydock.core.component import Component
from drydock.core.errors import NotSupported
from drydock.core.model import ContainerView
from drydock.fleet.fleet import Fleet
from drydock.watch.service import WatchService

_RUN: dict[str, Any] = {
    "opt": WATCH,
    "status_code": 200,
    "responses": problems(404, 501, _200=document(Component, "The watcher after its check")),
}


def listed(watching: WatchService, fleet: Fleet) -> list[Component]:
    """The watchers, each with the counts of its containers."""
    by_place: dict[tuple[str, str | None], list[ContainerView]] = {}
    for view in fleet.views():
        by_place.setdefault((view.watcher, view.agent), []).append(view)
    return [_counted(item, by_place.get((item.name, item.agent), [])) for item in watching.components()]


def _listed(request: ApiRequest) -> list[Component]:
    return listed(request.services.watching, request.services.fleet)


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


@post("/{type:str}/{name:str}/watch", **_RUN)
async def watch(request: ApiRequest, type: FromPath[str], name: FromPath[str]) -> Component:
    """Check every container of one watcher now, and answer with the watcher."""
    found = find(_listed(request), type, name, None)
    await request.services.watching.watch_watcher(found.name)
    return find(_listed(request), type, name, None)


@post("/{type:str}/{name:str}/{agent:str}/watch", **_RUN)
async def watch_through(
    request: ApiRequest, type: FromPath[str], name: FromPath[str], agent: FromPath[str]
) -> Component:
    """The same for a watcher of an agent. This process knows none yet."""
    find(_listed(request), type, name, agent)
    raise NotSupported("The agent cannot be asked to watch")


router = components.routes("watchers", _listed, watch, watch_through)
