"""What the API reports about a self-update, and what it accepts from the helper (platform-api.md §12.6, §12.7)."""

from __future__ import annotations

import hmac
from typing import Literal

import msgspec

from drydock.core.errors import BadRequest, Conflict, Forbidden, NotFound
from drydock.core.operation import PHASES_OF, Status
from drydock.core.times import to_iso
from drydock.updates.queue import Queue
from drydock.updates.self_update.identity import secret_digest

ENDINGS: tuple[Status, ...] = ("succeeded", "rolled-back", "failed", "expired")


class SelfUpdateStatus(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """How far a self-update is."""

    operation_id: str
    status: str
    phase: str
    completed_at: str | None = None


class Finalized(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What became of a report."""

    status: Literal["accepted", "ignored"]
    operation_id: str
    reason: str | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """How the helper says that it ended."""

    operation_id: str
    status: Status
    phase: str
    last_error: str | None = None


def read_report(body: dict[str, object]) -> Report:
    """A report from a request body; `BadRequest` names the first field that is wrong."""
    operation_id, status, phase = body.get("operationId"), body.get("status"), body.get("phase")
    if not isinstance(operation_id, str) or not operation_id.strip():
        raise BadRequest("operationId is required")
    ending = next((one for one in ENDINGS if one == status), None)
    if ending is None:
        raise BadRequest("status must be a terminal update-operation status")
    phase = ending if phase is None else phase
    if not isinstance(phase, str) or phase not in PHASES_OF[ending]:
        raise BadRequest("phase must be valid for the supplied terminal status")
    error = body.get("lastError")
    text = error if isinstance(error, str) and error.strip() else None
    return Report(operation_id=operation_id.strip(), status=ending, phase=phase, last_error=text)


class SelfUpdates:
    """Looks up and ends self-updates."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def status(self, operation_id: str) -> SelfUpdateStatus:
        """How far it is; `NotFound` for anything but a self-update."""
        row = await self._queue.journal.get(operation_id)
        if row is None or row.kind != "self-update":
            raise NotFound("Self-update operation not found")
        ended = to_iso(row.completed_at) if row.completed_at is not None else None
        return SelfUpdateStatus(row.id, row.status, row.phase, ended)

    async def finalize(self, report: Report, secret: str) -> Finalized:
        """Take the helper's report. `NotFound`, `Conflict` for another kind, `Forbidden` for a wrong secret."""
        row = await self._queue.journal.get(report.operation_id)
        if row is None:
            raise NotFound("Update operation not found")
        if row.kind != "self-update":
            raise Conflict("Update operation is not a self-update operation")
        if row.secret_hash is None or not hmac.compare_digest(row.secret_hash, secret_digest(secret)):
            raise Forbidden("Valid self-update finalize secret required")
        if not row.active:
            return Finalized("ignored", row.id, "already-terminal")
        await self._queue.end(row, report.status, report.phase, report.last_error)
        return Finalized("accepted", row.id)
