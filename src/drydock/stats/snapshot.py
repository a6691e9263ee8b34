"""The forms in which stats leave the server: one container's snapshot, and the summary of the fleet. Pure.

Wire names follow container-api.md §10.1 and §10.5; the shapes of the one-round stream are in `rounds.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from drydock.core import times
from drydock.stats.figures import Figures, percent_of, round2

TOP = 5


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one container used at `timestamp` (ISO 8601, the time of collection)."""

    container_id: str
    cpu_percent: float
    memory_usage_bytes: int
    memory_limit_bytes: int
    memory_percent: float
    network_rx_bytes: int
    network_tx_bytes: int
    block_read_bytes: int
    block_write_bytes: int
    memory_cache_bytes: int
    memory_raw_bytes: int
    timestamp: str


class ContainerStats(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of `GET /containers/:id/stats`: the newest snapshot and the ones kept, oldest first."""

    data: Snapshot | None
    history: list[Snapshot]


class FleetRow(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One container in the top lists of the summary."""

    id: str
    name: str
    cpu_percent: float
    memory_usage_bytes: int
    memory_limit_bytes: int
    memory_percent: float


class FleetSummary(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """CPU and memory of all containers that delivered stats in the tick that ended at `timestamp`."""

    timestamp: str
    watched_count: int
    avg_cpu_percent: float
    total_memory_usage_bytes: int
    total_memory_limit_bytes: int
    total_memory_percent: float
    top_cpu: list[FleetRow]
    top_memory: list[FleetRow]


class FleetStats(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of `GET /stats/summary`."""

    data: FleetSummary


def snapshot(container_id: str, figures: Figures, at_ms: int) -> Snapshot:
    """The snapshot of a container whose figures were collected at `at_ms` (epoch milliseconds)."""
    return Snapshot(
        container_id=container_id,
        cpu_percent=figures.cpu_percent,
        memory_usage_bytes=figures.memory_usage,
        memory_limit_bytes=figures.memory_limit,
        memory_percent=figures.memory_percent,
        network_rx_bytes=figures.network_rx,
        network_tx_bytes=figures.network_tx,
        block_read_bytes=figures.block_read,
        block_write_bytes=figures.block_write,
        memory_cache_bytes=figures.memory_cache,
        memory_raw_bytes=figures.memory_raw,
        timestamp=times.to_iso(at_ms),
    )


def row(container_id: str, name: str, figures: Figures) -> FleetRow:
    """One container's part in the summary."""
    return FleetRow(
        id=container_id,
        name=name,
        cpu_percent=figures.cpu_percent,
        memory_usage_bytes=figures.memory_usage,
        memory_limit_bytes=figures.memory_limit,
        memory_percent=figures.memory_percent,
    )


def summarise(rows: Sequence[FleetRow], at_ms: int) -> FleetSummary:
    """Add up the fleet (container-api.md §10.5): sums over all rows, the mean kept within 0…100, five rows at the top."""
    usage = sum(each.memory_usage_bytes for each in rows)
    limit = sum(each.memory_limit_bytes for each in rows)
    mean = sum(each.cpu_percent for each in rows) / len(rows) if rows else 0.0
    return FleetSummary(
        timestamp=times.to_iso(at_ms),
        watched_count=len(rows),
        avg_cpu_percent=round2(min(max(mean, 0.0), 100.0)),
        total_memory_usage_bytes=usage,
        total_memory_limit_bytes=limit,
        total_memory_percent=percent_of(usage, limit),
        top_cpu=sorted(rows, key=lambda each: (-each.cpu_percent, each.name))[:TOP],
        top_memory=sorted(rows, key=lambda each: (-each.memory_percent, each.name))[:TOP],
    )
