"""Updates nobody asked for by hand: what a scan found, judged by threshold, window, mode and labels (updates.md §2.5)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from drydock.cooperative import Turns
from drydock.core.errors import Conflict, DrydockError
from drydock.core.model import Container, audit_key
from drydock.core.operation import Operation
from drydock.core.policy.automation import Access
from drydock.core.policy.eligibility import evaluate
from drydock.core.policy.thresholds import reaches
from drydock.core.update import update_kind
from drydock.events import ChecksFinished, MaturityCleared
from drydock.fleet.fleet import Fleet
from drydock.updates import admission
from drydock.updates.completion import Aftermath
from drydock.updates.service import ModeNow, UpdateService
from drydock.updates.targets import wanted_image

log = structlog.get_logger("updates.automatic")


class Automatic:
    """Subscribes to finished scans and opened maturity gates."""

    def __init__(
        self,
        service: UpdateService,
        fleet: Fleet,
        mode: ModeNow,
        window_open: Callable[[Container], bool | None],
        aftermath: Aftermath,
    ) -> None:
        self._service = service
        self._fleet = fleet
        self._mode = mode
        self._window_open = window_open
        self._aftermath = aftermath
        self._told: dict[str, str] = {}
        self._turn = asyncio.Lock()

    async def on_checks(self, event: ChecksFinished) -> None:
        """Every container of a scan."""
        turns = Turns()
        for report in event.reports:
            await self.consider(report.container.id)
            await turns.offer()

    async def on_mature(self, event: MaturityCleared) -> None:
        """A candidate became old enough."""
        await self.consider(event.container.id)

    async def consider(self, container_id: str) -> Operation | None:
        """Start the update of this container if everything allows it; says why not in the audit, once per change.

        One at a time: a finished scan and a candidate that matured may name the same container at the same moment.
        """
        async with self._turn:
            return await self._consider(container_id)

    async def _consider(self, container_id: str) -> Operation | None:
        container = self._fleet.get(container_id)
        if container is None or not self._fleet.has_update(container_id):
            return None
        access = admission.serving(container, self._service.eligibility(container))
        if access is None or access.policy.state != "auto" or await self._mode() != "auto":
            return None
        reason = await self._held_back(container, access)
        if reason is not None:
            log.debug("automatic.held_back", container=container.name, reason=reason)
            return None
        return await self._start(container)

    async def _held_back(self, container: Container, access: Access) -> str | None:
        action = self._service.actions.get(access.trigger.id)
        if action is None or not reaches(update_kind(container), action.threshold):
            return "threshold-not-reached"
        if self._window_open(container) is False:
            return "maintenance-window-closed"
        if action.once and await self._tried(container):
            return "already-tried"
        return None

    async def _tried(self, container: Container) -> bool:
        """One automatic attempt per candidate, also over restarts: the journal knows."""
        wanted = wanted_image(container)
        rows = await self._service.journal.of(audit_key(container), container.id)
        return any(
            r.source == "automatic" and (r.wanted.tag, r.wanted.digest) == (wanted.tag, wanted.digest) for r in rows
        )

    async def _start(self, container: Container) -> Operation | None:
        context = self._service.eligibility(container)
        blockers = evaluate(container, self._service.now_ms(), context).blockers
        try:
            if blockers:
                raise Conflict(blockers[0].message)
            return await self._service.request(container.id, source="automatic")
        except DrydockError as error:
            await self._tell(container, error.message)
        return None

    async def _tell(self, container: Container, message: str) -> None:
        key = audit_key(container)
        if self._told.get(key) != message:
            self._told[key] = message
            row = self._service.sketch(container)
            await self._aftermath.audit(row, "auto-update-blocked", "info", message)
