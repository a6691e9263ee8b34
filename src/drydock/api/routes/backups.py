"""Image backups and the way back to one (container-api.md §7.3–7.5)."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Router, get, post
from litestar.params import FromPath

from drydock.api.access import READ, UPDATE, confirmed
from drydock.api.openapi import TEXT, confirmation, document, fields, parameter, problems, reads
from drydock.api.request import ApiRequest
from drydock.core.errors import BadRequest
from drydock.core.operation import Backup


class BackupList(msgspec.Struct):
    """Backups, newest first."""

    data: list[dict[str, Any]]
    total: int


class RolledBack(msgspec.Struct):
    """The container runs the backed-up image again."""

    message: str
    backup: dict[str, Any]


def _shown(backup: Backup) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(backup)
    return found


@get(
    "/backups",
    opt=READ,
    operation_class=reads(parameter("containerName", "Only containers of this name")),
    responses=problems(_200=document(BackupList, "Backups")),
)
async def every(request: ApiRequest) -> BackupList:
    """Backups of all containers."""
    found = await request.updates.rollbacks.all(request.params.text("containerName") or None)
    return BackupList([_shown(backup) for backup in found], len(found))


@get("/{container_id:str}/backups", opt=READ, responses=problems(404, _200=document(BackupList, "Backups")))
async def of_container(request: ApiRequest, container_id: FromPath[str]) -> BackupList:
    """Backups of one container."""
    found = await request.updates.rollbacks.of(container_id)
    return BackupList([_shown(backup) for backup in found], len(found))


@post(
    "/{container_id:str}/rollback",
    opt=UPDATE,
    status_code=200,
    guards=[confirmed("container-rollback")],
    operation_class=reads(confirmation("container-rollback"), body=fields(backupId=TEXT)),
    responses=problems(400, 404, 409, 413, 415, 428, 501, _200=document(RolledBack, "Rolled back")),
)
async def rollback(request: ApiRequest, container_id: FromPath[str]) -> RolledBack:
    """Go back to a backup: `{"backupId": …}`, or the newest one. Answers at the end."""
    backup_id = (await request.document()).get("backupId")
    if backup_id is not None and not isinstance(backup_id, str):
        raise BadRequest("backupId must be a string")
    backup = await request.updates.rollbacks.roll_back(container_id, backup_id)
    return RolledBack("Container rolled back successfully", _shown(backup))


router = Router("/api/v1/containers", route_handlers=[every, of_container, rollback], tags=["Actions"])
