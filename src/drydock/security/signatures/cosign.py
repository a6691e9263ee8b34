"""The cosign program (security.md §5)."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from drydock.clock import Clock
from drydock.config import kinds
from drydock.config.kinds import Kind
from drydock.config.schema import option, section
from drydock.core.errors import DrydockError, ScanFailed
from drydock.core.times import to_iso
from drydock.security.commands import Logins, anonymous
from drydock.security.model import Signature
from drydock.security.process import MIB
from drydock.security.scanners.base import ProgramSettings, Target, empty_or
from drydock.security.scanners.program import Program
from drydock.security.subjects import Subject

LARGEST = 2 * MIB
"""Its report has a few hundred bytes for each signature."""

_UNVERIFIED = re.compile(
    r"(?i)no matching signatures|no signatures found|signature verification failed|invalid signature"
)


def public_key() -> Kind[str]:
    """An existing file, or a URI that the cosign program understands (`k8s://`, `awskms://` …)."""

    def read(value: str) -> str:
        stripped = value.strip()
        if "://" in stripped:
            return stripped
        path = pathlib.Path(stripped)
        if ".." in path.parts or not path.is_file():
            raise ValueError(value)
        return stripped

    return Kind("key", "an existing regular file", read)


@section("DD_SECURITY_COSIGN_", "Cosign", "How signatures are verified, with `DD_SECURITY_VERIFY_SIGNATURES`.")
class CosignSettings(ProgramSettings):
    """`DD_SECURITY_COSIGN_*`. `key`: a PEM file, or a URI that only the program understands; None = keyless."""

    command: str = option("COMMAND", kinds.text(), default="cosign", help="Name or absolute path.")
    timeout_s: float = option("TIMEOUT", kinds.milliseconds(1000), default=60.0, help="Milliseconds per image.")
    key: str | None = option(
        "KEY",
        empty_or(public_key()),
        default=None,
        help="Public key file; with it no program is needed. Empty = keyless.",
    )
    identity: str | None = option(
        "IDENTITY", empty_or(kinds.text()), default=None, help="Identity that keyless signatures must have."
    )
    issuer: str | None = option(
        "ISSUER", empty_or(kinds.text()), default=None, help="Issuer that keyless signatures must have."
    )


class Cosign(Program[CosignSettings]):
    """Asks the program."""

    name = title = "cosign"
    section = CosignSettings

    def __init__(
        self, settings: CosignSettings, environ: Mapping[str, str], clock: Clock, logins: Logins = anonymous
    ) -> None:
        super().__init__(settings, environ, clock)
        self._logins = logins

    @property
    def keyless(self) -> bool:
        return not self.settings.key

    async def ready(self) -> bool:
        return await self.version() is not None

    async def verify(self, subject: Subject) -> Signature:
        """By digest where it is known, so that what is verified is what will be pulled."""
        given = (
            ("--key", self.settings.key),
            ("--certificate-identity", self.settings.identity),
            ("--certificate-oidc-issuer", self.settings.issuer),
        )
        flags = [word for flag, value in given if value for word in (flag, value)]
        status: Literal["verified", "unverified", "error"] = "verified"
        try:
            login = await self._logins(subject.registry, subject.repository)
            target = Target(subject.pinned, subject.registry, login)
            arguments = ["verify", "--output", "json", *flags, target.reference]
            signatures, error = count(await self.call(arguments, target, limit=LARGEST)), None
        except DrydockError as failure:
            signatures, error = 0, failure.message
            unsigned = isinstance(failure, ScanFailed) and _UNVERIFIED.search(failure.message)
            status = "unverified" if unsigned else "error"
        return Signature(
            verifier="cosign",
            image=subject.pinned,
            verified_at=to_iso(self._clock.now_ms()),
            status=status,
            keyless=self.keyless,
            signatures=signatures,
            error=error,
        )


def count(output: bytes) -> int:
    """How many signatures a success reports: the array's length, else the number of JSON lines; at least one."""
    try:
        document = msgspec.json.decode(output)
    except msgspec.DecodeError:
        return max(1, sum(1 for line in output.splitlines() if line.strip().startswith(b"{")))
    return max(1, len(document)) if isinstance(document, list) else 1
