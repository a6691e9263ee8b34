"""Persistence, the server's own log, metrics and statistics (platform.md §2.4)."""

from __future__ import annotations

from drydock.config import kinds
from drydock.config.schema import option, section


@section("DD_STORE_", "Store", "Where Drydock keeps what must survive a restart.")
class StoreSettings:
    """`DD_STORE_*`."""

    path: str = option("PATH", kinds.path(), default="/store", help="Folder of the store; created when missing.")
    file: str = option("FILE", kinds.path(), default="drydock.db", help="Name of the SQLite file inside that folder.")
    url: str | None = option(
        "URL",
        kinds.text(),
        default=None,
        help="Database address instead of the file: `postgresql+asyncpg://user@host/database`.",
    )


@section("DD_LOG_", "Log", "The server's own log.")
class LogSettings:
    """`DD_LOG_*`."""

    level: str = option(
        "LEVEL",
        kinds.choice("fatal", "error", "warn", "info", "debug", "trace"),
        default="info",
        help="Lowest level written.",
    )
    format: str = option(
        "FORMAT", kinds.choice("text", "json"), default="text", help="`json`: one object per line.", lenient=True
    )
    buffer_enabled: bool = option(
        "BUFFER_ENABLED",
        kinds.boolean(),
        default=True,
        help="Keep the last 1,000 entries for the log endpoints.",
        lenient=True,
    )


@section("DD_PROMETHEUS_", "Metrics", "The Prometheus endpoint.")
class MetricsSettings:
    """`DD_PROMETHEUS_*`."""

    enabled: bool = option(
        "ENABLED", kinds.boolean(), default=True, help="`false`: `/metrics` answers with an empty body."
    )


@section("DD_METRICS_", "Metrics of containers", "What else `/metrics` tells.")
class ContainerMetricsSettings:
    """`DD_METRICS_*`."""

    containerstats: bool = option(
        "CONTAINERSTATS",
        kinds.boolean(),
        default=False,
        help="CPU and memory of every running container; asks the Engines in each interval of statistics.",
    )


@section("DD_STATS_", "Statistics", "Live CPU, memory, network and block figures.")
class StatsSettings:
    """`DD_STATS_*`."""

    interval: int = option("INTERVAL", kinds.integer(1), default=10, help="Seconds between samples.", lenient=True)
    history_size: int = option(
        "HISTORY_SIZE", kinds.integer(1), default=60, help="Samples kept per container.", lenient=True
    )


@section("DD_", "Caches", "How much is kept for containers that come back under a new id.")
class CacheSettings:
    """Retention across recreation (watching.md §9.3)."""

    default_max_entries: int = option(
        "DEFAULT_CACHE_MAX_ENTRIES",
        kinds.integer(1),
        default=500,
        help="Default size of the caches below.",
        lenient=True,
    )
    query_max_entries: int | None = option(
        "CONTAINERS_QUERY_CACHE_MAX_ENTRIES",
        kinds.integer(1),
        default=None,
        help="How many answers of container lists are kept while nothing changes.",
        lenient=True,
    )
    lifecycle_ttl_ms: int = option(
        "UPDATE_LIFECYCLE_CACHE_TTL_MS",
        kinds.integer(1),
        default=1_800_000,
        help="How long the detection times of a removed container wait for its successor.",
        lenient=True,
    )
    lifecycle_max_entries: int | None = option(
        "UPDATE_LIFECYCLE_CACHE_MAX_ENTRIES",
        kinds.integer(1),
        default=None,
        help="How many of them at most.",
        lenient=True,
    )
    policy_ttl_ms: int = option(
        "UPDATE_POLICY_RETENTION_CACHE_TTL_MS",
        kinds.integer(1),
        default=604_800_000,
        help="How long the policy of a removed container waits for its successor.",
        lenient=True,
    )
    policy_max_entries: int | None = option(
        "UPDATE_POLICY_RETENTION_CACHE_MAX_ENTRIES",
        kinds.integer(1),
        default=None,
        help="How many of them at most.",
        lenient=True,
    )
    security_ttl_ms: int = option(
        "SECURITY_STATE_CACHE_TTL_MS",
        kinds.integer(1),
        default=900_000,
        help="How long the scan results of a removed container wait for its successor.",
        lenient=True,
    )
    security_max_entries: int | None = option(
        "SECURITY_STATE_CACHE_MAX_ENTRIES",
        kinds.integer(1),
        default=None,
        help="How many of them at most.",
        lenient=True,
    )
