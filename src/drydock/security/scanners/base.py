"""What a scanner is: a program that looks into one image. Members live beside this module, the list in `__init__`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Protocol

from drydock.config import kinds
from drydock.config.kinds import Kind
from drydock.config.schema import option
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


def further_arguments() -> Any:
    """The option `ARGS`: a JSON array of non-empty strings."""

    def read(value: str) -> tuple[str, ...]:
        try:
            found = json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(value) from error
        if not isinstance(found, list) or not all(isinstance(one, str) and one.strip() for one in found):
            raise ValueError(value)
        return tuple(found)

    kind = Kind("JSON array", "a JSON array of strings", read)
    return option("ARGS", kind, default=(), help="Further arguments.")


def empty_or(kind: Kind[str]) -> Kind[str | None]:
    """The kind, or nothing for an empty value."""
    return Kind(kind.name, f"empty or {kind.allowed}", lambda value: kind.read(value) if value.strip() else None)


@dataclass(frozen=True, kw_only=True)
class ProgramSettings:
    """How one program is called; each member declares its section from this."""

    command: str
    timeout_s: float = option("TIMEOUT", kinds.milliseconds(1000), default=600.0, help="Milliseconds per image.")
    args: tuple[str, ...] = ()


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
