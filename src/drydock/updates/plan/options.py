"""What a plan goes by: the settings of the process, the action that carries it out, and times (updates.md §1, §5, §7)."""

from __future__ import annotations

from dataclasses import dataclass, field

from drydock.updates.actions import Action
from drydock.updates.settings import UpdatesSettings


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """Times are in seconds; a helper, which has no settings, gets them with its order."""

    settings: UpdatesSettings = field(default_factory=UpdatesSettings)
    action: Action = field(default_factory=Action)
    gate_poll_s: float = 1.0
    least_gate_s: float = 120.0
    rollback_window_s: float = 300.0
    stop_slack_s: float = 60.0
    remove_retries_s: tuple[float, ...] = (1.0, 5.0, 15.0)
    restore_retries_s: tuple[float, ...] = (1.0, 5.0, 15.0)
