"""Adds release notes to records after a check, best effort (watching.md §7.12 step 6).

Only repositories that the record itself names are asked for; nobody is searched for in the background.
"""

from __future__ import annotations

import msgspec
import structlog

from drydock.core.errors import NotFound
from drydock.core.model import Container
from drydock.events import ContainerChecked, Event
from drydock.fleet.fleet import Fleet
from drydock.release_notes.service import ReleaseNotesService
from drydock.release_notes.source import source_of

log = structlog.get_logger("notes")


class Enricher:
    """Subscriber of finished checks."""

    def __init__(self, notes: ReleaseNotesService, fleet: Fleet) -> None:
        self._notes = notes
        self._fleet = fleet

    async def on_event(self, event: Event) -> None:
        """Look up what belongs to a checked container, and write it onto the record as it is then."""
        if not isinstance(event, ContainerChecked) or source_of(event.container) is None:
            return
        found = await self._notes.decorate(event.container)
        now = self._fleet.get(found.id)
        if now is not None and merged(now, found) != now:
            try:
                await self._fleet.change(now.id, lambda current: merged(current, found))
            except NotFound:
                log.debug("notes.container_gone", container=now.name)


def merged(current: Container, found: Container) -> Container:
    """`current` with the notes in `found`, as far as they are about the same tags."""
    changes: dict[str, object] = {"source_repo": found.source_repo}
    if current.image.tag.value == found.image.tag.value:
        changes["current_release_notes"] = found.current_release_notes
    if current.result and found.result and current.result.tag == found.result.tag:
        notes = found.result.release_notes
        changes["result"] = msgspec.structs.replace(current.result, release_notes=notes)
    return msgspec.structs.replace(current, **changes)
