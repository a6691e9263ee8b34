"""What is kept for containers that come back under a new id (watching.md §9.3), and when an update counts as mature."""

from __future__ import annotations

from drydock.config import kinds
from drydock.config.schema import option, section


@section("DD_", "Fleet", "How much is kept for containers that come back under a new id, and how ages are called.")
class FleetSettings:
    """Retention across recreation (watching.md §9.3), caches, and when an update counts as mature."""

    default_max: int = option(
        "DEFAULT_CACHE_MAX_ENTRIES",
        kinds.integer(1),
        default=500,
        help="Default size of the caches below.",
        lenient=True,
    )
    query_cache_entries: int | None = option(
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
    lifecycle_entries: int | None = option(
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
    policy_entries: int | None = option(
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
    security_entries: int | None = option(
        "SECURITY_STATE_CACHE_MAX_ENTRIES",
        kinds.integer(1),
        default=None,
        help="How many of them at most.",
        lenient=True,
    )

    maturity_threshold_days: int = option(
        "UI_MATURITY_THRESHOLD_DAYS",
        kinds.integer(1),
        default=7,
        help="Age in days at which an update counts as mature instead of hot.",
        lenient=True,
    )
    query_cache_bytes: int = 8 * 1024 * 1024

    @property
    def query_cache_max(self) -> int:
        """Answers kept at most."""
        return self.query_cache_entries or self.default_max

    @property
    def lifecycle_max(self) -> int:
        """Detection times kept at most."""
        return self.lifecycle_entries or self.default_max

    @property
    def policy_max(self) -> int:
        """Policies kept at most."""
        return self.policy_entries or self.default_max

    @property
    def security_max(self) -> int:
        """Scan results kept at most."""
        return self.security_entries or self.default_max
