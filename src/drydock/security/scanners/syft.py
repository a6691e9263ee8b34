"""Syft as a program: SBOM documents only (security.md §3.3)."""

from __future__ import annotations

from drydock.security.commands import check_extra, check_reference
from drydock.security.model import SbomFormat
from drydock.security.scanners.base import ProgramOptions, Target
from drydock.security.scanners.grype import registry_login
from drydock.security.scanners.program import Program

PROTECTED = ("-o", "--output", "--file")


class Syft:
    """The generator of this name; it reads images from their registry."""

    name = "syft"

    def __init__(self, options: ProgramOptions) -> None:
        self._options = options
        self._program = Program("Syft", options)

    async def sbom(self, target: Target, form: SbomFormat) -> bytes:
        """A document of that format."""
        extra = check_extra("Syft", self._options.extra, PROTECTED)
        reference = check_reference(target.reference)
        return await self._program.call(
            [f"registry:{reference}", "--output", form, *extra], target, registry_login(target)
        )

    async def version(self) -> str | None:
        return await self._program.version()
