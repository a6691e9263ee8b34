"""From one stats document of the Engine to figures: the one calculator of the product, pure.

Used by the collector, the fleet summary and the one-round stream alike. Formulas: container-api.md §10.1 and
dockhand-stats.md §6. Anything missing or not a number counts as 0, and no figure is ever negative.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from drydock.docker.api import Document

LARGEST = 2**64 - 1
"""The Engine counts in unsigned 64-bit numbers."""


class CpuReading(msgspec.Struct, frozen=True):
    """CPU counters at one moment, in nanoseconds: used by the container, and passed on the host (all CPUs added up)."""

    used: int
    host: int


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What one container uses. Byte figures are whole bytes; percentages have two decimals.

    `cpu_percent`: 100 is one core fully used. `memory_usage` is `memory_raw - memory_cache`, the figure of the Docker
    command line. Network and block figures are totals since the container started.
    """

    cpu_percent: float = 0.0
    memory_usage: int = 0
    memory_raw: int = 0
    memory_cache: int = 0
    memory_limit: int = 0
    memory_percent: float = 0.0
    network_rx: int = 0
    network_tx: int = 0
    block_read: int = 0
    block_write: int = 0


def figures(document: Document, previous: CpuReading | None = None) -> Figures:
    """Compute the figures of one stats document.

    `previous` is the reading of the sample before; without one the document's own first reading (`precpu_stats`) is
    used, and where that is empty CPU is 0, never an average since boot.
    """
    raw, cache, limit = _memory(document)
    network, (read, written) = _part(document, "networks"), _block_io(document)
    return Figures(
        cpu_percent=_cpu_percent(document, previous or own_first_reading(document)),
        memory_usage=raw - cache,
        memory_raw=raw,
        memory_cache=cache,
        memory_limit=limit,
        memory_percent=percent_of(raw - cache, limit),
        network_rx=sum(_number(interface, "rx_bytes") for interface in network.values()),
        network_tx=sum(_number(interface, "tx_bytes") for interface in network.values()),
        block_read=read,
        block_write=written,
    )


def reading(document: Document) -> CpuReading:
    """The CPU counters of this document, the `previous` of the next one."""
    return _reading(_part(document, "cpu_stats"))


def own_first_reading(document: Document) -> CpuReading | None:
    """The earlier reading the Engine took for this document itself; None in a first or `one-shot` reading."""
    first = _reading(_part(document, "precpu_stats"))
    return first if first.host > 0 else None


def is_running(document: Document) -> bool:
    """Whether the document is of a running container: the Engine answers an empty one for all others."""
    return not str(document.get("read", "")).startswith("0001-")


def round2(value: float) -> float:
    """Round half up to two decimals."""
    return math.floor(value * 100 + 0.5) / 100


def percent_of(part: float, whole: float) -> float:
    """`part` of `whole` in percent within 0…100, two decimals; 0 when there is no whole."""
    return round2(min(max(part / whole * 100, 0.0), 100.0)) if whole > 0 else 0.0


def _cpu_percent(document: Document, previous: CpuReading | None) -> float:
    current = reading(document)
    if previous is None:
        return 0.0
    used, host = current.used - previous.used, current.host - previous.host
    if used <= 0 or host <= 0:
        return 0.0
    cpu = _part(document, "cpu_stats")
    each = _part(cpu, "cpu_usage").get("percpu_usage")
    cpus = _number(cpu, "online_cpus") or (len(each) if isinstance(each, list) and each else 1)
    return round2(used / host * cpus * 100)


def _memory(document: Document) -> tuple[int, int, int]:
    """Raw use, the cache within it, and the limit.

    The order of the two keys matters: cgroup v1 carries both, and its own `inactive_file` leaves out child groups.
    """
    memory = _part(document, "memory_stats")
    raw, stats = _number(memory, "usage"), _part(memory, "stats")
    for key in ("total_inactive_file", "inactive_file"):
        if key in stats and _number(stats, key) < raw:
            return raw, _number(stats, key), _number(memory, "limit")
    return raw, 0, _number(memory, "limit")


def _block_io(document: Document) -> tuple[int, int]:
    totals = {"read": 0, "write": 0}
    entries = _part(document, "blkio_stats").get("io_service_bytes_recursive")
    for entry in entries if isinstance(entries, list) else ():
        operation = str(entry.get("op", "")).lower() if isinstance(entry, dict) else ""
        if operation in totals:
            totals[operation] += _number(entry, "value")
    return totals["read"], totals["write"]


def _reading(cpu: Document) -> CpuReading:
    return CpuReading(_number(_part(cpu, "cpu_usage"), "total_usage"), _number(cpu, "system_cpu_usage"))


def _part(document: Any, key: str) -> Document:
    part = document.get(key) if isinstance(document, dict) else None
    return part if isinstance(part, dict) else {}


def _number(document: Any, key: str) -> int:
    value = document.get(key) if isinstance(document, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 0
    return min(max(int(value), 0), LARGEST)
