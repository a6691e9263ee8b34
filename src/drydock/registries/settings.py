"""What holds for all registries (registries.md §1.6)."""

from __future__ import annotations

from drydock.config import kinds
from drydock.config.schema import option, section


@section("DD_REGISTRIES_", "Registries in general", "What holds for all registries.")
class RegistriesSettings:
    """`DD_REGISTRIES_*` (registries.md §1.6)."""

    auto: bool = option(
        "AUTO",
        kinds.boolean(),
        default=True,
        help="Query hosts that no configured registry serves, anonymously and over HTTPS.",
    )
    concurrency: int = option("CONCURRENCY", kinds.integer(1, 32), default=4, help="Requests to one host at a time.")
    cache_mb: int = option(
        "CACHE_MB", kinds.integer(0), default=64, help="Size of the registry cache on disk in MiB; 0 = none."
    )
    allow_private_realms: bool = option(
        "ALLOW_PRIVATE_REALMS",
        kinds.boolean(),
        default=False,
        help="Follow registries to token servers and redirects with private addresses.",
    )


@section("DD_GHCR_", "GitHub packages", "Look-ups of publication dates.")
class GhcrSettings:
    """`DD_GHCR_*`."""

    versions_max_pages: int = option(
        "VERSIONS_MAX_PAGES",
        kinds.integer(1),
        default=500,
        help="Pages of package versions read at most.",
        lenient=True,
    )
