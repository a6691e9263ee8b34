"""What an update of a container installs, as a reference, and the row that asks for it (updates.md §5.1)."""

from __future__ import annotations

import uuid
from typing import Any

from drydock.core.model import Container
from drydock.core.operation import ImageWanted, Operation
from drydock.core.reference import Reference, parse, pull_name, same_repository, try_parse
from drydock.core.update import update_kind
from drydock.request_context import requester

LIVE = ("running", "restarting", "paused")
"""States of a container that counts as running: it is to run again after the update."""


def wanted_image(container: Container) -> ImageWanted:
    """The candidate of the last check: its tag, or the same tag again when only the digest moved."""
    result = container.result
    tag = (result.tag if result else None) or container.image.tag.value
    digest = result.digest if result else None
    name = pull_name(container.image.registry.url, container.image.name)
    reference = f"{name}:{tag}" if tag else f"{name}@{digest}"
    return ImageWanted(reference=reference, tag=tag or None, digest=digest)


def spelled(wanted: ImageWanted, current: str) -> str:
    """The wanted reference in the spelling of `current`, the reference the container was created with.

    A short name stays short, an explicit `docker.io/` stays, a reference pinned by digest only stays pinned. Another
    repository, or a bare image id, gives `wanted.reference` as it is.
    """
    now, target = try_parse(current), parse(wanted.reference)
    if now is None or current.startswith("sha256:") or not same_repository(now, target):
        return wanted.reference
    if now.digest and not now.tag and wanted.digest:
        return str(Reference(path=now.path, domain=now.domain, digest=wanted.digest))
    return str(now.with_tag(wanted.tag)) if wanted.tag else wanted.reference


def new_operation(container: Container, now_ms: int, **fields: Any) -> Operation:
    """A queued row for the candidate of a container, asked for by the caller of this request; `fields` win."""
    kind, image = update_kind(container), container.image
    wanted: ImageWanted = fields.pop("wanted", None) or wanted_image(container)
    row: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "container_id": container.id,
        "container_name": container.name,
        "status": "queued",
        "phase": "queued",
        "created_at": now_ms,
        "updated_at": now_ms,
        "agent": container.agent,
        "watcher": container.watcher,
        "from_version": kind.local_value or image.tag.value or image.digest.value or image.id,
        "to_version": kind.remote_value or wanted.tag,
        "target_image": wanted.reference,
        "old_container_was_running": container.status.lower() in LIVE,
        "wanted": wanted,
        "container": container,
        "requested_by": requester(),
    }
    return Operation(**{**row, **fields})
