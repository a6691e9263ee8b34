"""Syft as a program: SBOM documents only (security.md §3.3)."""

from __future__ import annotations

from drydock.config import kinds
from drydock.config.schema import option, section
from drydock.security.model import SbomFormat
from drydock.security.scanners.base import ProgramSettings, Target, further_arguments
from drydock.security.scanners.grype import registry_login
from drydock.security.scanners.program import Program


@section("DD_SECURITY_SYFT_", "Syft", "How the Syft program is called.")
class SyftSettings(ProgramSettings):
    """`DD_SECURITY_SYFT_*`."""

    command: str = option("COMMAND", kinds.text(), default="syft", help="Name or absolute path.")
    args: tuple[str, ...] = further_arguments()


class Syft(Program[SyftSettings]):
    """The generator of this name; it reads images from their registry."""

    name = "syft"
    title = "Syft"
    section = SyftSettings
    protected = ("-o", "--output", "--file")

    async def sbom(self, target: Target, form: SbomFormat) -> bytes:
        """A document of that format."""
        arguments = [f"registry:{target.reference}", "--output", form, *self.extra()]
        return await self.call(arguments, target, registry_login(target))
