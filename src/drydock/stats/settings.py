"""Sampling of statistics (platform.md §2.4)."""

from __future__ import annotations

from drydock.config import kinds
from drydock.config.schema import option, section

SHORTEST_KEEP_S = 15.0


@section("DD_STATS_", "Statistics", "Live CPU, memory, network and block figures.")
class StatsSettings:
    """`DD_STATS_*`."""

    interval_s: float = option("INTERVAL", kinds.integer(1), default=10, help="Seconds between samples.", lenient=True)
    history_size: int = option(
        "HISTORY_SIZE", kinds.integer(1), default=60, help="Samples kept per container.", lenient=True
    )

    @property
    def keep_s(self) -> float:
        """How long a REST read counts as a viewer (container-api.md §10.2)."""
        return max(SHORTEST_KEEP_S, 3 * self.interval_s)
