"""What a verifier is, and what it needs from a registry."""

from __future__ import annotations

from typing import Protocol

from drydock.security.model import Signature
from drydock.security.subjects import Subject


class Verifier(Protocol):
    """Says whether an image is signed as the operator wants it."""

    @property
    def keyless(self) -> bool: ...

    async def verify(self, subject: Subject) -> Signature:
        """The verdict, always a value: what goes wrong has status `error` and its text."""
        ...

    async def ready(self) -> bool:
        """It can work: the program is there, or none is needed."""
        ...


class SignatureSource(Protocol):
    """Reads what stands beside an image. Raises `core.errors.RegistryError` and its children."""

    async def digest(self, host: str, repository: str, tag: str) -> str | None:
        """The digest a tag points at; None when there is no such tag."""
        ...

    async def manifest(self, host: str, repository: str, reference: str) -> bytes | None:
        """The bytes of a manifest; None when there is none."""
        ...

    async def blob(self, host: str, repository: str, digest: str) -> bytes:
        """The bytes of a blob."""
        ...
