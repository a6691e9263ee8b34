"""Names of former versions, of Drydock before 1.6 and of WUD: what is still understood, and what is only reported.

Reading one is reported once, with the name to use instead, and counted. Former routes are in `compat/`.
"""

from __future__ import annotations

from typing import Final

IGNORED_VARIABLES: Final = "WUD_"
"""Variables that begin so are reported and not read."""
TRIGGER_VARIABLES: Final = "DD_TRIGGER_"
"""Became `DD_ACTION_` and `DD_NOTIFICATION_`, which win over it (notifications.md §1.1)."""
TRIGGER_INCLUDE: Final = "dd.trigger.include"
"""Label for triggers of both kinds; became `dd.action.include` and `dd.notification.include`."""
TRIGGER_EXCLUDE: Final = "dd.trigger.exclude"


def former_label(key: str) -> str:
    """What a label was called by WUD: `dd.watch` was `wud.watch`."""
    return "wud." + key.removeprefix("dd.")
