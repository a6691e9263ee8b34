"""Audit entries about a container, as routes write them (container-api.md §1.14)."""

from __future__ import annotations

import uuid
from typing import Any, Literal

from drydock.api.request import ApiRequest
from drydock.core.audit import AuditEntry
from drydock.core.model import Container, audit_key
from drydock.core.times import to_iso


async def record(
    request: ApiRequest,
    container: Container,
    action: str,
    status: Literal["success", "error", "info"],
    details: str | None = None,
    **facts: Any,
) -> None:
    """Write an entry about `container`, with the caller and the address; `facts` are further fields of the entry."""
    services = request.services
    entry = AuditEntry(
        id=str(uuid.uuid4()),
        timestamp=to_iso(services.clock.now_ms()),
        action=action,
        container_name=container.name,
        container_identity_key=audit_key(container),
        container_image=image_reference(container),
        status=status,
        details=details,
        user=request.caller.name,
        ip=request.address,
        **facts,
    )
    await services.audit.record(entry)


def image_reference(container: Container) -> str:
    """The image as people write it: registry host, repository, tag."""
    image = container.image
    return f"{image.registry.url}/{image.name}:{image.tag.value}"
