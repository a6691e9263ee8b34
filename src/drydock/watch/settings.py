"""What holds for all watchers (watching.md §1.8)."""

from __future__ import annotations

from drydock.config import kinds
from drydock.config.schema import option, section


@section("DD_", "Watching", "What holds for all watchers.")
class WatchingSettings:
    """Process-wide variables of watching.md §1.8."""

    maturity_sweep_cron: str | None = option(
        "MATURITY_SWEEP_CRON",
        kinds.optional_cron(),
        default="*/5 * * * *",
        help="When to check for updates whose maturity gate opened.",
        lenient=True,
        fallback=None,
    )
