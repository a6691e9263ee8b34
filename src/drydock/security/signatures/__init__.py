"""Verifiers of image signatures. `choose` is the list: the cosign program where present, else our own for a key."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from drydock.clock import Clock
from drydock.security.inspector import Logins, anonymous
from drydock.security.signatures.base import SignatureSource, Verifier
from drydock.security.signatures.cosign import Cosign, CosignOptions

log = structlog.get_logger("security.signatures")


@dataclass(frozen=True)
class SignatureSettings:
    """DD_SECURITY_COSIGN_*. `key`: a PEM file, or a URI that only the program understands; None = keyless."""

    command: str = "cosign"
    timeout_ms: int = 60_000
    key: str | None = None
    identity: str | None = None
    issuer: str | None = None
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)


def choose(
    settings: SignatureSettings, source: SignatureSource | None, clock: Clock, logins: Logins = anonymous
) -> Verifier:
    """The verifier of the configuration. Without the program a key file is enough; keyless needs the program."""
    present = shutil.which(settings.command, path=settings.environ.get("PATH")) is not None
    if settings.key and "://" not in settings.key and not present and source is not None:
        from drydock.security.signatures.keyed import KeyedVerifier, load_key  # loads cryptography: 8 MB

        log.info("security.signatures_by_key", key=settings.key)
        return KeyedVerifier(load_key(settings.key), source, clock)
    if not settings.key and not (settings.identity and settings.issuer):
        log.warning(
            "security.keyless_incomplete",
            hint="cosign verifies keyless signatures only with DD_SECURITY_COSIGN_IDENTITY and DD_SECURITY_COSIGN_ISSUER",
        )
    options = CosignOptions(
        command=settings.command,
        timeout_ms=settings.timeout_ms,
        environ=settings.environ,
        key=settings.key,
        identity=settings.identity,
        issuer=settings.issuer,
    )
    return Cosign(options, clock, logins)
