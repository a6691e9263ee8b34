"""The removed unversioned API: every path below `/api` that nothing serves answers 410 and is counted (platform-api.md §17.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from drydock.core.errors import Gone

UNMATCHED: Final = "unmatched"


class Removed(Gone):
    """A path of the unversioned API."""

    default = "The unversioned /api path has been removed; use /api/v1."

    def __init__(self) -> None:
        super().__init__(
            details={
                "canonicalBasePath": "/api/v1",
                "compat": "Set DD_COMPAT_WUDCARD=true to serve the four routes that WUD clients use.",
                "docs": "docs/api.md",
            }
        )


def unversioned(path: str) -> bool:
    """A path below the removed `/api` that is not `/api/v1`."""
    return (path == "/api" or path.startswith("/api/")) and path != "/api/v1" and not path.startswith("/api/v1/")


def legacy_key(path: str, known: Iterable[str]) -> str:
    """How a hit on a removed path is counted: by the pattern of its `/api/v1` twin, never by what was asked.

    `known` are the path templates of the application.
    """
    wanted = "/api/v1" + path.removeprefix("/api")
    for template, pattern in _patterns(tuple(known)):
        if pattern.fullmatch(wanted):
            return "/api" + template.removeprefix("/api/v1")
    return UNMATCHED


@lru_cache(maxsize=4)
def _patterns(templates: tuple[str, ...]) -> list[tuple[str, re.Pattern[str]]]:
    """Fixed words before parameters."""
    found = sorted((one for one in templates if one.startswith("/api/v1/")), key=lambda one: (one.count("{"), one))
    parts = [["[^/]+" if part.startswith("{") else re.escape(part) for part in one.split("/")] for one in found]
    return [(one, re.compile("/".join(part) + "/?")) for one, part in zip(found, parts, strict=True)]
