"""Keeps out of the server's memory what a library would import only because it happens to be installed.

Import this before anything that logs: structlog takes rich and pygments (8 MB, 0.1 s) for tracebacks that the server
prints without them. A name that is None in `sys.modules` is Python's own way to say "not installed".
"""

from __future__ import annotations

import importlib
import sys

UNWANTED = ("rich", "better_exceptions")


def import_without(name: str, unwanted: tuple[str, ...]) -> None:
    """Import a module as if the `unwanted` ones were not installed; they can be imported afterwards."""
    hidden = [one for one in unwanted if one not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None is what the import system looks for
    try:
        importlib.import_module(name)
    finally:
        for one in hidden:
            del sys.modules[one]


import_without("structlog", UNWANTED)
