"""Whether the programs are there and which versions (platform-api.md §4.3): absence is explained, never guessed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from drydock.clock import Clock
from drydock.core.errors import ScanFailed
from drydock.core.times import to_iso
from drydock.security.scanners import Generator, generator_name
from drydock.security.scanners.both import Both
from drydock.security.scanners.program import Program, ScannerProgram
from drydock.security.settings import SecuritySettings
from drydock.security.signatures.base import Verifier

Status = Literal["ready", "missing", "disabled"]


class Provider(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One program and its role. `version` and `database_updated_at` are ours: what a result was made with."""

    provider: str
    role: Literal["scanner", "sbom"]
    enabled: bool
    command: str
    command_available: bool
    status: Status
    message: str
    version: str | None = None
    database_updated_at: str | None = None


class Runtime:
    """Answers `GET /server/security/runtime`. What is None is switched off; `cosign` is the command of the verifier."""

    def __init__(
        self,
        settings: SecuritySettings,
        scanner: ScannerProgram[Any] | Both | None,
        generator: Generator | None,
        verifier: Verifier | None,
        cosign: str,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._scanners = scanner.members if isinstance(scanner, Both) else [scanner] if scanner else []
        self._generator = generator
        self._verifier = verifier
        self._cosign = cosign
        self._clock = clock

    async def status(self) -> dict[str, Any]:
        """The document of platform-api.md §4.3."""
        settings = self._settings
        scanners = [await _provider(one, "scanner") for one in self._scanners]
        providers = list(scanners)
        if settings.sbom_enabled and self._generator is not None:
            providers.append(await _provider(self._generator, "sbom"))
        signature = await self._signature()
        missing = {one.provider: one.command for one in providers if one.status == "missing"}
        if signature["status"] == "missing":
            missing["cosign"] = signature["command"]
        return {
            "checkedAt": to_iso(self._clock.now_ms()),
            "ready": bool(scanners) and not missing,
            "backend": "command",
            "availabilityPolicy": settings.availability,
            "gate": {"mode": settings.gate_mode, "allowNoWorse": settings.gate_relative},
            "scanner": self._scanner(scanners),
            "signature": signature,
            "sbom": {
                "enabled": settings.sbom_enabled,
                "formats": list(settings.sbom_formats),
                "generator": generator_name(settings.scanner, settings.sbom_generator),
            },
            "providers": msgspec.to_builtins(providers),
            "assets": [],
            "requirements": [f'Install {name} (configured command: "{command}")' for name, command in missing.items()],
        }

    def _scanner(self, scanners: Sequence[Provider]) -> dict[str, Any]:
        server = next((one.server for one in self._scanners if one.server), "")
        if not scanners:
            status, message = "disabled", "Security scanner is disabled"
        elif missing := next((one for one in scanners if one.status != "ready"), None):
            status, message = missing.status, missing.message
        elif server:
            status, message = "ready", f"{(self._settings.scanner or '').capitalize()} client is ready"
        else:
            status, message = "ready", "; ".join(one.message for one in scanners)
        return {
            "enabled": bool(scanners),
            "command": ", ".join(one.command for one in scanners),
            "commandAvailable": status == "ready" if scanners else None,
            "status": status,
            "message": message,
            "scanner": (self._settings.scanner or "") if scanners else "",
            "server": server,
        }

    async def _signature(self) -> dict[str, Any]:
        status: Status
        command, available = self._cosign, None
        if self._verifier is None:
            status, command, message = "disabled", "", "Signature verification is disabled"
        elif await self._verifier.ready():
            status, available, message = "ready", True, "Signature verification is ready"
        else:
            status, available, message = "missing", False, f"cosign command {command!r} was not found"
        return {
            "enabled": self._verifier is not None,
            "command": command,
            "commandAvailable": available,
            "status": status,
            "message": message,
        }


async def _provider(program: Program[Any], role: Literal["scanner", "sbom"]) -> Provider:
    command, version, why, built_at = program.settings.command, None, None, None
    try:
        version = await program.version()
    except ScanFailed as error:
        why = error.message
    if version and role == "scanner" and isinstance(program, ScannerProgram):
        built_at = await program.database()
    return Provider(
        provider=program.name,
        role=role,
        enabled=True,
        command=command,
        command_available=version is not None,
        status="ready" if version else "missing",
        message=f"{program.title} is ready" if version else why or f"{program.title} command {command!r} was not found",
        version=version,
        database_updated_at=built_at,
    )
