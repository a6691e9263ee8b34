"""Verifiers of image signatures. `choose` is the list: the cosign program where present, else the built-in one for a key."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

import structlog

from drydock.clock import Clock
from drydock.security.commands import Logins, anonymous
from drydock.security.signatures.base import SignatureSource, Verifier
from drydock.security.signatures.cosign import Cosign, CosignSettings

log = structlog.get_logger("security.signatures")


def choose(
    settings: CosignSettings,
    environ: Mapping[str, str],
    source: SignatureSource | None,
    clock: Clock,
    logins: Logins = anonymous,
) -> Verifier:
    """The verifier of the configuration. Without the program a key file is enough; keyless needs the program.

    Raises `ConfigError` when the key file cannot be used.
    """
    present = shutil.which(settings.command, path=environ.get("PATH")) is not None
    if settings.key and "://" not in settings.key and not present and source is not None:
        from drydock.security.signatures.keyed import KeyedVerifier, load_key  # loads cryptography: 8 MB

        log.info("security.signatures_by_key", key=settings.key)
        return KeyedVerifier(load_key(settings.key), source, clock)
    if not settings.key and not (settings.identity and settings.issuer):
        log.warning(
            "security.keyless_incomplete",
            hint="cosign verifies keyless signatures only with DD_SECURITY_COSIGN_IDENTITY and DD_SECURITY_COSIGN_ISSUER",
        )
    return Cosign(settings, environ, clock, logins)
