"""What all programs share: the call with its time-out texts, the version and database questions, reading JSON."""

from __future__ import annotations

import abc
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import msgspec
import structlog

from drydock.clock import Clock
from drydock.core.errors import ScanFailed, ScannerMissing
from drydock.core.reference import split
from drydock.security import commands, process
from drydock.security.failures import explain, failure, is_transient, scrub
from drydock.security.findings import Found
from drydock.security.process import MIB, Limits, ProcessTimeout
from drydock.security.scanners.base import ProgramSettings, Target

log = structlog.get_logger("security.scanner")
S = TypeVar("S", bound=ProgramSettings)

GRACE_S = 30.0
"""How much longer than its own time-out a program may live before it is killed: it explains a time-out better."""
PARSED = 20 * MIB
"""Read, a report takes several times as much memory."""
VERSION_LIMITS = Limits(seconds=4, stdout=MIB)
QUESTION_TIMEOUT_S = 10.0
"""For questions that need no network."""
DATABASE_KEPT_S = 300.0
"""The database is rebuilt every few hours; every scan asks for it."""

_VERSION = re.compile(r"\bv?(\d+\.\d+\.\d+[\w.+-]*)")


class Program(Generic[S]):
    """One configured program. `environ` is Drydock's environment, from which a part is passed on.

    `parallel`: how many of its runs may go on at a time, for members that must know.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    """How messages call it."""
    section: ClassVar[type[ProgramSettings]]
    protected: ClassVar[tuple[str, ...]] = ()
    """Flags that Drydock sets itself; the operator's arguments may not."""

    def __init__(self, settings: S, environ: Mapping[str, str], clock: Clock, parallel: int = 4) -> None:
        self.settings = settings
        self._environ = environ
        self._clock = clock
        self._parallel = parallel

    async def call(
        self,
        arguments: Sequence[str],
        target: Target | None = None,
        env: Mapping[str, str] | None = None,
        *,
        timeout_s: float | None = None,
        limit: int = 50 * MIB,
    ) -> bytes:
        """Run it, on `target` if there is one, and return what it printed, at most `limit` bytes. Raises `ScanFailed`."""
        command = commands.check_command(self.settings.command)
        if target:
            commands.check_reference(target.reference)
        configured = timeout_s or self.settings.timeout_s
        shown = f"{round(configured * 1000)}ms"
        login = target.login if target else None
        with commands.signed_in(self._environ, target.registry if target else "", login) as child:
            if target and target.docker_host:
                child["DOCKER_HOST"] = target.docker_host
            try:
                limits = Limits(configured + GRACE_S, limit)
                finished = await process.run([command, *arguments], {**child, **(env or {})}, limits)
            except ProcessTimeout as error:
                total = f"{round((configured + GRACE_S) * 1000)}ms"
                message = f"{self.title} process timed out after {total} (configured timeout {shown})"
                raise failure(message, transient=True) from error
        if finished.exit_code == 0:
            return finished.stdout
        if finished.exit_code < 0:
            raise failure(f"{self.title} command was killed (signal {-finished.exit_code})", transient=True)
        text = explain(finished.stderr or finished.stdout[:4096].decode(errors="replace"))
        said = scrub(text, commands.secrets_of(login))
        if "deadline exceeded" in said and "remote error" not in said:
            raise failure(f"{self.title} command timed out after {shown}", transient=True)
        message = f"{self.title} command failed (exit={finished.exit_code}): {said}"
        raise failure(message, transient=is_transient(said))

    async def version(self) -> str | None:
        """What `--version` says, `unknown` when it says nothing readable; None when it cannot be run."""
        command = commands.check_command(self.settings.command)
        env = commands.inherited(self._environ)
        try:
            finished = await process.run([command, "--version"], env, VERSION_LIMITS)
        except (ScannerMissing, ProcessTimeout):
            return None
        found = _VERSION.search(finished.stdout.decode(errors="replace") + finished.stderr)
        return found[1] if found else "unknown"

    def extra(self) -> Sequence[str]:
        """The operator's own arguments. Raises `ScanFailed` when one sets what Drydock sets itself."""
        return commands.check_extra(self.title, self.settings.args, self.protected)

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


class ScannerProgram(Program[S], abc.ABC):
    """A program with a vulnerability database."""

    generator: ClassVar[str]
    """Name of the SBOM generator that `auto` means beside it."""
    database_question: ClassVar[tuple[str, ...]]

    def __init__(self, settings: S, environ: Mapping[str, str], clock: Clock, parallel: int = 4) -> None:
        super().__init__(settings, environ, clock, parallel)
        self._database: tuple[float, str | None] | None = None

    @property
    def server(self) -> str:
        """URL of the server that does the work, empty where the program does."""
        return ""

    async def database(self) -> str | None:
        """When the database was built, asked at most every five minutes."""
        now = self._clock.monotonic()
        if self._database is None or now - self._database[0] > DATABASE_KEPT_S:
            built = None
            try:
                output = await self.call(self.database_question, timeout_s=QUESTION_TIMEOUT_S)
                built = self.built_at(self.document(output))
            except ScanFailed as error:
                log.warning("security.database_unknown", scanner=self.name, error=error.message)
            self._database = (now, built)
        return self._database[1]

    @staticmethod
    @abc.abstractmethod
    def built_at(document: dict[str, Any]) -> str | None:
        """The time in the answer to the `database_question`."""

    @abc.abstractmethod
    async def scan(self, target: Target) -> Found:
        """As `base.Scanner`."""

    async def prepare(self) -> None:
        """As `base.Scanner`: nothing, unless the program needs it."""


def text_of(value: object) -> str | None:
    """A non-empty text, else None."""
    return value if isinstance(value, str) and value else None


def objects(value: object) -> list[dict[str, Any]]:
    """The objects of a list; anything else is none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def part(value: object) -> dict[str, Any]:
    """An object, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def digests(names: object) -> list[str]:
    """The digests in a list of `repository@digest`."""
    texts = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    return [digest for text in texts if (digest := split(text).digest)]
