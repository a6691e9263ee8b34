"""What all scanner programs share: the call with its time-out texts, the version question, reading JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from drydock.core.errors import ScannerMissing
from drydock.security import commands, process
from drydock.security.failures import explain, failure, is_transient, scrub
from drydock.security.process import MIB, Finished, Limits, ProcessTimeout
from drydock.security.scanners.base import ProgramOptions, Target

GRACE_MS = 30_000
"""How much longer than its own time-out a program may live before it is killed."""
PARSED = 20 * MIB
VERSION_LIMITS = Limits(seconds=4, stdout=MIB)

_VERSION = re.compile(r"\bv?(\d+\.\d+\.\d+[\w.+-]*)")


class Program:
    """One configured program. `title` is how it is called in messages (`Trivy`)."""

    def __init__(self, title: str, options: ProgramOptions) -> None:
        self.title = title
        self.options = options

    async def call(
        self,
        arguments: Sequence[str],
        target: Target | None = None,
        env: Mapping[str, str] | None = None,
        *,
        timeout_ms: int | None = None,
        limit: int = 50 * MIB,
    ) -> bytes:
        """Run it on `target` and return what it printed, at most `limit` bytes. Raises `ScanFailed`."""
        configured = timeout_ms or self.options.timeout_ms
        command = commands.check_command(self.options.command)
        login = target.login if target else None
        with commands.signed_in(self.options.environ, target.registry if target else "", login) as child:
            if target and target.docker_host:
                child["DOCKER_HOST"] = target.docker_host
            limits = Limits((configured + GRACE_MS) / 1000, limit)
            try:
                finished = await process.run([command, *arguments], {**child, **(env or {})}, limits)
            except ProcessTimeout as error:
                raise self._killed(configured) from error
        return self._checked(finished, configured, commands.secrets_of(login))

    async def version(self) -> str | None:
        """What `--version` says, `unknown` when it says nothing readable; None when it cannot be run."""
        command = commands.check_command(self.options.command)
        env = commands.inherited(self.options.environ)
        try:
            finished = await process.run([command, "--version"], env, VERSION_LIMITS)
        except (ScannerMissing, ProcessTimeout):
            return None
        found = _VERSION.search(finished.stdout.decode(errors="replace") + finished.stderr)
        return found[1] if found else "unknown"

    def document(self, output: bytes) -> dict[str, Any]:
        """The JSON object it printed. Raises `ScanFailed` for anything else, half a document included."""
        if len(output) > PARSED:
            raise failure(
                f"{self.title} output is too large to parse ({len(output)} bytes); max supported is {PARSED} bytes",
                transient=False,
            )
        try:
            return msgspec.json.decode(output, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise failure(f"{self.title} printed something that is not a JSON object", transient=False) from error

    def _killed(self, configured: int) -> Exception:
        total = configured + GRACE_MS
        return failure(
            f"{self.title} process timed out after {total}ms (configured timeout {configured}ms)", transient=True
        )

    def _checked(self, finished: Finished, configured: int, secrets: Sequence[str]) -> bytes:
        if finished.exit_code == 0:
            return finished.stdout
        if finished.exit_code < 0:
            raise failure(f"{self.title} command was killed (signal {-finished.exit_code})", transient=True)
        said = scrub(explain(finished.stderr or finished.stdout[:4096].decode(errors="replace")), secrets)
        if "deadline exceeded" in said and "remote error" not in said:
            raise failure(f"{self.title} command timed out after {configured}ms", transient=True)
        message = f"{self.title} command failed (exit={finished.exit_code}): {said}"
        raise failure(message, transient=is_transient(said))


def text_of(value: object) -> str | None:
    """A non-empty text, else None."""
    return value if isinstance(value, str) and value else None


def objects(value: object) -> list[dict[str, Any]]:
    """The objects of a list; anything else is none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def part(value: object) -> dict[str, Any]:
    """An object, an empty one for anything else."""
    return value if isinstance(value, dict) else {}
