"""Time as an object that is passed in, so that nothing needs patching in tests; and the zone of schedules."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

import structlog

log = structlog.get_logger("app")


class Clock(Protocol):
    """Wall time in epoch milliseconds, monotonic time in seconds, and waiting."""

    def now_ms(self) -> int: ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def zone_of(environ: Mapping[str, str]) -> ZoneInfo:
    """The zone of `TZ`, or UTC with a warning when it is unknown; without `TZ` the machine's own, else UTC."""
    name, own = environ.get("TZ", "").strip(), Path("/etc/localtime")
    if name:
        try:
            return ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            log.warning("app.unknown_time_zone", tz=name, using="UTC")
    elif own.exists():
        with own.open("rb") as handle:
            return ZoneInfo.from_file(handle, key="localtime")
    return ZoneInfo("UTC")
