"""The layers of an update policy and what they add up to (watching.md §10; container-api.md §2.7)."""

from __future__ import annotations

from typing import Any

import msgspec

from drydock.core.model import Container, DeclarativePolicy, PolicySource, UpdatePolicy

FIELDS = ("skip_tags", "skip_digests", "snooze_until", "maturity_mode", "maturity_min_age_days")
DECLARATIVE_FIELDS = ("skip_tags", "skip_digests", "maturity_mode", "maturity_min_age_days")

_WIRE = {
    "skip_tags": "skipTags",
    "skip_digests": "skipDigests",
    "snooze_until": "snoozeUntil",
    "maturity_mode": "maturityMode",
    "maturity_min_age_days": "maturityMinAgeDays",
}
FIELD_OF_WIRE = {wire: field for field, wire in _WIRE.items()}

_EMPTY = UpdatePolicy()


class Effective(msgspec.Struct, frozen=True):
    """The policy in force, and which layer each of its fields (wire names) comes from; both empty without policy."""

    policy: UpdatePolicy
    sources: dict[str, PolicySource]

    @property
    def shown(self) -> UpdatePolicy | None:
        """The policy as the API shows it: empty lists dropped, None when nothing remains."""
        policy = msgspec.structs.replace(
            self.policy,
            skip_tags=self.policy.skip_tags or None,
            skip_digests=self.policy.skip_digests or None,
        )
        return None if policy == _EMPTY else policy

    @property
    def shown_sources(self) -> dict[str, PolicySource] | None:
        """The sources of the fields in `shown`."""
        shown = self.shown or _EMPTY
        kept = {
            wire: source for wire, source in self.sources.items() if getattr(shown, FIELD_OF_WIRE[wire]) is not None
        }
        return kept or None


def effective(container: Container) -> Effective:
    """Combine the layers field by field: override > label > watcher. Lists replace, they never add up."""
    declared = container.update_policy_declarative or DeclarativePolicy()
    layers: tuple[tuple[PolicySource, UpdatePolicy], ...] = (
        ("override", container.update_policy_overrides or _EMPTY),
        ("label", declared.label or _EMPTY),
        ("env", declared.env or _EMPTY),
    )
    values: dict[str, Any] = {}
    sources: dict[str, PolicySource] = {}
    for field in FIELDS:
        # Only a person snoozes: a label or the watcher cannot.
        asked = layers[:1] if field == "snooze_until" else layers
        found = next(
            ((source, value) for source, policy in asked if (value := getattr(policy, field)) is not None), None
        )
        if found is not None:
            sources[_WIRE[field]], values[field] = found
    return Effective(UpdatePolicy(**values), sources)


def is_declared(container: Container, field: str) -> bool:
    """Whether a label or the watcher gives this field, so that dropping the override would reveal it."""
    declared = container.update_policy_declarative
    return declared is not None and any(
        getattr(layer, field) is not None for layer in (declared.env, declared.label) if layer is not None
    )
