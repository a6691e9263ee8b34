"""Audit entries as routes write them: who, from where, with which key (container-api.md §1.14, platform.md §9)."""

from __future__ import annotations

import uuid
from typing import Any, Literal

from drydock.api.request import ApiRequest
from drydock.core.audit import AuditEntry
from drydock.core.model import Container, audit_key
from drydock.core.times import to_iso

Status = Literal["success", "error", "info"]


async def record(
    request: ApiRequest,
    container: Container,
    action: str,
    status: Status,
    details: str | None = None,
    **facts: Any,
) -> None:
    """Write an entry about `container`, with the caller and the address; `facts` are further fields of the entry."""
    about = {
        "container_name": container.name,
        "container_identity_key": audit_key(container),
        "container_image": image_reference(container),
    }
    await note(request, action, status, details=details, **about, **facts)


async def note(request: ApiRequest, action: str, status: Status, **facts: Any) -> None:
    """Write an entry with the caller, the address and the API key of `request`; `facts` are fields of the entry."""
    caller, services = request.caller, request.services
    who = {"user": caller.name, "ip": request.address, "key": caller.key}
    made: dict[str, Any] = {"container_name": "", **who, **facts}
    at = to_iso(services.clock.now_ms())
    await services.audit.record(AuditEntry(id=str(uuid.uuid4()), timestamp=at, action=action, status=status, **made))


def image_reference(container: Container) -> str:
    """The image as people write it: registry host, repository, tag."""
    image = container.image
    return f"{image.registry.url}/{image.name}:{image.tag.value}"
