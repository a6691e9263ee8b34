"""What docs/getting-started.md tells people to type works, and what it names exists."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import pytest

from drydock.app.settings import SCHEMA
from drydock.config.load import load
from drydock.core import labels
from lab.engine import DockerEngine
from lab.fleet import Fleet

pytestmark = pytest.mark.engine

ROOT = pathlib.Path(__file__).parents[2]
GUIDE = (ROOT / "docs/getting-started.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", GUIDE, re.S)
RUN = [block for block in BLOCKS if not block.startswith("make ") and "serve" not in block]
"""The server has tests of its own, and the environment of these tests is set up already."""


def test_most_blocks_are_run() -> None:
    assert len(RUN) >= 5


@pytest.mark.parametrize("block", RUN)
def test_the_commands_work(docker: DockerEngine, demo_fleet: Fleet, tmp_path: pathlib.Path, block: str) -> None:
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("DD_", "DOCKER_"))}
    path = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {"PATH": path, "DOCKER_HOST": docker.host, "XDG_CACHE_HOME": str(tmp_path), **demo_fleet.variables()}
    done = subprocess.run(["bash", "-c", block], env={**keep, **own}, capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, 1, 2), done.stderr
    assert "Traceback" not in done.stderr
    assert "error:" not in done.stderr


def test_every_label_exists() -> None:
    named = set(re.findall(r"\bdd\.[a-z_.]+(?:\.[a-z_]+)*", GUIDE))
    known = {value for value in vars(labels).values() if isinstance(value, str)}
    assert named
    assert named <= known


def test_every_variable_exists() -> None:
    names = {name.rstrip("_") for name in re.findall(r"\bDD_[A-Z_]+", GUIDE)} - {"DD_REGISTRY"}
    values = {"DD_WATCHER_LOCAL_CRON": "0 * * * *", "DD_WATCHER_LOCAL_MAINTENANCE_WINDOW": "* 2 * * *"}
    given = {name: values.get(name, "true") for name in names} | {"DD_WATCHER_LOCAL_IMGSET_PG_TAG_FAMILY": "loose"}
    problems = load(given, SCHEMA).problems
    assert [problem for problem in problems if "unknown" in problem.message] == []
