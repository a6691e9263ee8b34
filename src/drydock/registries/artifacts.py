"""Reads what stands beside an image in its repository: signatures (security.md §5). Nothing is cached or believed."""

from __future__ import annotations

from drydock.registries.manifests import content_digest
from drydock.registries.poll import Poll
from drydock.registries.service import RegistryService

BLOB_CAP = 64 * 1024


class Artifacts:
    """Small documents by host, repository and reference. Raises `RegistryError` and its children."""

    def __init__(self, registries: RegistryService) -> None:
        self._registries = registries

    async def digest(self, host: str, repository: str, tag: str) -> str | None:
        """The digest a tag points at; None when there is no such tag."""
        found = await self.manifest(host, repository, tag)
        return None if found is None else content_digest(found)

    async def manifest(self, host: str, repository: str, reference: str) -> bytes | None:
        """The bytes of a manifest; None when there is none."""
        async with self._poll() as poll:
            return await poll.manifest(self._registries.route(host, repository), reference)

    async def blob(self, host: str, repository: str, digest: str) -> bytes:
        """The bytes of a small blob, checked against its digest."""
        async with self._poll() as poll:
            return await poll.blob(self._registries.route(host, repository), digest, BLOB_CAP)

    def _poll(self) -> Poll:
        return self._registries.poll(not_before=None, interactive=True)
