"""What the process itself costs: the standard `process_*` metrics, and the lag of the event loop (platform.md §10)."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path

from drydock.clock import Clock
from drydock.metrics.families import Computed, Family, Gauge

LAG_EVERY_S = 5.0

_PROC = Path("/proc/self")


def families(version: str) -> list[Family]:
    """The process families; those that this system cannot answer have no series."""
    return [
        _one("process_cpu_user_seconds_total", "User CPU time spent", lambda: os.times().user, "counter"),
        _one("process_cpu_system_seconds_total", "System CPU time spent", lambda: os.times().system, "counter"),
        _one("process_cpu_seconds_total", "User and system CPU time spent", lambda: sum(os.times()[:2]), "counter"),
        _one("process_start_time_seconds", "Start of the process, Unix time", lambda: _STARTED),
        _one("process_resident_memory_bytes", "Resident memory", lambda: _status_kib("VmRSS")),
        _one("process_virtual_memory_bytes", "Virtual memory", lambda: _status_kib("VmSize")),
        _one("process_open_fds", "Open file descriptors", lambda: len(os.listdir(_PROC / "fd"))),
        _one(
            "process_max_fds", "Limit of open file descriptors", lambda: resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        ),
        Computed("drydock_build_info", "The version that runs", lambda: [((("version", version),), 1.0)]),
        Computed("python_info", "The Python that runs", lambda: [((("version", platform.python_version()),), 1.0)]),
    ]


def _one(name: str, help: str, read: Callable[[], float], kind: str = "gauge") -> Computed:
    def values() -> list[tuple[tuple[()], float]]:
        try:
            return [((), read())]
        except OSError:
            return []

    return Computed(name, help, values, kind)


def _status_kib(field: str) -> float:
    for line in (_PROC / "status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(field)


_STARTED = time.time()


class LoopLag:
    """Measures how late the event loop wakes a task."""

    def __init__(self, clock: Clock) -> None:
        self.gauge = Gauge("drydock_eventloop_lag_seconds", "How late the event loop woke a waiting task")
        self._clock = clock

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            began = self._clock.monotonic()
            await self._clock.sleep(LAG_EVERY_S)
            self.gauge.set(max(0.0, self._clock.monotonic() - began - LAG_EVERY_S))
