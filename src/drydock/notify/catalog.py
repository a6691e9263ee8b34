"""All triggers as the API lists them: those of this room, and the actions that apply updates (notifications.md §11.1, §11.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from drydock.core.model import Container
from drydock.core.policy.automation import UPDATE_TYPES, TriggerFacts, choose
from drydock.core.secret import MASK
from drydock.core.update import update_kind
from drydock.notify.access import listed_threshold
from drydock.notify.model import Category, Trigger

TELLING = frozenset(
    [
        "host",
        "hostname",
        "url",
        "urls",
        "webhook",
        "webhookurl",
        "channel",
        "channelid",
        "roomid",
        "apikey",
        "token",
        "password",
        "username",
        "user",
        "botusername",
        "cmd",
        "topic",
    ]
)
"""Options that reveal where messages go and who sends them."""


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
        found = [_listed(trigger, trigger.category) for trigger in self._triggers.values()]
        found += [replace(_listed(action, "action"), agent=action.agent) for action in self._actions.values()]
        return sorted(found, key=lambda one: (one.type, one.name, one.agent or ""))

    def of_container(self, container: Container) -> list[Listed]:
        """Those associated with a container: they can serve it, and its labels do not speak against it."""
        found: list[Listed] = []
        for one in self.all():
            if (one.agent is not None or one.type in UPDATE_TYPES) and one.agent != container.agent:
                continue
            listed, threshold = listed_threshold(one.id, one.category, container)
            if not listed:
                continue
            if threshold is not None:
                one = replace(one, configuration={**one.configuration, "threshold": threshold})
            action = self._actions.get(one.id)
            access = choose([action.facts()], container, update_kind(container)) if action else None
            found.append(replace(one, resolved_state=access.policy.state) if access else one)
        return found


def _listed(one: Trigger | UpdateAction, category: Category) -> Listed:
    return Listed(id=one.id, type=one.type, name=one.name, category=category, configuration=one.configuration())


def strict(node: Any) -> Any:
    """A configuration for logs and the debug dump: also what only reveals where and to whom is masked, at any depth."""
    if isinstance(node, list):
        return [strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    masked = dict(node)
    for key, value in node.items():
        if key.lower() not in TELLING:
            masked[key] = strict(value)
        elif isinstance(value, list):
            masked[key] = [MASK for _ in value]
        elif value not in (None, ""):
            masked[key] = MASK
    return masked
