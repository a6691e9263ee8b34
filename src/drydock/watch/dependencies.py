"""What a container says it depends on (watching.md §5.12): its label, else its Compose files. Names are resolved where used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from drydock.core import labels as names

ACTIONS: dict[str, Literal["update", "restart"]] = {"update": "update", "restart": "restart"}


def dependencies(labels: Mapping[str, str], own_name: str, compose: Sequence[str] | None) -> dict[str, Any]:
    """The three `dependsOn…` fields. A label that is there but empty means "none" and replaces any detection."""
    action = ACTIONS.get(labels.get(names.DEPENDS_ON_ACTION, "").strip(), "update")
    if names.DEPENDS_ON in labels:
        listed = [name for name in names.csv(labels[names.DEPENDS_ON]) if name != own_name]
        return {"depends_on": listed, "depends_on_source": "label", "depends_on_action": action}
    if compose:
        return {"depends_on": list(compose), "depends_on_source": "compose", "depends_on_action": action}
    return {"depends_on": None, "depends_on_source": None, "depends_on_action": None}


def oddities(labels: Mapping[str, str], own_name: str) -> list[str]:
    """Warnings about the dependency labels."""
    found = []
    if own_name in names.csv(labels.get(names.DEPENDS_ON)):
        found.append(f"{names.DEPENDS_ON} names the container itself; ignored")
    action = labels.get(names.DEPENDS_ON_ACTION, "").strip()
    if action and action not in ACTIONS:
        found.append(f"{names.DEPENDS_ON_ACTION}={action!r} is neither update nor restart; update is used")
    return found
