"""Automatic updates: what a scan found, judged by threshold, window, mode and labels (updates.md §2.5)."""

from __future__ import annotations

import asyncio

import structlog

from drydock.cooperative import Turns
from drydock.core.errors import Conflict, DrydockError
from drydock.core.model import Container, audit_key
from drydock.core.operation import Operation
from drydock.core.policy.automation import Access
from drydock.core.policy.thresholds import reaches
from drydock.core.update import update_kind
from drydock.events import ChecksFinished, MaturityCleared
from drydock.kernel import Kernel
from drydock.updates.actions import Actions
from drydock.updates.admission import Admission
from drydock.updates.execution.journal import Journal
from drydock.updates.execution.reporting import OperationAudit
from drydock.updates.needs import Needs
from drydock.updates.target import new_operation, wanted_image

log = structlog.get_logger("updates.automatic")


class Automatic:
    """Listens to finished scans and opened maturity gates."""

    def __init__(
        self,
        kernel: Kernel,
        needs: Needs,
        admission: Admission,
        journal: Journal,
        actions: Actions,
        audit: OperationAudit,
    ) -> None:
        self._fleet = kernel.fleet
        self._clock = kernel.clock
        self._needs = needs
        self._admission = admission
        self._journal = journal
        self._actions = actions
        self._audit = audit
        self._told: dict[str, str] = {}
        """By container, the last reason that was logged: each is logged once."""
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
            container = self._fleet.get(container_id)
            if container is None or not self._fleet.has_update(container_id):
                return None
            access = self._admission.serving(container)
            if access is None or access.policy.state != "auto" or await self._needs.mode() != "auto":
                return None
            reason = await self._held_back(container, access)
            if reason is not None:
                log.debug("automatic.held_back", container=container.name, reason=reason)
                return None
            try:
                if (blocker := self._admission.blocker(container)) is not None:
                    raise Conflict(blocker)
                return await self._admission.request(container.id, source="automatic")
            except DrydockError as error:
                if self._told.get(audit_key(container)) != error.message:
                    self._told[audit_key(container)] = error.message
                    row = new_operation(container, self._clock.now_ms())  # never written: it did not begin
                    await self._audit.note(row, "auto-update-blocked", "info", error.message)
            return None

    async def _held_back(self, container: Container, access: Access) -> str | None:
        action = self._actions.get(access.trigger.id)
        if action is None or not reaches(update_kind(container), action.threshold):
            return "threshold-not-reached"
        if self._needs.watching.window_open(container) is False:
            return "maintenance-window-closed"
        if action.once:
            # One automatic attempt per candidate, also over restarts: the journal knows.
            wanted = wanted_image(container)
            for row in await self._journal.of(audit_key(container), container.id):
                same = (row.wanted.tag, row.wanted.digest) == (wanted.tag, wanted.digest)
                if same and row.source == "automatic":
                    return "already-tried"
        return None
