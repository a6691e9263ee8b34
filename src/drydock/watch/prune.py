"""What becomes of stored containers that an enumeration did not find (watching.md §5.8, B10)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from drydock.core.model import Container
from drydock.docker.api import Engine
from drydock.fleet.fleet import Fleet
from drydock.watch.discovery import Enumeration, still_exists
from drydock.watch.names import strip_alias


async def prune(engine: Engine, fleet: Fleet, stored: Sequence[Container], found: Enumeration) -> None:
    """Remove the vanished, replaced, unwatched and aliased; keep – with their new state – those that still exist."""
    names = {record.name for record in found.present}
    present = {record.id for record in found.present}
    for container in stored:
        if container.id in present or container.id in found.pending:
            continue
        if container.id in found.unwatched or container.id in found.skipped:
            await fleet.remove(container.id)
        elif strip_alias(container.name) in names:
            await fleet.remove(container.id, replacement_expected=True)
        else:
            await _keep_or_remove(engine, fleet, container)


async def _keep_or_remove(engine: Engine, fleet: Fleet, container: Container) -> None:
    exists, inspected = await still_exists(engine, container)
    if not exists:
        await fleet.remove(container.id, replacement_expected=True)
        return
    status = ((inspected or {}).get("State") or {}).get("Status")
    if status and status != container.status:
        await fleet.change(container.id, lambda now: msgspec.structs.replace(now, status=str(status)))
