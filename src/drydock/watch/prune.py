"""What becomes of stored containers that an enumeration did not find (watching.md §5.8, B10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog

from drydock.core.errors import EngineError, EngineNotFound, NotFound
from drydock.core.model import Container
from drydock.docker.api import EngineReader
from drydock.fleet.fleet import Fleet
from drydock.watch.discovery import Discovery, Enumeration
from drydock.watch.names import strip_alias

log = structlog.get_logger("watcher")


async def prune(discovery: Discovery, fleet: Fleet, found: Enumeration, stored: Sequence[Container]) -> None:
    """Remove the vanished, replaced, unwatched and aliased; keep – with their new state – those that still exist."""
    doubtful: list[Container] = []
    names = {record.name for record in found.present}
    for container in stored:
        if container.id in found.seen:
            continue
        if container.id in found.unwatched or container.id in found.skipped:
            await fleet.remove(container.id)
        elif strip_alias(container.name) in names:
            await fleet.remove(container.id, replacement_expected=True)
        else:
            doubtful.append(container)
    if not doubtful:
        return

    # one list of every state covers most of them: only those that it lacks are requested by id
    try:
        listed = {str(entry.get("Id")): entry for entry in await discovery.host.reader.list_containers(all=True)}
    except EngineError as error:
        log.debug("watcher.not_pruned", reason=error.message)
        return
    for container in doubtful:
        entry = listed.get(container.id)
        if entry is not None and not await discovery.is_watched(entry):
            await fleet.remove(container.id)
        elif entry is not None:
            await _note_state(fleet, container, entry.get("State"))
        elif not await _still_exists(discovery.host.reader, container):
            await fleet.remove(container.id, replacement_expected=True)


async def prune_same_source(fleet: Fleet, found: Enumeration, others: Sequence[Container]) -> None:
    """Remove stale records that another watcher of the same Engine holds under a name found now (§1.3)."""
    names = {record.name for record in found.present}
    for container in others:
        if container.id not in found.seen and strip_alias(container.name) in names:
            await fleet.remove(container.id, replacement_expected=True)


async def _note_state(fleet: Fleet, container: Container, status: Any) -> None:
    if not status or status == container.status:
        return
    try:
        await fleet.change(container.id, lambda now: msgspec.structs.replace(now, status=str(status)))
    except NotFound:  # an event or a request removed it while the Engine was asked
        log.debug("watcher.container_gone", container=container.name)


async def _still_exists(reader: EngineReader, container: Container) -> bool:
    """Only a clear 404 counts as gone: any other failure keeps the record."""
    try:
        inspected: Mapping[str, Any] = await reader.inspect_container(container.id)
    except EngineNotFound:
        return False
    except EngineError as error:
        log.debug("watcher.container_unreadable", container=container.name, reason=error.message)
        return True
    return bool(inspected)
