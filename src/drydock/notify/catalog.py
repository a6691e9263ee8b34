"""All triggers as the API lists them: those of this room, and the actions that apply updates (notifications.md §11.1, §11.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from drydock.core.model import Container
from drydock.core.policy.automation import UPDATE_TYPES, TriggerFacts, choose
from drydock.core.update import update_kind
from drydock.notify.access import listed_threshold
from drydock.notify.model import Category, Trigger


class UpdateAction(Protocol):
    """A configured action that applies updates; `updates.actions.Action`."""

    @property
    def id(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def agent(self) -> str | None: ...

    def facts(self) -> TriggerFacts: ...

    def configuration(self) -> dict[str, Any]: ...


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One trigger as it is shown. `resolved_state` is for updating actions on a certain container."""

    id: str
    type: str
    name: str
    category: Category
    agent: str | None = None
    configuration: dict[str, Any] = field(default_factory=dict)
    resolved_state: Literal["blocked", "manual", "auto"] | None = None


class Catalog:
    """Every registered trigger."""

    def __init__(self, triggers: Sequence[Trigger], actions: Sequence[UpdateAction]) -> None:
        self._triggers = {trigger.id: trigger for trigger in triggers}
        self._actions = {action.id: action for action in actions}

    def trigger(self, id: str) -> Trigger | None:
        """The trigger of this room with that id, in any case."""
        return self._triggers.get(id.lower())

    def action(self, id: str) -> UpdateAction | None:
        """The updating action with that id, in any case."""
        return self._actions.get(id.lower())

    def triggers(self) -> list[Trigger]:
        """Those of this room in the order in which they are served: by `order`, then id."""
        return sorted(self._triggers.values(), key=lambda one: (one.options.order, one.id))

    def all(self) -> list[Listed]:
        """All of them by type, then name."""
        return sorted(self._shown(), key=lambda one: (one.type, one.name, one.agent or ""))

    def of_container(self, container: Container) -> list[Listed]:
        """Those associated with a container: they can serve it, and its labels do not speak against it."""
        found = (self._for_container(one, container) for one in self.all() if _compatible(one, container))
        return [one for one in found if one is not None]

    def _shown(self) -> Iterator[Listed]:
        for trigger in self._triggers.values():
            yield Listed(
                id=trigger.id,
                type=trigger.type,
                name=trigger.name,
                category=trigger.category,
                configuration=trigger.configuration(),
            )
        for action in self._actions.values():
            yield Listed(
                id=action.id,
                type=action.type,
                name=action.name,
                category="action",
                agent=action.agent,
                configuration=action.configuration(),
            )

    def _for_container(self, one: Listed, container: Container) -> Listed | None:
        listed, threshold = listed_threshold(one.id, one.category, container)
        if not listed:
            return None
        configuration = one.configuration if threshold is None else {**one.configuration, "threshold": threshold}
        return Listed(
            id=one.id,
            type=one.type,
            name=one.name,
            category=one.category,
            agent=one.agent,
            configuration=configuration,
            resolved_state=self._state(one.id, container),
        )

    def _state(self, id: str, container: Container) -> Literal["blocked", "manual", "auto"] | None:
        action = self._actions.get(id)
        access = choose([action.facts()], container, update_kind(container)) if action else None
        return access.policy.state if access else None


def _compatible(one: Listed, container: Container) -> bool:
    if one.agent is not None or one.type in UPDATE_TYPES:
        return one.agent == container.agent
    return True
