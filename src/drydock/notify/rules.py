"""Notification rules: which kinds of events are sent at all, and by which triggers (notifications.md §6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import msgspec

from drydock.core.policy.thresholds import TriggerReference, names
from drydock.notify.model import Category, Rule

Decision = Literal[
    "default-when-rule-missing",
    "rule-disabled",
    "allow-all-when-empty",
    "matched-allow-list",
    "exempt",
    "excluded-from-allow-list",
]
DENIED: frozenset[Decision] = frozenset({"rule-disabled", "excluded-from-allow-list"})


@dataclass(frozen=True, kw_only=True)
class RuleSettings:
    """One rule. An empty list of `triggers` means all of them."""

    id: Rule
    name: str
    description: str
    enabled: bool = True
    triggers: tuple[str, ...] = ()


RULES: tuple[RuleSettings, ...] = (
    RuleSettings(id="update-available", name="Update Available", description="A container has an update."),
    RuleSettings(id="update-applied", name="Update Applied", description="An update was carried out."),
    RuleSettings(id="update-failed", name="Update Failed", description="An update failed or was rolled back."),
    RuleSettings(id="security-alert", name="Security Alert", description="A scan found serious vulnerabilities."),
    RuleSettings(
        id="agent-disconnect",
        name="Agent Disconnected",
        description="The connection to an agent was lost.",
        enabled=False,
    ),
    RuleSettings(id="agent-reconnect", name="Agent Reconnected", description="An agent is back.", enabled=False),
    RuleSettings(
        id="container-unhealthy", name="Container Unhealthy", description="A health check fails.", enabled=False
    ),
    RuleSettings(
        id="maturity-cleared", name="Maturity Gate Cleared", description="An update became old enough to be applied."
    ),
)
"""All rules in their order, as they are without changes of the user."""


class StoredRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a user changed of a rule."""

    enabled: bool | None = None
    triggers: tuple[str, ...] | None = None


class Rules:
    """The rules in force."""

    def __init__(self, stored: Mapping[str, StoredRule]) -> None:
        self._rules: dict[Rule, RuleSettings] = {}
        for rule in RULES:
            change = stored.get(rule.id, StoredRule())
            enabled = rule.enabled if change.enabled is None else change.enabled
            triggers = rule.triggers if change.triggers is None else change.triggers
            self._rules[rule.id] = replace(rule, enabled=enabled, triggers=triggers)

    def all(self) -> list[RuleSettings]:
        """In their order."""
        return list(self._rules.values())

    def decide(self, rule: Rule, trigger_id: str, category: Category) -> Decision:
        """Whether this trigger may send such an event, and why. Actions cannot be listed, so no list excludes them."""
        found = self._rules.get(rule)
        if found is None:
            return "default-when-rule-missing"
        if not found.enabled:
            return "rule-disabled"
        if not found.triggers:
            return "allow-all-when-empty"
        if category == "action":
            return "exempt"
        listed = any(names(TriggerReference(reference), trigger_id) for reference in found.triggers)
        return "matched-allow-list" if listed else "excluded-from-allow-list"
