"""What variables of triggers have in common, whichever room carries them out (notifications.md §1).

Notifications are sent by `notify/`, updates are applied by `updates/`; both declare their types, and the schema puts
them into this one family, because they share prefixes, names and defaults.
"""

from __future__ import annotations

from collections.abc import Iterable

from drydock.config.components import Family, Member
from drydock.config.kinds import Kind
from drydock.core.former_names import TRIGGER_VARIABLES
from drydock.core.policy.automation import AutoMode, auto_mode

MODES = ("simple", "batch", "digest", "batch+digest")


def trigger_family(members: Iterable[Member]) -> Family:
    """The family of all triggers. Both current prefixes configure any type; `DD_TRIGGER_` is the one of version 1.5."""
    return Family(
        kind="trigger",
        prefixes=("DD_NOTIFICATION_", "DD_ACTION_"),
        former=TRIGGER_VARIABLES,
        members=tuple(members),
        shared=("THRESHOLD", "ONCE", "MODE", "ORDER"),
    )


def auto() -> Kind[AutoMode]:
    """When a trigger reacts to found updates."""

    def read(text: str) -> AutoMode:
        mode = auto_mode(text)
        if mode is None:
            raise ValueError(text)
        return mode

    return Kind("choice", "true, false, all, oninclude, onauto or none", read, empty_is_unset=True)
