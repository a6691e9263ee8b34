"""The scanners. `SCANNERS` and `GENERATORS` are the complete lists; a new one is a module and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drydock.clock import Clock
from drydock.config.load import Settings
from drydock.security.scanners.both import Both
from drydock.security.scanners.grype import Grype
from drydock.security.scanners.program import ScannerProgram
from drydock.security.scanners.syft import Syft
from drydock.security.scanners.trivy import Trivy

SCANNERS: tuple[type[ScannerProgram[Any]], ...] = (Trivy, Grype)
Generator = Trivy | Syft
GENERATORS: tuple[type[Generator], ...] = (Trivy, Syft)

SECTIONS = tuple(dict.fromkeys(member.section for member in (*SCANNERS, *GENERATORS)))
"""The settings of every program."""
CHOICES = (*(member.name for member in SCANNERS), Both.name)
"""Words of DD_SECURITY_SCANNER."""
AUTO = "auto"
GENERATOR_CHOICES = (AUTO, *(member.name for member in GENERATORS))
"""Words of DD_SECURITY_SBOM_GENERATOR."""


def build(
    selected: str, generator: str, settings: Settings, environ: Mapping[str, str], clock: Clock, parallel: int = 4
) -> tuple[ScannerProgram[Any] | Both, Generator]:
    """The scanner and the SBOM generator of these words; `parallel`: how many runs of one program at a time.

    A program that serves both roles is made once, so that they share its queue.
    """
    scanners = [
        member(settings[member.section], environ, clock, parallel)
        for member in SCANNERS
        if selected in (member.name, Both.name)
    ]
    wanted = generator_name(selected, generator)
    found: dict[str, Any] = {member.name: member for member in GENERATORS}
    made: dict[str, Any] = {scanner.name: scanner for scanner in scanners}
    chosen = made.get(wanted) or found[wanted](settings[found[wanted].section], environ, clock, parallel)
    return Both(scanners) if selected == Both.name else scanners[0], chosen


def generator_name(selected: str | None, generator: str) -> str:
    """The generator that is meant; `auto` is the one that goes with the (first) scanner (security.md §1)."""
    if generator != AUTO:
        return generator
    return next(member.generator for member in SCANNERS if selected in (member.name, Both.name, None))
