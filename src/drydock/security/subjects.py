"""Which image is meant: references of the running image and of its candidate, with the digests that identify them.

Pure; security.md §8.2 and container-api.md §2.2.
"""

from __future__ import annotations

import msgspec

from drydock.core.model import Container, HostKey
from drydock.core.reference import pull_name
from drydock.core.update import has_raw_update


class Subject(msgspec.Struct, frozen=True):
    """One image to examine.

    `reference` is what the scanner is given, `digest` what the answer must be about when it is known. `key` names
    the content (the digest, else the local image id): results are kept under it. `host` and `image_id` say where, and
    as what, the image may be found when no registry has it.
    """

    registry: str
    repository: str
    reference: str
    digest: str | None = None
    key: str | None = None
    host: HostKey | None = None
    image_id: str | None = None

    @property
    def pinned(self) -> str:
        """The reference that can only mean this digest; the reference itself while no digest is known."""
        if self.digest is None or "@" in self.reference:
            return self.reference
        return f"{pull_name(self.registry, self.repository)}@{self.digest}"


def full_reference(container: Container, tag: str | None, digest: str | None) -> str:
    """`name:tag`, `name@digest` where there is no tag, the image id where there is neither."""
    name = pull_name(container.image.registry.url, container.image.name)
    if tag and not tag.startswith("sha256:"):
        return f"{name}:{tag}"
    if digest or tag:
        return f"{name}@{digest or tag}"
    return container.image.id


def running(container: Container) -> Subject:
    """The image that runs, by its current tag."""
    digest = running_digest(container)
    reference = full_reference(container, container.image.tag.value, digest)
    found = _subject(container, reference, digest, group_key(container))
    return msgspec.structs.replace(found, image_id=container.image.id)


def running_digest(container: Container) -> str | None:
    """The digest under which the running image is known to its registry."""
    return container.image.digest.repo or container.image.digest.value


def group_key(container: Container) -> str:
    """What identical images share: the digest, the local image id where there is none (security.md §7)."""
    return running_digest(container) or container.image.id


def candidate(container: Container) -> Subject | None:
    """The image that an update would install; None without a candidate."""
    result = container.result
    if result is None or not has_raw_update(container):
        return None
    same_tag = result.tag is None or result.tag == container.image.tag.value
    tag = None if same_tag and result.digest else result.tag
    return _subject(container, full_reference(container, tag, result.digest), result.digest, result.digest)


def installing(container: Container, reference: str, digest: str | None) -> Subject:
    """The image that an update is about to install: by digest wherever it is known, for a tag may move."""
    meant = _subject(container, reference, digest, digest)
    return msgspec.structs.replace(meant, reference=meant.pinned)


def _subject(container: Container, reference: str, digest: str | None, key: str | None) -> Subject:
    registry = container.image.registry.url
    return Subject(registry, container.image.name, reference, digest, key, container.host)
