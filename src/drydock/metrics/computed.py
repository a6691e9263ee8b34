"""Metrics that other rooms keep as plain numbers, read at each scrape (registries.md §10, watching.md §16, platform.md §10)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from drydock.core.model import Container
from drydock.core.temporary import is_temporary
from drydock.metrics.families import Computed, Labels
from drydock.registries.room import Registries

Series = Iterator[tuple[Labels, float]]
SEVERITIES = ("unknown", "low", "medium", "high", "critical")


class WatcherFigures(Protocol):
    """What a watcher reports about its work."""

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


class UsageRow(Protocol):
    """CPU and memory of one container."""

    @property
    def id(self) -> str: ...
    @property
    def cpu_percent(self) -> float: ...
    @property
    def memory_usage_bytes(self) -> int: ...


class UsageRound(Protocol):
    """A finished round of container statistics."""

    @property
    def rows(self) -> Sequence[UsageRow]: ...


def number(name: str, help: str, value: Callable[[], float], kind: str = "gauge") -> Computed:
    """A family of one series without labels."""
    return Computed(name, help, lambda: [((), value())], kind)


def of_registries(service: Registries) -> tuple[Computed, ...]:
    """Digests, requests, quotas, pauses and retries."""
    numbers = service.metrics
    requests = ("type", "name", "kind", "status")
    hits, misses = "Digests answered from memory", "Digests asked of a registry"
    remaining = "Pulls left of the quota, as reported by the host"
    paused = "Seconds until a host that asked for a pause is queried again"
    return (
        number("drydock_digest_cache_hits_total", hits, lambda: numbers.digest_hits, "counter"),
        number("drydock_digest_cache_misses_total", misses, lambda: numbers.digest_misses, "counter"),
        _counts("dd_registry_requests_total", "Requests to registries", requests, lambda: numbers.requests),
        _counts(
            "dd_registry_retries_total", "Requests that were tried again", ("host", "reason"), lambda: numbers.retries
        ),
        Computed("dd_registry_rate_limit_remaining", remaining, lambda: _by_host(numbers.remaining)),
        Computed("dd_registry_paused_seconds", paused, lambda: _by_host(service.paused())),
    )


def legacy_inputs(uses: Callable[[], Mapping[tuple[str, str], int]]) -> Computed:
    """Old names by where they were used."""
    return _counts("dd_legacy_input_total", "Old names that were used", ("source", "key"), uses)


def _counts(name: str, help: str, labels: tuple[str, ...], counts: Callable[[], Mapping[Any, int]]) -> Computed:
    """A counter kept elsewhere, by label values."""

    def series() -> Series:
        yield from ((tuple(zip(labels, key, strict=True)), value) for key, value in sorted(counts().items()))

    return Computed(name, help, series, "counter")


def _by_host(values: Mapping[str, float]) -> Series:
    yield from (((("host", host),), value) for host, value in sorted(values.items()))


def of_watchers(watchers: Callable[[], Iterable[WatcherFigures]]) -> tuple[Computed, ...]:
    """What the last enumeration found, and when one last succeeded."""

    def each(value: Callable[[WatcherFigures], float | None]) -> Callable[[], Series]:
        def series() -> Series:
            for one in watchers():
                if (found := value(one)) is not None:
                    yield (("type", "docker"), ("name", one.name)), found

        return series

    return (
        Computed("dd_watcher_total", "Containers watched by a watcher", each(lambda one: one.watched)),
        Computed(
            "drydock_watch_last_success_timestamp_seconds",
            "When a scan last reached its Engine, Unix time",
            each(lambda one: one.last_success_ms and one.last_success_ms / 1000),
        ),
    )


def locked_out(locked: Callable[[], tuple[int, int]]) -> tuple[Computed, ...]:
    """Accounts and addresses that may not sign in for a while."""
    return (
        number("drydock_auth_account_locked_total", "Accounts locked now", lambda: locked()[0]),
        number("drydock_auth_ip_locked_total", "Addresses locked now", lambda: locked()[1]),
    )


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
    """CPU and memory per container, from the newest round of statistics."""

    def __init__(self, find: Callable[[str], Container | None]) -> None:
        self._find = find
        self._round: UsageRound | None = None

    def put(self, round: UsageRound) -> None:
        """Keep the newest round."""
        self._round = round

    def families(self) -> tuple[Computed, ...]:
        """The two gauges."""

        def series(value: Callable[[UsageRow], float]) -> Series:
            for row in self._round.rows if self._round else ():
                container = self._find(row.id)
                if container is not None:
                    yield _place(container), value(row)

        cpu, memory = "CPU of a container, 100 is one core", "Memory of a container, cache left out"
        return (
            Computed("drydock_container_cpu_percent", cpu, lambda: series(lambda row: row.cpu_percent)),
            Computed("drydock_container_memory_bytes", memory, lambda: series(lambda row: row.memory_usage_bytes)),
        )
