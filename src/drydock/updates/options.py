"""How updates behave, read once from the configuration (updates.md §1.3); plain values, passed in."""

from __future__ import annotations

import msgspec


class PlanOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Times of one update, in seconds. `liveness_grace_s` and `heartbeat_s` of 0 switch the feature off."""

    liveness_grace_s: float = 2.0
    heartbeat_s: float = 10.0
    gate_poll_s: float = 1.0
    least_gate_s: float = 120.0
    rollback_window_s: float = 300.0
    auto_remove_timeout_s: float = 10.0
    stop_slack_s: float = 60.0
    remove_retries_s: tuple[float, ...] = (1.0, 5.0, 15.0)
    restore_retries_s: tuple[float, ...] = (1.0, 5.0, 15.0)
    backup: bool = True
    block_on_file: bool = False
