"""Whether the policy hides an update (watching.md §8.3). Derived whenever it is read: time passes."""

from __future__ import annotations

from typing import Literal

from drydock.core.model import Container, UpdateKind, UpdatePolicy
from drydock.core.policy.layers import effective
from drydock.core.policy.maturity import is_pending
from drydock.core.times import from_iso
from drydock.core.update import has_raw_update, update_kind

Suppression = Literal["snoozed", "maturity-not-reached", "skip-tag", "skip-digest"]


def suppressed_by(
    container: Container,
    now_ms: int,
    *,
    policy: UpdatePolicy | None = None,
    kind: UpdateKind | None = None,
) -> Suppression | None:
    """The first part of the policy that hides the update, None when nothing does.

    `policy` and `kind` save computing them again where the caller has them.
    """
    policy = policy if policy is not None else effective(container).policy
    kind = kind if kind is not None else update_kind(container)
    if is_snoozed(policy, now_ms):
        return "snoozed"
    if is_pending(container, policy, now_ms):
        return "maturity-not-reached"
    if kind.kind == "tag" and kind.remote_value in (policy.skip_tags or ()):
        return "skip-tag"
    if kind.kind == "digest" and kind.remote_value in (policy.skip_digests or ()):
        return "skip-digest"
    return None


def is_snoozed(policy: UpdatePolicy, now_ms: int) -> bool:
    """Whether the snooze lies in the future; an unreadable date snoozes nothing."""
    until = from_iso(policy.snooze_until)
    return until is not None and until > now_ms


def is_available(container: Container, now_ms: int) -> bool:
    """`updateAvailable`: a raw update that no policy hides."""
    return has_raw_update(container) and suppressed_by(container, now_ms) is None
