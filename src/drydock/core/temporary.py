"""The name of an old container while its update may still be rolled back: `<name>-old-<epoch ms>` (updates.md §5.2).

It is not a container in its own right: nothing lists, counts, scans or updates it.
"""

from __future__ import annotations

import re

_SUFFIX = re.compile(r"(?<=.)-old-[0-9]{10,}\Z", re.DOTALL)
"""At least ten digits, so that a container that is really called `web-old-2` is left alone."""


def temporary_name(name: str, stamp_ms: int) -> str:
    """The name under which the container `name` waits for the end of its update."""
    return f"{name}-old-{stamp_ms}"


def is_temporary(name: str) -> bool:
    """Whether this is the name of an old container during its update."""
    return _SUFFIX.search(name) is not None


def temporary_base(name: str) -> str | None:
    """The name that a temporary one stands for (`web-old-1700000000000` → `web`), or None for any other name."""
    match = _SUFFIX.search(name)
    return name[: match.start()] if match else None


def canonical_name(name: str) -> str:
    """The name without any temporary suffixes."""
    while (base := temporary_base(name)) is not None:
        name = base
    return name


def is_temporary_name_of(name: str, other: str) -> bool:
    """Whether `other` is what the container `name` is called while it is replaced."""
    return other != name and canonical_name(other) == name
