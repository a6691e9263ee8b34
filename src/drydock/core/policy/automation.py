"""What the configured update triggers would do with a container: blocked, manual, or automatic (watching.md §12.2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from drydock.core.model import ActionPolicy, Container, UpdateKind
from drydock.core.policy.thresholds import TriggerReference, match_reference, parse_references

UpdateMode = Literal["notify", "manual", "auto"]
"""The update mode of the server: only `auto` lets an action update by itself (updates.md §2.4)."""

AutoMode = Literal["all", "oninclude", "onauto", "none"]
UPDATE_TYPES = ("docker", "dockercompose")


class TriggerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One configured trigger. `compose_file` says whether a Compose trigger's file is known to hold the service."""

    id: str
    type: str
    name: str
    agent: str | None = None
    threshold: str = "all"
    auto: AutoMode = "oninclude"
    compose_file: Literal["verified", "unknown"] = "unknown"


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """What one trigger may do with a container."""

    trigger: TriggerFacts
    policy: ActionPolicy


def auto_mode(text: str) -> AutoMode | None:
    """Read an `AUTO` setting: `true` is all, `false` is none; None for a text that is no mode."""
    known: dict[str, AutoMode] = {
        "true": "all",
        "false": "none",
        "all": "all",
        "oninclude": "oninclude",
        "onauto": "onauto",
        "none": "none",
    }
    return known.get(text.strip().lower())


def update_triggers(triggers: Iterable[TriggerFacts]) -> list[TriggerFacts]:
    """The triggers that can update a container."""
    return [trigger for trigger in triggers if trigger.type in UPDATE_TYPES]


def compatible(triggers: Iterable[TriggerFacts], container: Container) -> list[TriggerFacts]:
    """Triggers that serve the container's agent, best rank first, registration order inside a rank."""
    served = [trigger for trigger in triggers if (trigger.agent or None) == (container.agent or None)]
    return sorted(served, key=lambda one: 2 if one.type != "dockercompose" else one.compose_file != "verified")


def choose(ranked: Iterable[TriggerFacts], container: Container, kind: UpdateKind) -> Access | None:
    """The trigger that decides: an exclusion stops, `not-included` is passed over, the first that may act wins.

    `ranked` comes from `compatible`; None when it is empty.
    """
    passed_over: Access | None = None
    for trigger in ranked:
        access = Access(trigger=trigger, policy=_access(trigger, container, kind))
        if access.policy.reason != "not-included":
            return access
        passed_over = passed_over or access
    return passed_over


def _access(trigger: TriggerFacts, container: Container, kind: UpdateKind) -> ActionPolicy:
    if _matches(container.action_trigger_exclude, trigger, kind):
        return ActionPolicy(state="blocked", trigger_id=trigger.id, reason="excluded")
    included = _matches(container.action_trigger_include, trigger, kind) is not None
    automatic = _matches(container.action_trigger_auto, trigger, kind) is not None
    may_act = trigger.auto in ("all", "none") or included or (trigger.auto == "onauto" and automatic)
    if not may_act:
        return ActionPolicy(state="blocked", trigger_id=trigger.id, reason="not-included")
    acts = trigger.auto in ("all", "oninclude") or (trigger.auto == "onauto" and automatic)
    return ActionPolicy(state="auto" if acts else "manual", trigger_id=trigger.id)


def _matches(text: str | None, trigger: TriggerFacts, kind: UpdateKind) -> TriggerReference | None:
    return match_reference(parse_references(text), trigger.id, kind)
