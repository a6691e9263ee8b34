"""Running a program: every way it can end, and that nothing of it survives."""

from __future__ import annotations

import asyncio
import os
import pathlib

import pytest

from drydock.core.errors import ScanFailed, ScannerMissing
from drydock.security.process import Limits, ProcessTimeout, run
from kit.wait import until

ENV = {"PATH": os.environ["PATH"]}
LONG = Limits(seconds=30)


def alive(pid: int) -> bool:
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


async def gone(pid: int) -> None:
    await until(lambda: not alive(pid))


async def test_output_exit_code_and_errors_come_back() -> None:
    done = await run(["sh", "-c", "echo out; echo err >&2; exit 3"], ENV, LONG)
    assert (done.exit_code, done.stdout, done.stderr) == (3, b"out\n", "err\n")


async def test_only_the_given_environment_is_seen() -> None:
    done = await run(["env"], {**ENV, "X": "1"}, LONG)
    assert set(done.stdout.decode().split()) == {f"PATH={ENV['PATH']}", "X=1"}


@pytest.mark.parametrize("command", ["no-such-program-here", "/no/such/program", "/etc/passwd/x"])
async def test_a_missing_program_says_so(command: str) -> None:
    with pytest.raises(ScannerMissing, match="was not found"):
        await run([command], ENV, LONG)


async def test_a_file_that_may_not_be_executed(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "scanner"
    file.write_text("#!/bin/sh\n")
    file.chmod(0o600)
    with pytest.raises(ScannerMissing, match="may not be executed"):
        await run([str(file)], ENV, LONG)


async def test_a_file_that_is_no_program(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "scanner"
    file.write_bytes(b"\x7fELFgarbage")
    file.chmod(0o755)
    with pytest.raises(ScanFailed, match="could not be started"):
        await run([str(file)], ENV, LONG)


async def test_time_over_kills_the_whole_group(tmp_path: pathlib.Path) -> None:
    note = tmp_path / "pid"
    script = f"sleep 600 & echo $! > {note}; wait"
    with pytest.raises(ProcessTimeout):
        await run(["sh", "-c", script], ENV, Limits(seconds=0.5))
    await gone(int(note.read_text()))


async def test_a_child_that_keeps_the_output_open_is_killed_too(tmp_path: pathlib.Path) -> None:
    note = tmp_path / "pid"
    with pytest.raises(ProcessTimeout):
        await run(["sh", "-c", f"sleep 600 & echo $! > {note}"], ENV, Limits(seconds=0.5))
    await gone(int(note.read_text()))


async def test_cancelling_kills(tmp_path: pathlib.Path) -> None:
    note = tmp_path / "pid"
    task = asyncio.create_task(run(["sh", "-c", f"echo $$ > {note}; exec sleep 600"], ENV, LONG))
    await until(lambda: note.exists() and note.read_text())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive(int(note.read_text()))


async def test_too_much_output_is_cut_off_and_killed() -> None:
    with pytest.raises(ScanFailed, match="printed more than 1000 bytes"):
        await run(["sh", "-c", "while :; do echo 0123456789; done"], ENV, Limits(seconds=30, stdout=1000))


async def test_of_the_errors_the_end_is_kept() -> None:
    done = await run(["sh", "-c", "seq 1 40000 >&2; echo last >&2; exit 1"], ENV, LONG)
    assert len(done.stderr) == 64 * 1024
    assert done.stderr.endswith("40000\nlast\n")


async def test_killed_by_somebody_else() -> None:
    done = await run(["sh", "-c", "kill -KILL $$"], ENV, LONG)
    assert done.exit_code == -9
