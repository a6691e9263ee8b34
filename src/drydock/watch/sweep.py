"""Looks, by schedule, for updates whose maturity gate opened meanwhile (watching.md §11.4). Asks no registry."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from drydock.clock import Clock
from drydock.core.cron import parse_cron
from drydock.watch.ledger import FleetLedger

LONGEST_NAP_S = 300.0


class MaturitySweep:
    """One sweep per tick of `DD_MATURITY_SWEEP_CRON`; never two at a time."""

    def __init__(self, ledger: FleetLedger, expression: str, zone: ZoneInfo, clock: Clock) -> None:
        self._ledger = ledger
        self._cron = parse_cron(expression)
        self._zone = zone
        self._clock = clock

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await self._sleep_until_tick()
            await self._ledger.sweep()

    async def _sleep_until_tick(self) -> None:
        tick = self._cron.next_after(self._clock.now_ms(), self._zone)
        while tick is None or (left := (tick - self._clock.now_ms()) / 1000) > 0:
            await self._clock.sleep(LONGEST_NAP_S if tick is None else min(left, LONGEST_NAP_S))
