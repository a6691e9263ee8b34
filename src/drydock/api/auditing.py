"""Audit entries as routes write them: who, from where, with which key (container-api.md §1.14, platform.md §9)."""

from __future__ import annotations

from typing import Any

from drydock.api.request import ApiRequest
from drydock.core.audit import AuditStatus
from drydock.core.model import Container


async def note(
    request: ApiRequest, action: str, status: AuditStatus, container: Container | None = None, **facts: Any
) -> None:
    """Write an entry with the caller, the address and the API key of `request`; `facts` are fields of the entry."""
    caller = request.caller
    await request.services.audit.note(
        action, status, container=container, user=caller.name, ip=request.address, key=caller.key, **facts
    )
