"""`drydock config`: what is in force, where it came from, and what is wrong with it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable

from drydock.app.settings import SCHEMA
from drydock.config.load import load
from drydock.config.source import Problem


def show(*, as_json: bool) -> int:
    """Print every variable in force. Exit status 1 when the server would refuse to start."""
    loaded = load(os.environ, SCHEMA)
    report(loaded.problems)
    if loaded.settings is None:
        return 1
    lines = loaded.settings.effective
    if as_json:
        document = {line.variable: {"value": line.value, "source": line.origin} for line in lines}
        print(json.dumps(document, indent=2))
        return 0
    width = max(len(line.variable) for line in lines)
    for line in lines:
        print(f"{line.variable:<{width}}  {line.value or '–':<24}  {line.origin}")
    return 0


def check() -> int:
    """Print the problems only; 1 when there is one."""
    loaded = load(os.environ, SCHEMA)
    report(loaded.problems)
    return 1 if loaded.problems else 0


def docs() -> int:
    """Print the reference."""
    from drydock.config.reference import reference

    sys.stdout.write(reference(SCHEMA))
    return 0


def report(problems: Iterable[Problem]) -> None:
    """Problems to standard error, one a line."""
    for problem in problems:
        print(f"{'error' if problem.fatal else 'warning'}: {problem}", file=sys.stderr)
