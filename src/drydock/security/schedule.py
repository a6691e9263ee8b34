"""Scans by the clock: DD_SECURITY_SCAN_CRON in UTC with a random delay, one cycle at a time; SBOM files swept daily."""

from __future__ import annotations

from random import Random
from zoneinfo import ZoneInfo

import structlog

from drydock.clock import Clock
from drydock.core.cron import Cron, parse_cron
from drydock.core.times import DAY_MS
from drydock.security.service import SecurityService

log = structlog.get_logger("security.schedule")

UTC = ZoneInfo("UTC")
LONGEST_SLEEP_S = 3600.0


class ScanSchedule:
    """Runs for ever under the supervisor: `supervisor.start("security:schedule", schedule.run)`."""

    def __init__(self, security: SecurityService, clock: Clock, random: Random) -> None:
        self._security = security
        self._clock = clock
        self._random = random

    async def run(self) -> None:
        """Wait for each run of the schedule. A cycle that is still running lets the next one be skipped."""
        settings = self._security.settings
        if settings.cron is None:
            return
        cron = parse_cron(settings.cron)
        while (at := cron.next_after(self._clock.now_ms(), UTC)) is not None:
            await self._until(at + self._random.randint(0, max(0, settings.jitter_ms)))
            await self._security.scan_scheduled()
            self._note_skipped(cron, at)

    def _note_skipped(self, cron: Cron, last: int) -> None:
        following = cron.next_after(last, UTC)
        if following is not None and following < self._clock.now_ms():
            log.warning("security.cycle_skipped", reason="the cycle before it was still running")

    async def _until(self, moment: int) -> None:
        while (left := moment - self._clock.now_ms()) > 0:
            await self._clock.sleep(min(left / 1000, LONGEST_SLEEP_S))


class SbomSweep:
    """Deletes SBOM documents that nobody refers to, once a day."""

    def __init__(self, security: SecurityService, clock: Clock) -> None:
        self._security = security
        self._clock = clock

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._clock.sleep(DAY_MS / 1000)
            log.info("security.sbom_swept", deleted=await self._security.collect_garbage())
