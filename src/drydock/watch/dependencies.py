"""What a container says it depends on (watching.md §5.12): the label form. Resolving names is done where it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from drydock.core import labels as names

ACTIONS: dict[str, Literal["update", "restart"]] = {"update": "update", "restart": "restart"}


def from_labels(labels: Mapping[str, str], own_name: str) -> dict[str, Any]:
    """The three `dependsOn…` fields. A label that is there but empty means "none" and replaces any detection."""
    if names.DEPENDS_ON not in labels:
        return {"depends_on": None, "depends_on_source": None, "depends_on_action": None}
    listed = [name for name in names.csv(labels[names.DEPENDS_ON]) if name != own_name]
    action = ACTIONS.get(labels.get(names.DEPENDS_ON_ACTION, "").strip(), "update")
    return {"depends_on": listed, "depends_on_source": "label", "depends_on_action": action}
