"""Containers as tests need them: small, valid, every field changeable by keyword."""

from __future__ import annotations

from typing import Any

import msgspec

from drydock.core.model import (
    Container,
    Details,
    EnvEntry,
    Image,
    ImageDigest,
    ImageRegistry,
    ImageTag,
    Result,
)


def container_id(number: int) -> str:
    """A full Docker id."""
    return f"{number:064x}"


def image(tag: str = "1.0.0", **changes: Any) -> Image:
    """An image of Docker Hub."""
    made = Image(
        id="sha256:" + "a" * 64,
        registry=ImageRegistry(name="hub.public", url="docker.io"),
        name="library/nginx",
        tag=ImageTag(value=tag, semver=True, tag_precision="specific"),
        digest=ImageDigest(watch=False),
        architecture="amd64",
        os="linux",
        created="2026-01-01T00:00:00.000Z",
    )
    return msgspec.structs.replace(made, **changes)


def container(number: int = 1, name: str | None = None, **changes: Any) -> Container:
    """A running local container without an update; `update="1.1.0"` gives it one."""
    update = changes.pop("update", None)
    tag = changes.pop("tag", "1.0.0")
    name = name or f"c{number:03d}"
    base = Container(
        id=container_id(number),
        name=name,
        display_name=name,
        display_icon="mdi:docker",
        status="running",
        watcher="local",
        image=image(tag),
        labels={},
        result=Result(tag=update or tag),
        details=Details(
            ports=[],
            volumes=[],
            env=[EnvEntry(key="TZ", value="UTC"), EnvEntry(key="DB_PASSWORD", value="s3cret", sensitive=True)],
        ),
    )
    return msgspec.structs.replace(base, **changes)
