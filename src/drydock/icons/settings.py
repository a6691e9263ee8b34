"""Icons of containers and their cache (platform.md §2.7, platform-api.md §15)."""

from __future__ import annotations

from drydock.config import kinds
from drydock.config.schema import option, section


@section("DD_ICON_", "Icons", "Icons that containers ask for by name, fetched once and kept.")
class IconSettings:
    """`DD_ICON_*`."""

    cdn_url: str = option(
        "CDN_URL",
        kinds.url("http", "https"),
        default="https://cdn.jsdelivr.net",
        help="Where icons are fetched; a mirror must have the same paths below `gh/` and `npm/`.",
    )
    cache_ttl_ms: int = option(
        "CACHE_TTL_MS", kinds.integer(1), default=2_592_000_000, help="How long a kept icon is fresh.", lenient=True
    )
    cache_max_files: int = option(
        "CACHE_MAX_FILES", kinds.integer(1), default=5000, help="How many icons are kept.", lenient=True
    )
    cache_max_bytes: int = option(
        "CACHE_MAX_BYTES", kinds.integer(1), default=104_857_600, help="How many bytes of them are kept.", lenient=True
    )
    cache_enforcement_interval_ms: int = option(
        "CACHE_ENFORCEMENT_INTERVAL_MS",
        kinds.integer(1),
        default=10_000,
        help="Surplus icons are removed at most this often.",
        lenient=True,
    )
    in_flight_timeout_ms: int = option(
        "IN_FLIGHT_TIMEOUT_MS",
        kinds.integer(1),
        default=15_000,
        help="Longest time that a request waits for an icon, also when another one fetches it.",
        lenient=True,
    )
    proxy_rate_limit_window_ms: int = option(
        "PROXY_RATE_LIMIT_WINDOW_MS",
        kinds.integer(1),
        default=60_000,
        help="Window of the budget below, rounded up to seconds.",
        lenient=True,
    )
    proxy_rate_limit_max: int = option(
        "PROXY_RATE_LIMIT_MAX",
        kinds.integer(1),
        default=100,
        help="Icons that one client may have fetched in a window; kept ones do not count.",
        lenient=True,
    )
