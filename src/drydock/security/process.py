"""Runs one program: no shell, own process group, bounded time and output, killed in every outcome.

What the program says is the business of its caller. Nothing here logs arguments or environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from drydock.core.errors import ScannerMissing
from drydock.security.failures import failure

MIB = 1024 * 1024
STDERR_KEPT = 64 * 1024
"""The end of what it complains about: the reason comes last."""
CHUNK = 256 * 1024
TERM_GRACE_S = 5.0
"""Time to remove temporary files before it is killed."""


class Limits(NamedTuple):
    """How long it may run (seconds) and how much it may print (bytes) before it is killed."""

    seconds: float
    stdout: int = 50 * MIB


class Finished(NamedTuple):
    """A program that ended by itself. `stderr` is the end of what it printed, at most 64 KiB."""

    exit_code: int
    stdout: bytes
    stderr: str


class ProcessTimeout(Exception):
    """The program was killed because its time was over."""


async def run(argv: Sequence[str], env: Mapping[str, str], limits: Limits) -> Finished:
    """Run it to its end.

    Raises `ScannerMissing` when there is no such program, `ProcessTimeout`, and `ScanFailed` when it prints more than
    allowed. Cancelling kills the whole process group, as do time and size.
    """
    process = await _start(argv, env)
    try:
        async with asyncio.timeout(limits.seconds):
            async with asyncio.TaskGroup() as group:
                out = group.create_task(_read(process, limits.stdout, argv[0]))
                err = group.create_task(_tail(process))
                group.create_task(process.wait())
        return Finished(process.returncode or 0, out.result(), err.result())
    except TimeoutError as error:
        raise ProcessTimeout() from error
    except BaseExceptionGroup as group_error:
        raise group_error.exceptions[0] from None
    finally:
        await _end(process)


async def _start(argv: Sequence[str], env: Mapping[str, str]) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    try:
        return await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            env=dict(env),
            start_new_session=True,
        )
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ScannerMissing(f"{argv[0]} was not found", hint=f"Install {argv[0]} or name its path") from error
    except PermissionError as error:
        raise ScannerMissing(f"{argv[0]} may not be executed", hint="Check the permissions of the file") from error
    except OSError as error:
        raise failure(f"{argv[0]} could not be started: {error.strerror}") from error


async def _read(process: asyncio.subprocess.Process, limit: int, program: str) -> bytes:
    assert process.stdout is not None
    parts: list[bytes] = []
    size = 0
    while chunk := await process.stdout.read(CHUNK):
        size += len(chunk)
        if size > limit:
            raise failure(f"{program} printed more than {limit} bytes", transient=False)
        parts.append(chunk)
    return b"".join(parts)


async def _tail(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    kept = b""
    while chunk := await process.stderr.read(CHUNK):
        kept = (kept + chunk)[-STDERR_KEPT:]
    return kept.decode(errors="replace")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Nothing of the group survives: TERM, five seconds, KILL. Also when this is cancelled while it waits."""
    try:
        if process.returncode is None:
            _signal(process, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TERM_GRACE_S):
                    await process.wait()
    finally:
        _signal(process, signal.SIGKILL)
    if process.returncode is None:
        await process.wait()


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
