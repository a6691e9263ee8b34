"""Which changes of a record are worth an event (watching.md §13)."""

from __future__ import annotations

from typing import Any

from drydock.core.model import Container, ContainerView


def meaningful(before: ContainerView, after: ContainerView) -> bool:
    """Something that a person or a rule reacts to has changed."""
    return _facts(before) != _facts(after)


def _facts(view: ContainerView) -> tuple[Any, ...]:
    result = view.result
    return (
        view.update_available,
        result.tag if result else None,
        result.digest if result else None,
        view.status,
        view.health,
        view.error.message if view.error else None,
        view.image.tag.value,
        view.update_policy_declarative,
        view.update_policy_overrides,
        view.security,
    )


def became_unhealthy(before: Container, after: Container) -> bool:
    """Unhealthy now, and either healthy-known-otherwise before, or a new run of the container."""
    if after.health != "unhealthy":
        return False
    changed = before.health is not None and before.health != "unhealthy"
    first, second = _started(before), _started(after)
    return changed or (first is not None and second is not None and first != second)


def _started(container: Container) -> str | None:
    return container.details.started_at if container.details else None
