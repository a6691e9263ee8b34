"""What the fleet needs to know, as one plain value (platform.md §2.4)."""

from __future__ import annotations

from dataclasses import dataclass

MINUTE_MS = 60_000


@dataclass(frozen=True, kw_only=True)
class FleetSettings:
    """How long things survive recreation (ms), and bounds of the caches."""

    lifecycle_ttl_ms: int = 30 * MINUTE_MS
    lifecycle_max: int = 500
    policy_ttl_ms: int = 7 * 24 * 60 * MINUTE_MS
    policy_max: int = 500
    security_ttl_ms: int = 15 * MINUTE_MS
    security_max: int = 500
    query_cache_max: int = 500
    query_cache_bytes: int = 8 * 1024 * 1024
