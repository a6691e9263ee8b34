"""The cosign program (security.md §5)."""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from drydock.clock import Clock
from drydock.core.errors import DrydockError, ScanFailed
from drydock.core.times import to_iso
from drydock.security.commands import check_reference
from drydock.security.inspector import Logins, anonymous
from drydock.security.model import Signature
from drydock.security.process import MIB
from drydock.security.scanners.base import ProgramOptions, Target
from drydock.security.scanners.program import Program
from drydock.security.subjects import Subject

LARGEST = 2 * MIB

_UNVERIFIED = re.compile(
    r"(?i)no matching signatures|no signatures found|signature verification failed|invalid signature"
)


@dataclass(frozen=True)
class CosignOptions(ProgramOptions):
    """`key` None means keyless, which wants `identity` and `issuer`."""

    key: str | None = None
    identity: str | None = None
    issuer: str | None = None


class Cosign:
    """Asks the program."""

    def __init__(self, options: CosignOptions, clock: Clock, logins: Logins = anonymous) -> None:
        self._options = options
        self._clock = clock
        self._logins = logins
        self._program = Program("cosign", options)

    @property
    def keyless(self) -> bool:
        return not self._options.key

    async def ready(self) -> bool:
        return await self._program.version() is not None

    async def verify(self, subject: Subject) -> Signature:
        """By digest where it is known, so that what is verified is what will be pulled."""
        try:
            login = await self._logins(subject.registry, subject.repository)
            target = Target(check_reference(subject.pinned), subject.registry, login)
            output = await self._program.call([*self._arguments(), target.reference], target, limit=LARGEST)
        except DrydockError as error:
            return self._failed(subject, error)
        return self._verdict(subject, "verified", count(output), None)

    def _arguments(self) -> list[str]:
        given = (
            ("--key", self._options.key),
            ("--certificate-identity", self._options.identity),
            ("--certificate-oidc-issuer", self._options.issuer),
        )
        return ["verify", "--output", "json", *(word for flag, value in given if value for word in (flag, value))]

    def _failed(self, subject: Subject, error: DrydockError) -> Signature:
        unsigned = isinstance(error, ScanFailed) and _UNVERIFIED.search(error.message)
        return self._verdict(subject, "unverified" if unsigned else "error", 0, error.message)

    def _verdict(self, subject: Subject, status: object, signatures: int, error: str | None) -> Signature:
        return Signature(
            verifier="cosign",
            image=subject.pinned,
            verified_at=to_iso(self._clock.now_ms()),
            status=status,  # type: ignore[arg-type]  # one of the three words above
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
