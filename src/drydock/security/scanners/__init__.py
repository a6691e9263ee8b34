"""The scanners. `SCANNERS` and `GENERATORS` are the complete lists; a new one is a module and a line here."""

from __future__ import annotations

from collections.abc import Callable

from drydock.clock import Clock
from drydock.security.scanners.base import ProgramOptions, SbomGenerator, Scanner
from drydock.security.scanners.both import Both
from drydock.security.scanners.grype import Grype
from drydock.security.scanners.syft import Syft
from drydock.security.scanners.trivy import Trivy, TrivyOptions

Options = dict[str, ProgramOptions]
"""How each program is called, by its name."""


def _trivy(options: Options, clock: Clock) -> Trivy:
    given = options["trivy"]
    return Trivy(given if isinstance(given, TrivyOptions) else TrivyOptions(given.command, given.timeout_ms), clock)


SCANNERS: dict[str, Callable[[Options, Clock], Scanner]] = {
    "trivy": _trivy,
    "grype": lambda options, clock: Grype(options["grype"], clock),
}
GENERATORS: dict[str, Callable[[Options, Clock], SbomGenerator]] = {
    "trivy": _trivy,
    "syft": lambda options, _: Syft(options["syft"]),
}


def build(selected: str, generator: str, options: Options, clock: Clock) -> tuple[Scanner, SbomGenerator]:
    """The scanner (`trivy`, `grype`, `both`) and the SBOM generator (`auto`, `trivy`, `syft`) of the configuration.

    One Trivy serves both roles, so that they share its queue.
    """
    names = list(SCANNERS) if selected == "both" else [selected]
    members = {name: SCANNERS[name](options, clock) for name in names}
    wanted = generator_name(selected, generator)
    trivy = members.get("trivy")
    chosen = trivy if wanted == "trivy" and isinstance(trivy, Trivy) else GENERATORS[wanted](options, clock)
    scanner = Both(list(members.values())) if selected == "both" else members[selected]
    return scanner, chosen


def generator_name(selected: str, generator: str) -> str:
    """`auto` is Trivy, but Syft where Grype is the only scanner (security.md §1)."""
    if generator != "auto":
        return generator
    return "syft" if selected == "grype" else "trivy"
