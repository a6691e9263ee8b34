"""Which containers a trigger concerns: labels, agents, temporary containers (notifications.md §4, §11.3)."""

from __future__ import annotations

from drydock.core.model import Container, UpdateKind
from drydock.core.policy.thresholds import TriggerReference, match_reference, names, parse_references
from drydock.core.temporary import is_temporary
from drydock.notify.model import Category, Trigger


def refusal(trigger: Trigger, container: Container, kind: UpdateKind) -> str | None:
    """Why this trigger is silent about the container, None when it is not; thresholds in labels are those of §4.1."""
    if is_temporary(container.name):
        return "temporary-container"
    include, exclude = labels(trigger.category, container)
    if include is None:
        if trigger.auto in ("oninclude", "onauto"):
            return "not-included"
    elif match_reference(parse_references(include), trigger.id, kind) is None:
        return "not-included"
    if match_reference(parse_references(exclude), trigger.id, kind) is not None:
        return "excluded"
    return None


def labels(category: Category, container: Container) -> tuple[str | None, str | None]:
    """The include and exclude lists that concern a category; None where there is none."""
    if category == "action":
        found = container.action_trigger_include, container.action_trigger_exclude
    else:
        found = container.notification_trigger_include, container.notification_trigger_exclude
    return found[0] or None, found[1] or None


def listed_threshold(trigger_id: str, category: Category, container: Container) -> tuple[bool, str | None]:
    """Whether a trigger belongs to a container by its labels alone, and the threshold that its include list sets.

    Thresholds are not compared here: this is about what is associated, not about one update (§11.3).
    """
    include, exclude = labels(category, container)
    if _entry(exclude, trigger_id) is not None:
        return False, None
    if include is None:
        return True, None
    entry = _entry(include, trigger_id)
    return entry is not None, entry.threshold if entry else None


def _entry(text: str | None, trigger_id: str) -> TriggerReference | None:
    return next((one for one in parse_references(text) if names(one, trigger_id)), None)
