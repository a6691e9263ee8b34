"""What an update of a container installs, as references (updates.md §5.1)."""

from __future__ import annotations

from drydock.core.model import Container
from drydock.core.operation import ImageWanted
from drydock.core.reference import Reference, parse, pull_name, same_repository, try_parse


def described(container: Container) -> str:
    """The version that runs, in one word."""
    return container.image.tag.value or container.image.digest.value or container.image.id


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
