"""Process-wide settings of updates (updates.md §1.3) as plain values; the variables are in `config.sections.updates`."""

from __future__ import annotations

from typing import Literal

import msgspec

from drydock.updates.options import PlanOptions

UpdateMode = Literal["notify", "manual", "auto"]


class UpdateSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Times in milliseconds, except where the name says otherwise. `max_concurrent` 0 is unlimited."""

    max_concurrent: int = 0
    heartbeat_ms: int = 10_000
    liveness_grace_ms: int = 2_000
    boot_concurrency: int = 4
    active_ttl_ms: int = 1_800_000
    retention_days: int = 30
    max_entries: int = 500
    labels_strict: bool = False
    actions_enabled: bool = True
    hooks_enabled: bool = False
    hooks_allowed: tuple[str, ...] | None = None

    def plan_options(self) -> PlanOptions:
        """What a plan needs of them."""
        return PlanOptions(liveness_grace_s=self.liveness_grace_ms / 1000, heartbeat_s=self.heartbeat_ms / 1000)
