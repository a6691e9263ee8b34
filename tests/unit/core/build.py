"""Containers for tests of the pure core: one builder with everyday defaults."""

from __future__ import annotations

from typing import Any

from drydock.core.model import Container, Image, ImageDigest, ImageRegistry, ImageTag, Result
from drydock.core.tags import shape, version
from drydock.core.tags.transform import transformed
from drydock.core.times import from_iso

NOW = from_iso("2026-02-12T00:00:00Z") or 0


def container(
    tag: str = "1.4.0",
    result: Result | None = None,
    *,
    value: str | None = None,
    watch: bool = True,
    repo: str | None = None,
    created: str | None = None,
    registry: str = "hub.public",
    image_id: str = "sha256:local",
    local: bool | None = None,
    **fields: Any,
) -> Container:
    """A running `nginx` of the watcher `local`; keyword arguments are fields of the container."""
    text = transformed(tag, fields.get("transform_tags"))
    image = Image(
        id=image_id,
        registry=ImageRegistry(name=registry, url="docker.io"),
        name="library/nginx",
        tag=ImageTag(value=tag, semver=version.parse(text) is not None, tag_precision=shape.precision(text)),
        digest=ImageDigest(watch=watch, value=value, repo=repo, repo_digests=[repo] if repo else None),
        architecture="amd64",
        os="linux",
        created=created,
        is_local_image=local,
    )
    defaults: dict[str, Any] = {
        "id": "c1",
        "name": "web",
        "display_name": "web",
        "display_icon": "mdi:docker",
        "status": "running",
        "watcher": "local",
        "labels": {},
    }
    return Container(**{**defaults, **fields}, image=image, result=result)


def updatable(**fields: Any) -> Container:
    """A container with the minor update 1.4.0 → 1.5.0, detected on 2026-02-10."""
    dates = {"update_detected_at": "2026-02-10T00:00:00.000Z", "first_seen_at": "2026-02-10T00:00:00.000Z"}
    return container("1.4.0", Result(tag="1.5.0"), **{**dates, **fields})
