"""The record of one update, and what may follow what (updates.md §3; container-api.md §8.1).

Here lives the row that the journal keeps, its statuses and phases, and the form that leaves the server. Who writes it
is `updates/`; how it is stored is `store/operations.py`.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

from drydock.core import labels
from drydock.core.audit import Requester
from drydock.core.errors import DrydockError
from drydock.core.model import ActiveOperation, Container, HostKey
from drydock.core.times import to_iso

Status = Literal["queued", "in-progress", "succeeded", "rolled-back", "failed", "expired", "skipped-dependency"]
Kind = Literal["container-update", "self-update", "container-rollback"]

ACTIVE: frozenset[str] = frozenset({"queued", "in-progress"})

PHASES: tuple[str, ...] = (
    "queued",
    "pulling",
    "scanning",
    "sbom-generating",
    "prepare",
    "renamed",
    "new-created",
    "old-stopped",
    "new-started",
    "health-gate",
    "health-gate-passed",
    "rollback-started",
    "rollback-deferred",
)
"""Phases of an active row, in order; only `rollback-*` may be entered from anywhere (updates.md §3.3)."""

PHASES_OF: dict[str, frozenset[str]] = {
    "queued": frozenset({"queued"}),
    "in-progress": frozenset(PHASES[1:]),
    "succeeded": frozenset({"succeeded", "dryrun", "recovered-cleanup-temp", "recovered-active"}),
    "rolled-back": frozenset({"rolled-back", "recovered-rollback"}),
    "failed": frozenset(
        {"failed", "pull-failed", "rollback-failed", "recovery-failed", "recovery-missing-containers"},
    ),
    "expired": frozenset({"expired"}),
    "skipped-dependency": frozenset({"skipped-dependency"}),
}

ROLLBACK_REASONS: dict[str, str] = {
    "create_new_failed": "Failed to create the new container",
    "stop_old_failed": "Failed to stop the old container",
    "start_new_failed": "New container failed to start",
    "health_gate_failed": "Health check failed",
    "post_start_failed": "Compose post_start hook failed",
    "compose_write_failed": "Compose file could not be written",
    "cancelled": "Cancelled by operator",
    "interrupted": "Interrupted by a restart",
    "auto_rollback": "Health check failed after the update",
    "manual": "Manual rollback",
}
"""Codes (metrics, logs, journal) and what people read (updates.md §3.1)."""

OPERATION_LABEL = labels.UPDATE_OPERATION
"""Put on every container that an update creates; makes an orphan recognisable (updates.md §6.4)."""

REBUILT_LABEL = labels.UPDATE_REBUILT
"""Put on an old container that had to be created anew from its saved specification."""

INTERNAL_LABELS: frozenset[str] = labels.OWN
"""Never shown in `labels` of the API."""

BACKUP_REPOSITORY = "drydock-backup"
"""Repository prefix of the tags that keep replaced images; never shown (updates.md §8.1)."""


class InvalidTransition(DrydockError):
    """An operation was asked to move where it cannot go: a fault of the program, never of the user."""

    code = "invalid-transition"


class ImageWanted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The image an operation is to install.

    `reference` is what the new container shows, spelled like the old one's once that is known (`tag` is its tag). `image_id` wins when it is present on the host (rollback, recreation of
    a dependent); else `sources` are pulled in order until one answers. With no `image_id`, `reference` is pulled.
    """

    reference: str
    tag: str | None = None
    image_id: str | None = None
    sources: list[str] = []
    digest: str | None = None


class Dependent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A container that shares a namespace of the one being replaced (updates.md §12.4)."""

    id: str
    name: str
    running: bool = False


class FileEdit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One Compose (or `.env`) file that changes with the update (updates.md §11.5). Texts are byte-exact."""

    path: str
    before: str
    after: str
    sha_before: str
    sha_after: str
    backup: bool = False


class PostStart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One `post_start` command of a Compose service; `user` and `working_dir` are the container's own unless set."""

    command: list[str]
    environment: list[str] = []
    user: str | None = None
    working_dir: str | None = None
    privileged: bool = False


