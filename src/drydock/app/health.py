"""Whether the health check of Drydock's own container calls curl (platform-api.md §4.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import re2
import structlog

from drydock.api.services import CurlOverride
from drydock.core.errors import EngineError, EngineNotFound
from drydock.core.scrub import printable, scrub
from drydock.hosts.host import Hosts

log = structlog.get_logger("app")

PREVIEW = 160
NOT_DETECTED = CurlOverride(detected=False)
_CURL = re2.compile(r"(?:^|[\s/;&|(])curl(?:\s|$)")


class CurlHealthcheck:
    """Inspects Drydock's own container once; an Engine that does not answer is asked again the next time."""

    def __init__(self, own_id: str | None, hosts: Hosts) -> None:
        self._own_id = own_id
        self._hosts = hosts
        self._known: CurlOverride | None = None if own_id else NOT_DETECTED

    async def __call__(self) -> CurlOverride:
        """What is known; `detected` is false as well when no Engine knows."""
        if self._known is None:
            self._known = await self._look()
        return self._known or NOT_DETECTED

    async def _look(self) -> CurlOverride | None:
        """Local sockets only: no other Engine knows the container that Drydock runs in."""
        for host in self._hosts.all():
            if host.settings.host is None and self._own_id is not None:
                try:
                    return curl_override(await host.reader.inspect_container(self._own_id))
                except EngineNotFound:
                    continue
                except EngineError:
                    return None
        return NOT_DETECTED


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
