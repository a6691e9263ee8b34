"""Keeps out of memory what a library would import without need."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Inside the block the modules `names` seem not to be installed, unless they are imported already.

    A name that is None in `sys.modules` is Python's own way to say so.
    """
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # see above
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