class Operation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One row of the journal. Times are epoch milliseconds; `public` renders them.

    Everything below the second blank line is private: it is needed for recovery and never leaves the server.
    `by_helper`: this process cannot do it alone, for it would stop itself or its way to the Engine (updates.md §13).
    """

    id: str
    container_id: str
    container_name: str
    status: Status
    phase: str
    created_at: int
    updated_at: int
    watcher: str
    agent: str | None = None
    kind: Kind = "container-update"
    trigger_name: str | None = None
    from_version: str | None = None
    to_version: str | None = None
    target_image: str | None = None
    rollback_code: str | None = None
    last_error: str | None = None
    batch_id: str | None = None
    queue_position: int | None = None
    queue_total: int | None = None
    cancel_requested: bool = False
    completed_at: int | None = None
    recovered_at: int | None = None
    recovery: str | None = None
    old_container_id: str | None = None
    new_container_id: str | None = None
    old_name: str | None = None
    temp_name: str | None = None
    old_container_was_running: bool | None = None
    old_container_stopped: bool | None = None
    skipped_dependency_reason: Literal["upstream-failed", "waiting-on-dependency-window"] | None = None
    blocking_container_id: str | None = None
    blocking_operation_id: str | None = None

    source: Literal["manual", "automatic", "dependent", "monitor"] = "manual"
    requested_by: Requester | None = None
    """Who requested it; None for what Drydock does automatically. For the audit log only."""
    wanted: ImageWanted
    container: Container | None = None
    dry_run: bool = False
    restart_only: bool = False
    pull: bool = True
    old_spec: dict[str, Any] | None = None
    new_spec: dict[str, Any] | None = None
    networks_to_connect: dict[str, dict[str, Any]] = {}
    old_image_id: str | None = None
    old_repo_digests: list[str] = []
    old_restart_policy: dict[str, Any] | None = None
    target_image_id: str | None = None
    auto_remove: bool = False
    intent: str | None = None
    intent_target: str | None = None
    stop_in_doubt: bool = False
    stuck_container_id: str | None = None
    dependents: list[Dependent] = []
    dependents_due: bool = False
    follow_up_due: bool = False
    started_once: bool = False
    revived_once: bool = False
    edits: list[FileEdit] = []
    post_start: list[PostStart] = []
    service: str | None = None
    warnings: list[str] = []
    backup_id: str | None = None
    monitor_until: int | None = None
    monitor_image_id: str | None = None
    attempt: int = 0
    owner_boot_id: str | None = None
    secret_hash: str | None = None
    by_helper: bool = False
    helper_id: str | None = None

    @property
    def active(self) -> bool:
        """Whether the operation is queued or running."""
        return self.status in ACTIVE

    @property
    def key(self) -> str:
        """`agent::watcher::name`: what operations, history and backups belong to."""
        return self.host.container(self.container_name)

    @property
    def host(self) -> HostKey:
        """The host it changes."""
        return HostKey(self.agent, self.watcher)


def advance(operation: Operation, now_ms: int, **changes: Any) -> Operation:
    """The row after `changes`, checked against updates.md §3.3; `updated_at` is strictly later at every phase.

    Raises `InvalidTransition` when a terminal row would become active, when status and phase do not fit, or when a
    phase would go backwards (leaving `rollback-*` is only possible to a terminal status). A second terminal write is
    ignored: the row comes back as it is.
    """
    status = changes.get("status", operation.status)
    phase = changes.get("phase", operation.phase)
    if not operation.active:
        if status in ACTIVE and (status, phase) != (operation.status, operation.phase):
            raise InvalidTransition(f"Operation {operation.id} is already {operation.status}")
        allowed = {name: value for name, value in changes.items() if name in _AFTERWARDS}
        return msgspec.structs.replace(operation, **allowed)
    if phase not in PHASES_OF[status]:
        raise InvalidTransition(f"Phase {phase} does not belong to status {status}")
    anywhere = operation.phase == "queued" or phase.startswith("rollback-")
    if status == "in-progress" and not anywhere and PHASES.index(phase) < PHASES.index(operation.phase):
        raise InvalidTransition(f"Phase {phase} cannot follow {operation.phase}")
    if (status, phase) != (operation.status, operation.phase):
        changes["updated_at"] = max(now_ms, operation.updated_at + 1)
    if status not in ACTIVE:
        changes["completed_at"] = max(now_ms, operation.updated_at + 1)
        changes["intent"] = None
        changes.setdefault("follow_up_due", status not in ("expired", "skipped-dependency"))
    return msgspec.structs.replace(operation, **changes)


_AFTERWARDS = frozenset(
    {
        "recovery",
        "recovered_at",
        "old_container_id",
        "stuck_container_id",
        "dependents_due",
        "follow_up_due",
        "monitor_until",
        "monitor_image_id",
        "old_spec",
        "new_spec",
        "warnings",
        "edits",
    },
)
"""What may still change on a terminal row: notes for later work, never its status, phase or texts."""


def requeued(operation: Operation, now_ms: int) -> Operation:
    """The row put back into the queue by recovery: the only way back, for operations that changed nothing yet."""
    return msgspec.structs.replace(
        operation,
        status="queued",
        phase="queued",
        updated_at=max(now_ms, operation.updated_at + 1),
        attempt=operation.attempt + 1,
        intent=None,
        temp_name=None,
    )


_PLAIN = (
    "id",
    "kind",
    "container_name",
    "container_id",
    "status",
    "phase",
    "agent",
    "watcher",
    "trigger_name",
    "from_version",
    "to_version",
    "target_image",
    "old_container_id",
    "new_container_id",
    "old_name",
    "temp_name",
    "old_container_was_running",
    "old_container_stopped",
    "recovery",
    "skipped_dependency_reason",
    "blocking_container_id",
    "blocking_operation_id",
)
_TIMES = ("created_at", "updated_at", "completed_at", "recovered_at")
_BATCH = ("batch_id", "queue_position", "queue_total")


def public(operation: Operation) -> dict[str, Any]:
    """The operation as it leaves the server (container-api.md §8.1): no specification, no snapshot, no secret."""
    fields: dict[str, Any] = {_camel(name): getattr(operation, name) for name in _PLAIN}
    fields |= {_camel(name): _iso(getattr(operation, name)) for name in _TIMES}
    if operation.active:
        fields |= {_camel(name): getattr(operation, name) for name in _BATCH}
    if operation.cancel_requested:
        fields["cancelRequested"] = True
    if operation.status == "rolled-back" and operation.rollback_code:
        fields["rollbackReason"] = ROLLBACK_REASONS.get(operation.rollback_code, operation.rollback_code)
    if operation.status == "failed":
        fields["lastError"] = operation.last_error or "Unknown error"
    elif operation.status in ("rolled-back", "expired", "skipped-dependency"):
        fields["detail"] = operation.last_error
    if operation.warnings:
        fields["warnings"] = operation.warnings
    return {name: value for name, value in fields.items() if value is not None}


def active_view(operation: Operation) -> ActiveOperation:
    """The `updateOperation` of a container (container-api.md §2.10)."""
    batch = operation.queue_position and operation.queue_total and operation.queue_position <= operation.queue_total
    return ActiveOperation(
        id=operation.id,
        status="queued" if operation.status == "queued" else "in-progress",
        phase=operation.phase,
        updated_at=_iso(operation.updated_at) or "",
        kind=operation.kind,
        from_version=operation.from_version,
        to_version=operation.to_version,
        target_image=operation.target_image,
        batch_id=operation.batch_id if batch else None,
        queue_position=operation.queue_position if batch else None,
        queue_total=operation.queue_total if batch else None,
    )


def _iso(ms: int | None) -> str | None:
    return None if ms is None else to_iso(ms)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


class Backup(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """An image that a container ran before an update (updates.md §8.1). `timestamp` is ISO 8601."""

    id: str
    container_id: str
    container_name: str
    image_name: str
    image_tag: str
    image_digest: str | None = None
    timestamp: str
    trigger_name: str
    image_id: str | None = None
    backup_ref: str | None = None
    agent: str | None = None
    watcher: str | None = None

    @property
    def key(self) -> str:
        """`agent::watcher::name` of the container it belongs to."""
        return self.host.container(self.container_name)

    @property
    def host(self) -> HostKey:
        """The host whose Engine holds the image."""
        return HostKey(self.agent, self.watcher or "")


def backup_reference(name: str, backup_id: str) -> tuple[str, str]:
    """Repository and tag that keep a replaced image alive: `drydock-backup/<slug>` and the first 12 characters of its id."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "container"
    return f"{BACKUP_REPOSITORY}/{slug}", backup_id[:12]
