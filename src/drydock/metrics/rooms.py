"""Metrics that other rooms keep as plain numbers, read at each scrape (registries.md §10, watching.md §16, platform.md §10)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from drydock.core.model import Container
from drydock.core.temporary import is_temporary
from drydock.metrics.families import Computed, Labels
from drydock.registries.room import Registries
from drydock.stats.aggregator import Tick

Series = Iterator[tuple[Labels, float]]
SEVERITIES = ("unknown", "low", "medium", "high", "critical")


class Looked(Protocol):
    """What a watcher tells of its own work; `watch.watcher.Watcher`."""

    @property
    def name(self) -> str: ...
    @property
    def watched(self) -> int:
        """How many containers the last enumeration found to check."""
        ...

    @property
    def last_success_ms(self) -> int | None:
        """When a scan last reached its Engine, epoch ms."""
        ...


def of_registries(service: Registries) -> tuple[Computed, ...]:
    """Digests, requests, quotas, pauses and retries."""
    numbers = service.metrics

    def one(value: Callable[[], float]) -> Callable[[], Iterable[tuple[Labels, float]]]:
        return lambda: [((), value())]

    return (
        Computed(
            "drydock_digest_cache_hits_total",
            "Digests answered from memory",
            one(lambda: numbers.digest_hits),
            "counter",
        ),
        Computed(
            "drydock_digest_cache_misses_total",
            "Digests asked of a registry",
            one(lambda: numbers.digest_misses),
            "counter",
        ),
        Computed(
            "dd_registry_requests_total",
            "Requests to registries",
            lambda: _labelled(("type", "name", "kind", "status"), numbers.requests),
            "counter",
        ),
        Computed(
            "dd_registry_retries_total",
            "Requests that were tried again",
            lambda: _labelled(("host", "reason"), numbers.retries),
            "counter",
        ),
        Computed(
            "dd_registry_rate_limit_remaining",
            "Pulls left of the quota, as the host told",
            lambda: _by_host(numbers.remaining),
        ),
        Computed(
            "dd_registry_paused_seconds",
            "Seconds until a host that asked for a pause is asked again",
            lambda: _by_host(service.paused()),
        ),
    )


def _labelled(names: tuple[str, ...], counts: Mapping[Any, int]) -> Series:
    yield from ((tuple(zip(names, key, strict=True)), value) for key, value in sorted(counts.items()))


def _by_host(values: Mapping[str, float]) -> Series:
    yield from (((("host", host),), value) for host, value in sorted(values.items()))


def of_watchers(watchers: Callable[[], Iterable[Looked]]) -> tuple[Computed, ...]:
    """What the last enumeration found, and when one last succeeded."""

    def watched() -> Series:
        yield from ((_named(one), float(one.watched)) for one in watchers())

    def succeeded() -> Series:
        for one in watchers():
            if one.last_success_ms is not None:
                yield _named(one), one.last_success_ms / 1000

    return (
        Computed("dd_watcher_total", "Containers watched by a watcher", watched),
        Computed(
            "drydock_watch_last_success_timestamp_seconds", "When a scan last reached its Engine, Unix time", succeeded
        ),
    )


def _named(watcher: Looked) -> Labels:
    return ("type", "docker"), ("name", watcher.name)


def of_findings(containers: Callable[[], Iterable[Container]]) -> Computed:
    """What the scan of each running image found, by severity; not scanned has no series."""

    def found() -> Series:
        for container in (one for one in containers() if not is_temporary(one.name)):
            scan: dict[str, Any] = (container.security or {}).get("scan") or {}
            summary: dict[str, int] = scan.get("summary") or {}
            for severity in SEVERITIES if summary else ():
                yield (*_place(container), ("severity", severity)), float(summary.get(severity, 0))

    return Computed("drydock_container_vulnerabilities", "Findings of the last scan of a running image", found)


def _place(container: Container) -> Labels:
    """Names are unique within one watcher of one agent only."""
    return ("container", container.name), ("watcher", container.watcher), ("agent", container.agent or "")


class Usage:
    """CPU and memory per container, from the rounds of the fleet; it is an audience of them, so rounds never pause."""

    def __init__(self, find: Callable[[str], Container | None]) -> None:
        self._find = find
        self._tick: Tick | None = None

    def put(self, tick: Tick) -> None:
        """Keep the newest round."""
        self._tick = tick

    def families(self) -> tuple[Computed, ...]:
        """The two gauges."""
        return (
            Computed("drydock_container_cpu_percent", "CPU of a container, 100 is one core", lambda: self._values(0)),
            Computed(
                "drydock_container_memory_bytes", "Memory of a container, cache left out", lambda: self._values(1)
            ),
        )

    def _values(self, index: int) -> Series:
        for row in self._tick.rows if self._tick else ():
            container = self._find(row.id)
            if container is not None:
                yield _place(container), (row.cpu_percent, float(row.memory_usage_bytes))[index]
