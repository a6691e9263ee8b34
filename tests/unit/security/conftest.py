"""Fake programs that record how they were called and replay canned output, and a clock that a test moves."""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import pytest

PROGRAM = """#!{python}
import json, os, pathlib, sys, time
home = pathlib.Path({home!r})
call = {{"argv": sys.argv[1:], "env": dict(os.environ)}}
login = os.environ.get("DOCKER_CONFIG")
if login and (pathlib.Path(login) / "config.json").exists():
    call["login"] = json.loads((pathlib.Path(login) / "config.json").read_text())
    call["login_mode"] = oct((pathlib.Path(login) / "config.json").stat().st_mode & 0o777)
    call["folder_mode"] = oct(pathlib.Path(login).stat().st_mode & 0o777)
with open(home / "calls.jsonl", "a") as calls:
    calls.write(json.dumps(call) + "\\n")
{body}
"""


class FakeProgram:
    """An executable: `path` to call it, `calls` what it was asked."""

    def __init__(self, home: pathlib.Path, name: str, body: str) -> None:
        self.home = home / name
        self.home.mkdir()
        self.path = str(self.home / name)
        self.write(body)

    def write(self, body: str) -> None:
        """Change what it does; `argv` and `out(data)` are at hand."""
        helpers = "argv = sys.argv[1:]\nout = lambda data: (sys.stdout.write(data), sys.stdout.flush())\n"
        text = PROGRAM.format(python=sys.executable, home=str(self.home), body=helpers + body)
        pathlib.Path(self.path).write_text(text)
        pathlib.Path(self.path).chmod(0o755)

    @property
    def calls(self) -> list[dict[str, Any]]:
        place = self.home / "calls.jsonl"
        return [json.loads(line) for line in place.read_text().splitlines()] if place.exists() else []

    def argvs(self, word: str) -> list[list[str]]:
        """The argument lists that hold `word`."""
        return [call["argv"] for call in self.calls if word in call["argv"]]


@pytest.fixture
def fake(tmp_path: pathlib.Path) -> Callable[..., FakeProgram]:
    """`fake(name, body)` makes an executable of that Python body."""

    def make(name: str, body: str = "") -> FakeProgram:
        return FakeProgram(tmp_path, name, body)

    return make


class ManualClock:
    """Time that stands still until a test moves it; sleeping moves it."""

    def __init__(self) -> None:
        self.ms = 1_772_442_900_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000

    async def sleep(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()
