"""Whether the health check of Drydock's own container calls curl, which the image no longer has (platform-api.md §4.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import re2

from drydock.core.scrub import printable, scrub

PREVIEW = 160
_CURL = re2.compile(r"(?:^|[\s/;&|(])curl(?:\s|$)")


class CurlOverride(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A health check of Drydock's own container that calls curl, as Compose files of 1.x have it."""

    detected: bool
    command_preview: str | None = None
    container_name: str | None = None


NOT_DETECTED = CurlOverride(detected=False)


def curl_override(inspected: Mapping[str, Any]) -> CurlOverride:
    """Whether the health check in an inspect document calls curl, and how."""
    test = ((inspected.get("Config") or {}).get("Healthcheck") or {}).get("Test") or []
    command = " ".join(str(part) for part in test if part not in ("CMD", "CMD-SHELL"))
    if not _CURL.search(command):
        return NOT_DETECTED
    return CurlOverride(
        detected=True,
        command_preview=printable(scrub(command), PREVIEW),
        container_name=str(inspected.get("Name") or "").removeprefix("/"),
    )
