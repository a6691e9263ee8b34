"""Which image is meant: references of the running image and of its candidate, with the digests that identify them.

Pure; security.md §8.2 and container-api.md §2.2.
"""

from __future__ import annotations

import msgspec

from drydock.core.model import Container

HUB_HOSTS = frozenset({"", "docker.io", "index.docker.io", "registry-1.docker.io"})


class Subject(msgspec.Struct, frozen=True):
    """One image to look at.

    `reference` is what the scanner is asked for, `digest` what the answer must be about when it is known. `watcher`
    says on which host the image may be found when no registry has it.
    """

    registry: str
    repository: str
    reference: str
    digest: str | None = None
    watcher: str = ""
    agent: str | None = None

    @property
    def pinned(self) -> str:
        """The reference that can only mean this digest; the reference itself while no digest is known."""
        if self.digest is None or "@" in self.reference:
            return self.reference
        return f"{name_of(self.registry, self.repository)}@{self.digest}"


def name_of(registry: str, repository: str) -> str:
    """The image name as people write it: without the host and `library/` for Docker Hub."""
    if registry in HUB_HOSTS:
        return repository.removeprefix("library/")
    return f"{registry}/{repository}"


def full_reference(container: Container, tag: str | None, digest: str | None) -> str:
    """`name:tag`, `name@digest` where there is no tag, the image id where there is neither."""
    name = name_of(container.image.registry.url, container.image.name)
    if tag and not tag.startswith("sha256:"):
        return f"{name}:{tag}"
    if digest or tag:
        return f"{name}@{digest or tag}"
    return container.image.id


def running(container: Container) -> Subject:
    """The image that runs, by its current tag."""
    digest = running_digest(container)
    return _subject(container, full_reference(container, container.image.tag.value, digest), digest)


def running_digest(container: Container) -> str | None:
    """The digest under which the running image is known to its registry."""
    return container.image.digest.repo or container.image.digest.value


def group_key(container: Container) -> str:
    """What identical images share: the digest, the local image id where there is none (security.md §7)."""
    return running_digest(container) or container.image.id


def candidate(container: Container) -> Subject | None:
    """The image that an update would install; None without a candidate."""
    result = container.result
    if result is None or not has_candidate(container):
        return None
    same_tag = result.tag is None or result.tag == container.image.tag.value
    tag = None if same_tag and result.digest else result.tag
    return _subject(container, full_reference(container, tag, result.digest), result.digest)


def has_candidate(container: Container) -> bool:
    """The last check found another tag, or another digest while digests are watched."""
    result, image = container.result, container.image
    if result is None:
        return False
    if result.tag and result.tag != image.tag.value:
        return True
    current = image.digest.value
    return bool(image.digest.watch and result.digest and current and result.digest != current)


def candidate_identity(container: Container) -> str | None:
    """What tells one candidate from the next: its digest, else its tag (security.md §2)."""
    if container.result is None or not has_candidate(container):
        return None
    return container.result.digest or container.result.tag


def _subject(container: Container, reference: str, digest: str | None) -> Subject:
    registry = container.image.registry.url
    return Subject(registry, container.image.name, reference, digest, container.watcher, container.agent)
