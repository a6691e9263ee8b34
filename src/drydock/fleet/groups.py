"""Containers that belong together: by label, Compose project or stack (container-api.md §4.4)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from drydock.core import compose_labels, labels
from drydock.core.former_names import former_label
from drydock.core.model import ContainerView

_GROUP_LABELS = (labels.GROUP, former_label(labels.GROUP), compose_labels.PROJECT, compose_labels.STACK)


class GroupMember(msgspec.Struct, frozen=True, rename="camel"):
    """A container of a group."""

    id: str
    name: str
    display_name: str
    update_available: bool


class Group(msgspec.Struct, rename="camel"):
    """Containers that belong together; `name` is null for those that belong nowhere."""

    name: str | None
    containers: list[GroupMember]
    container_count: int = 0
    updates_available: int = 0


def grouped(views: Iterable[ContainerView]) -> list[Group]:
    """All groups in the order of their first container."""
    by_name: dict[str | None, Group] = {}
    for view in views:
        name = next((text for label in _GROUP_LABELS if (text := view.labels.get(label, "").strip())), None)
        group = by_name.setdefault(name, Group(name, []))
        group.containers.append(GroupMember(view.id, view.name, view.display_name, view.update_available))
        group.container_count += 1
        group.updates_available += view.update_available
    return list(by_name.values())
