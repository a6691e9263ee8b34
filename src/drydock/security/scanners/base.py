"""What a scanner is: a program that looks into one image. Members live beside this module, the list in `__init__`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from drydock.security.commands import Login
from drydock.security.findings import Found
from drydock.security.model import SbomFormat


@dataclass(frozen=True)
class Target:
    """One image for one run of a program: its reference, the login of its registry, and the host that may hold it."""

    reference: str
    registry: str
    login: Login | None = field(default=None, repr=False)
    docker_host: str | None = None


@dataclass(frozen=True)
class ProgramOptions:
    """How one program is called. `environ` is our own environment, from which a part is passed on."""

    command: str
    timeout_ms: int
    extra: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)


class Scanner(Protocol):
    """Finds vulnerabilities."""

    @property
    def name(self) -> str: ...

    async def scan(self, target: Target) -> Found:
        """Everything found. Raises `ScanFailed` with a text for people, scrubbed of secrets."""
        ...

    async def prepare(self) -> None:
        """Do ahead what the first scan would wait for. Never raises."""
        ...

    async def database(self) -> str | None:
        """When its vulnerability database was built (ISO); None when there is none or it does not say."""
        ...

    async def version(self) -> str | None:
        """Its version; None when the program is missing. Raises `ScanFailed` for an unusable command."""
        ...


class SbomGenerator(Protocol):
    """Lists what is inside."""

    @property
    def name(self) -> str: ...

    async def sbom(self, target: Target, form: SbomFormat) -> bytes:
        """The document. Raises `ScanFailed`."""
        ...

    async def version(self) -> str | None: ...
