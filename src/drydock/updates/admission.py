"""May this container be updated now? The checks of updates.md §2.1, in their order; the first that hits answers.

`Admission` is the one place where rows of updates are written; who carries them out is `queue`.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from typing import Any

import structlog

from drydock.config.load import Settings
from drydock.core.errors import BadRequest, Conflict, EngineError, Forbidden, NotFound
from drydock.core.model import Container, audit_key
from drydock.core.operation import Operation, active_view
from drydock.core.policy.automation import Access, choose, compatible, update_triggers
from drydock.core.policy.eligibility import EligibilityContext, evaluate
from drydock.core.temporary import is_temporary
from drydock.core.times import from_iso
from drydock.core.update import has_raw_update, update_kind
from drydock.events import ContainerAction
from drydock.fleet.fleet import UpdateFacts
from drydock.kernel import Kernel
from drydock.updates.actions import Actions
from drydock.updates.compose.locate import fitting
from drydock.updates.needs import Needs
from drydock.updates.plan.preflight import SECOND_MANAGER, SECOND_MANAGER_MS, made_lately_by
from drydock.updates.queue import Queue
from drydock.updates.self_update.identity import OwnContainer
from drydock.updates.settings import ActionLabelSettings
from drydock.updates.target import new_operation

log = structlog.get_logger("updates")

_MISSING_ACTION = frozenset({"no-update-trigger-configured", "agent-mismatch"})
NO_ACTION = "No docker trigger found for this container"


class Admission:
    """Says whether a container may be updated, and accepts its update."""

    def __init__(
        self, kernel: Kernel, settings: Settings, needs: Needs, queue: Queue, actions: Actions, own: OwnContainer
    ) -> None:
        self._fleet = kernel.fleet
        self._clock = kernel.clock
        self._bus = kernel.bus
        self._labels_strict = settings[ActionLabelSettings].strict
        self._needs = needs
        self._queue = queue
        self._actions = actions
        self._own = own

    # ── facts ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def eligibility(self, container: Container) -> EligibilityContext:
        """Facts for `core.policy.eligibility`; shown with the container, and used to admit."""
        active = self._queue.active(container)
        return EligibilityContext(
            triggers=fitting(self._actions.all(), container.labels),
            active_operation=active_view(active) if active else None,
            is_self=self._own.is_self(container),
            self_update_possible=self._own.possible(container),
            labels_strict=self._labels_strict,
            window_open=self._needs.watching.window_open(container),
            gate_enabled=self._needs.gate_enabled,
            block_severities=self._needs.block_severities,
        )

    def facts(self, container: Container) -> UpdateFacts:
        """The same, and the active operation, for the container's view."""
        context = self.eligibility(container)
        return context, context.active_operation

    def serving(self, container: Container) -> Access | None:
        """The action that carries out an update of this container, whether asked by hand or automatic."""
        ranked = compatible(update_triggers(self.eligibility(container).triggers), container)
        return choose(ranked, container, update_kind(container))

    def need_action(self, container: Container) -> str:
        """Id of the action that serves the container; 404 when none does."""
        access = self.serving(container)
        if access is None:
            raise NotFound(NO_ACTION)
        return access.trigger.id

    # ── checks ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def check_enabled(self) -> None:
        """Check 1."""
        if not self._needs.actions_enabled:
            raise Forbidden("Container actions are disabled", hint="Set DD_SERVER_FEATURE_CONTAINERACTIONS=true.")

    async def check(self, container: Container) -> None:
        """Checks 3 to 8: raises the answer that a manual request would get."""
        await self._own.learn(container.host)
        if is_temporary(container.name):
            raise Conflict("Cannot update temporary rollback container")
        self._queue.check_idle(container)
        if await self._needs.mode() == "notify":
            raise Conflict("Update mode is notify; Drydock will not apply updates")
        if not has_raw_update(container, raw_tags=True):
            raise BadRequest("No update available for this container")
        blockers = evaluate(container, self._clock.now_ms(), self.eligibility(container)).blockers
        hard = next((blocker for blocker in blockers if blocker.severity == "hard"), None)
        if hard is not None and hard.reason in _MISSING_ACTION:
            raise NotFound(NO_ACTION, hint=hard.action_hint)
        if hard is not None:
            raise Conflict(hard.message, hint=hard.action_hint)
        await self._refuse_second_manager(container)

    async def _refuse_second_manager(self, container: Container) -> None:
        """`Conflict` while another manager works on the container (updates.md §9.5, row 18).

        Only one that started lately can be young. An Engine that does not answer is left to the operation itself,
        which asks again.
        """
        now = self._clock.now_ms()
        started = from_iso(container.details.started_at if container.details else None)
        if started is not None and now - started >= SECOND_MANAGER_MS:
            return
        try:
            document = await self._needs.hosts.of(container).reader.inspect_container(container.id)
        except EngineError as error:
            log.info("update.not_looked_at", container=container.name, error=error.message)
            return
        made_by = made_lately_by(document, now)
        if made_by is not None and await self._queue.journal.get(made_by) is None:
            raise Conflict(SECOND_MANAGER)

    def blocker(self, container: Container) -> str | None:
        """What holds an automatic update back, soft blockers included."""
        blockers = evaluate(container, self._clock.now_ms(), self.eligibility(container)).blockers
        return blockers[0].message if blockers else None

    async def refuse_self(self, container: Container) -> None:
        """`Conflict` for what this process cannot do to its own container."""
        await self._own.learn(container.host)
        if self._own.by_helper(container):
            raise Conflict(
                "Drydock cannot roll back what it runs on",
                hint="Set the image of the wanted version in the Compose file, or recreate the container from outside.",
            )

    # ── accepting ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def request(self, container_id: str, *, source: str = "manual", trigger_id: str | None = None) -> Operation:
        """Admit and queue the update of one container (updates.md §2.1). Raises the answer of the first failing check.

        `trigger_id` names the action that carries it out, where the caller chose one.
        """
        self.check_enabled()
        container = self._fleet.need(container_id)
        operation = await self.accept(container, source=source, trigger_id=trigger_id)
        self._queue.dispatch(operation)
        return operation

    async def accept(
        self, container: Container, *, source: str = "manual", trigger_id: str | None = None, **fields: Any
    ) -> Operation:
        """Admit one container and write its row; nothing is started. Of several who ask at once one is admitted."""
        async with self._queue.locks.hold([f"admission:{audit_key(container)}"], permit=False):
            await self.check(container)
            action = self._actions.get(trigger_id or self.need_action(container))
            operation = new_operation(
                container,
                self._clock.now_ms(),
                source=source,
                kind="self-update" if self._own.is_self(container) else "container-update",
                by_helper=self._own.by_helper(container),
                trigger_name=action.id if action else None,
                dry_run=bool(action and action.dry_run),
                **fields,
            )
            row = await self._queue.insert(operation)
        if source == "manual":
            self._bus.publish(ContainerAction(action="container-update"))
        return row

    async def accept_many(self, containers: Sequence[Container], restarts: Collection[str]) -> list[Operation]:
        """Write the rows of containers that were admitted; two or more share a batch. `restarts` are only restarted."""
        batch: dict[str, Any] = {}
        if len(containers) > 1:
            batch = {"batch_id": str(uuid.uuid4()), "queue_total": len(containers)}
        rows: list[Operation] = []
        for place, container in enumerate(containers, 1):
            fields = {**batch, "queue_position": place} if batch else {}
            if container.id in restarts:
                row = new_operation(container, self._clock.now_ms(), restart_only=True, **fields)
                rows.append(await self._queue.insert(row))
            else:
                rows.append(await self.accept(container, **fields))
        return rows
