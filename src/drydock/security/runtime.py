"""Whether the programs are there and which versions (platform-api.md §4.3): absence is explained, never guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from drydock.clock import Clock
from drydock.core.errors import ScanFailed
from drydock.core.times import to_iso
from drydock.security.scanners import generator_name
from drydock.security.scanners.base import ProgramOptions, SbomGenerator, Scanner
from drydock.security.scanners.both import Both
from drydock.security.settings import ScanSettings
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


@dataclass(frozen=True)
class Programs:
    """What `Runtime` asks: the programs as configured. `scanner` None: switched off."""

    selected: str | None
    generator: str
    commands: dict[str, ProgramOptions]
    server: str
    scanner: Scanner | None
    sbom: SbomGenerator | None
    verifier: Verifier | None
    cosign: str


class Runtime:
    """Answers `GET /server/security/runtime`."""

    def __init__(self, programs: Programs, settings: ScanSettings, clock: Clock) -> None:
        self._programs = programs
        self._settings = settings
        self._clock = clock

    async def status(self) -> dict[str, Any]:
        """The document of platform-api.md §4.3."""
        providers = await self._providers()
        signature = await self._signature()
        ready = self._programs.scanner is not None and all(one.status == "ready" for one in providers)
        policy = self._settings.policy
        return {
            "checkedAt": to_iso(self._clock.now_ms()),
            "ready": ready and signature["status"] != "missing",
            "backend": "command",
            "availabilityPolicy": policy.availability,
            "gate": {"mode": "on" if policy.gate_on else "off", "allowNoWorse": policy.relative},
            "scanner": self._scanner(providers),
            "signature": signature,
            "sbom": self._sbom(),
            "providers": msgspec.to_builtins(providers),
            "assets": [],
            "requirements": _requirements(providers, signature),
        }

    async def _providers(self) -> list[Provider]:
        scanner = self._programs.scanner
        members: Sequence[Scanner] = scanner.members if isinstance(scanner, Both) else [scanner] if scanner else []
        found = [await self._provider(one, "scanner") for one in members]
        if self._settings.sbom_enabled and self._programs.sbom is not None:
            found.append(await self._provider(self._programs.sbom, "sbom"))
        return found

    async def _provider(self, program: Scanner | SbomGenerator, role: Literal["scanner", "sbom"]) -> Provider:
        command = self._programs.commands[program.name].command
        version, why = await _version(program)
        name = program.name.capitalize()
        ask = getattr(program, "database", None) if role == "scanner" and version else None
        return Provider(
            provider=program.name,
            role=role,
            enabled=True,
            command=command,
            command_available=version is not None,
            status="ready" if version else "missing",
            message=f"{name} is ready" if version else why or f"{name} command {command!r} was not found",
            version=version,
            database_updated_at=await ask() if ask else None,
        )

    def _scanner(self, providers: Sequence[Provider]) -> dict[str, Any]:
        selected = self._programs.selected
        scanners = [one for one in providers if one.role == "scanner"]
        if not selected or not scanners:
            message = "Security scanner is disabled"
            return {
                "enabled": False,
                "command": "",
                "commandAvailable": None,
                "status": "disabled",
                "message": message,
                "scanner": "",
                "server": "",
            }
        missing = next((one for one in scanners if one.status != "ready"), None)
        client = f"{selected.capitalize()} client is ready" if self._programs.server else None
        return {
            "enabled": True,
            "command": ", ".join(one.command for one in scanners),
            "commandAvailable": missing is None,
            "status": missing.status if missing else "ready",
            "message": missing.message if missing else client or "; ".join(one.message for one in scanners),
            "scanner": selected,
            "server": self._programs.server,
        }

    async def _signature(self) -> dict[str, Any]:
        verifier = self._programs.verifier
        if verifier is None:
            return _signature("disabled", False, "", None, "Signature verification is disabled")
        if await verifier.ready():
            return _signature("ready", True, self._programs.cosign, True, "Signature verification is ready")
        missing = f"cosign command {self._programs.cosign!r} was not found"
        return _signature("missing", True, self._programs.cosign, False, missing)

    def _sbom(self) -> dict[str, Any]:
        return {
            "enabled": self._settings.sbom_enabled,
            "formats": list(self._settings.sbom_formats),
            "generator": generator_name(self._programs.selected or "trivy", self._programs.generator),
        }


async def _version(program: Scanner | SbomGenerator) -> tuple[str | None, str | None]:
    """The version, or why there is none."""
    try:
        return await program.version(), None
    except ScanFailed as error:
        return None, error.message


def _signature(status: Status, enabled: bool, command: str, available: bool | None, message: str) -> dict[str, Any]:
    return {
        "enabled": enabled,
        "command": command,
        "commandAvailable": available,
        "status": status,
        "message": message,
    }


def _requirements(providers: Sequence[Provider], signature: dict[str, Any]) -> list[str]:
    """One hint per missing tool."""
    missing = {one.provider: one.command for one in providers if one.status == "missing"}
    if signature["status"] == "missing":
        missing["cosign"] = signature["command"]
    return [f'Install {name} (configured command: "{command}")' for name, command in missing.items()]
