"""`drydock hash-password` as a program: from standard input to a hash that the server takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from drydock.auth.passwords import parse_hash, verify

DRYDOCK = Path(sys.executable).with_name("drydock")


def run(typed: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([DRYDOCK, "hash-password"], input=typed, capture_output=True, text=True, check=False)


def test_one_line_in_one_hash_out() -> None:
    done = run("pass: wörd\nmore\n")
    assert done.returncode == 0
    assert verify(parse_hash(done.stdout), "pass: wörd")
    assert "wörd" not in done.stdout + done.stderr


def test_nothing_is_no_password() -> None:
    done = run("\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert "empty" in done.stderr


def test_a_short_one_is_warned_about() -> None:
    done = run("short\n")
    assert done.returncode == 0
    assert "easily guessed" in done.stderr
