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
    cache_ttl_s: float = option(
        "CACHE_TTL_MS", kinds.milliseconds(1), default=2592000.0, help="How long a cached icon is fresh.", lenient=True
    )
    cache_max_files: int = option(
        "CACHE_MAX_FILES", kinds.integer(1), default=5000, help="Icons in the cache.", lenient=True
    )
    cache_max_bytes: int = option(
        "CACHE_MAX_BYTES", kinds.integer(1), default=104_857_600, help="Size of the icon cache in bytes.", lenient=True
    )
    cache_enforcement_interval_s: float = option(
        "CACHE_ENFORCEMENT_INTERVAL_MS",
        kinds.milliseconds(1),
        default=10.0,
        help="Surplus icons are removed at most this often.",
        lenient=True,
    )
    in_flight_timeout_s: float = option(
        "IN_FLIGHT_TIMEOUT_MS",
        kinds.milliseconds(1),
        default=15.0,
        help="Longest time that a request waits for an icon, even if another request fetches it.",
        lenient=True,
    )
    proxy_rate_limit_window_s: float = option(
        "PROXY_RATE_LIMIT_WINDOW_MS",
        kinds.milliseconds(1),
        default=60.0,
        help="Window of the budget below, rounded up to seconds.",
        lenient=True,
    )
    proxy_rate_limit_max: int = option(
        "PROXY_RATE_LIMIT_MAX",
        kinds.integer(1),
        default=100,
        help="Icons that one client may have fetched in a window; cached ones do not count.",
        lenient=True,
    )
