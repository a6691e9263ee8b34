"""What an executor needs besides Engine and journal, put together (`executor.Surroundings`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import structlog

from drydock.core.compose_labels import SERVICE
from drydock.core.operation import FileEdit, Operation
from drydock.docker.api import Engine, PullAuth
from drydock.docker.own import OwnFolders
from drydock.updates.actions import Actions
from drydock.updates.backups import Backups
from drydock.updates.compose.files import write_edit
from drydock.updates.compose.project import NOTHING, FilesPlan, plan_files
from drydock.updates.effects import StepFailed
from drydock.updates.executor import OnPhase
from drydock.updates.hooks import Hooks

GOOD = frozenset({"compose-updated"})
"""Notices of what went well."""

log = structlog.get_logger("updates")

Document = dict[str, Any]


class Verdict(Protocol):
    """What the security gate says: `reason` is for people."""

    @property
    def allowed(self) -> bool: ...

    @property
    def reason(self) -> str: ...


class Gate(Protocol):
    """The security gate (security.md §4)."""

    async def verify(self, operation: Operation, reference: str) -> Verdict:
        """Before the pull: the signature."""
        ...

    async def check(self, operation: Operation, reference: str, image_id: str, on_phase: OnPhase) -> Verdict:
        """Scan a pulled image and judge it by the policy in force."""
        ...


class ScanBlocked(StepFailed):
    """The security gate does not let this image pass."""

    code = "security-scan-blocked"


class NoGate:
    """No scanner is configured: everything passes."""

    allowed = True
    reason = "not configured"

    async def verify(self, operation: Operation, reference: str) -> Verdict:
        """Always passes."""
        del operation, reference
        return self

    async def check(self, operation: Operation, reference: str, image_id: str, on_phase: OnPhase) -> Verdict:
        """Always passes."""
        del operation, reference, image_id, on_phase
        return self


class PlanSurroundings:
    """Implements `executor.Surroundings`."""

    def __init__(
        self,
        *,
        pull_auth: Callable[[str], Awaitable[PullAuth | None]],
        gate: Gate,
        hooks: Hooks,
        backups: Backups,
        actions: Actions,
        engine_for: Callable[[str, str | None], Engine],
        folders: OwnFolders,
        tell: Callable[[Operation, str, str], None],
    ) -> None:
        self._pull_auth = pull_auth
        self._gate = gate
        self._hooks = hooks
        self._backups = backups
        self._actions = actions
        self._engine_for = engine_for
        self._folders = folders
        self._tell = tell

    async def pull_auth(self, reference: str) -> PullAuth | None:
        """Credentials for a pull, or None to try without."""
        return await self._pull_auth(reference)

    async def pre_hook(self, operation: Operation, container: Document) -> None:
        """Hooks are for updates only: not for rollbacks, dry runs or dependents, and never again in recovery."""
        for_updates = operation.kind == "container-update" and not operation.by_helper
        if for_updates and operation.source != "dependent" and not operation.recovered_at:
            await self._hooks.pre(operation, container["Config"].get("Labels") or {})

    async def verify(self, operation: Operation, reference: str) -> None:
        """Raises `ScanBlocked` when the signature does not satisfy."""
        _pass(await self._gate.verify(operation, reference))

    async def scan(self, operation: Operation, reference: str, image_id: str, on_phase: OnPhase) -> None:
        """Raises `ScanBlocked` with the gate's reason."""
        _pass(await self._gate.check(operation, reference, image_id, on_phase))

    async def plan_files(self, operation: Operation, container: Document) -> FilesPlan:
        """See `compose.project.plan_files`."""
        config = container["Config"]
        labels: dict[str, str] = config.get("Labels") or {}
        action = self._actions.get(operation.trigger_name)
        guessing = action is not None and action.file is not None
        if SERVICE not in labels and not guessing:
            return NOTHING
        translate = await self._folders.of(self._engine_for(operation.watcher, operation.agent))
        return await plan_files(operation, action, labels, config["Image"], translate)

    async def save_backup(self, operation: Operation, container: Document, image: Document) -> str | None:
        """See `Backups.make`."""
        return await self._backups.make(operation, container, image)

    async def write_file(self, edit: FileEdit) -> None:
        """See `compose.files.write_edit`."""
        await write_edit(edit)

    def notice(self, operation: Operation, action: str, text: str) -> None:
        """Log, and hand on to whoever writes the audit."""
        say = log.info if action in GOOD else log.warning
        say("update.notice", operation=operation.id, action=action, text=text)
        self._tell(operation, action, text)


def _pass(verdict: Verdict) -> None:
    if not verdict.allowed:
        raise ScanBlocked(verdict.reason)
