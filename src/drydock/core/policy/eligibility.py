"""Whether an update may run now, and everything that speaks against it (watching.md §12.1; container-api.md §2.9).

Evaluated on every read, never stored. Hard blockers refuse a manual update, soft ones only hold automatic ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from drydock.core import labels
from drydock.core.model import ActionPolicy, ActiveOperation, Blocker, Container, Eligibility, Result, UpdateKind
from drydock.core.policy import maturity
from drydock.core.policy.automation import Access, TriggerFacts, choose, compatible, update_triggers
from drydock.core.policy.layers import Effective, effective
from drydock.core.policy.suppression import is_snoozed
from drydock.core.policy.thresholds import reaches
from drydock.core.reference import split
from drydock.core.temporary import is_temporary
from drydock.core.times import DAY_MS, to_iso
from drydock.core.update import has_raw_update, update_kind

__all__ = ["EligibilityContext", "TriggerFacts", "evaluate"]


class EligibilityContext(msgspec.Struct, frozen=True, kw_only=True):
    """Facts from outside the record. `window_open` None means the window is not asked (manual updates).

    `block_severities` (upper-case) is the scan policy in force, None to trust the stored verdict; `labels_strict`
    makes `dd.action.*` hard; `agent_registering` softens missing triggers for display.
    """

    window_open: bool | None = None
    triggers: tuple[TriggerFacts, ...] = ()
    active_operation: ActiveOperation | None = None
    is_self: bool = False
    self_update_possible: bool = True
    gate_enabled: bool = False
    block_severities: frozenset[str] | None = None
    labels_strict: bool = False
    agent_registering: bool = False


class _Case(msgspec.Struct, frozen=True):
    """Everything the checks look at, computed once per container."""

    container: Container
    result: Result
    context: EligibilityContext
    now_ms: int
    kind: UpdateKind
    effective: Effective
    serving: list[TriggerFacts]
    access: Access | None


_Check = Callable[[_Case], Blocker | None]

NOTHING_TO_DO = Blocker(
    reason="no-update-available",
    severity="hard",
    message="There is no update for this container",
    actionable=False,
)


def evaluate(container: Container, now_ms: int, context: EligibilityContext) -> Eligibility:
    """All blockers in the order of §12.1, and what the configured actions would do."""
    result = container.result
    if result is None or not has_raw_update(container, raw_tags=True):
        return Eligibility(eligible=False, blockers=[NOTHING_TO_DO], evaluated_at=to_iso(now_ms))
    case = _case(container, result, now_ms, context)
    blockers = list(_blockers(case))
    return Eligibility(
        eligible=not blockers,
        blockers=blockers,
        evaluated_at=to_iso(now_ms),
        action_policy=action_policy(case.access),
    )


def action_policy(access: Access | None) -> ActionPolicy | None:
    """The action policy to show; None when no trigger serves the container."""
    return access.policy if access else None


def _case(container: Container, result: Result, now_ms: int, context: EligibilityContext) -> _Case:
    kind = update_kind(container)
    serving = compatible(update_triggers(context.triggers), container)
    access = choose(serving, container, kind)
    return _Case(container, result, context, now_ms, kind, effective(container), serving, access)


def _blockers(case: _Case) -> Iterator[Blocker]:
    for check in CHECKS:
        blocker = check(case)
        if blocker is not None:
            yield blocker


def _blocker(
    reason: str,
    message: str,
    *,
    hard: bool = False,
    hint: str | None = None,
    lift_ms: int | None = None,
    details: dict[str, Any] | None = None,
) -> Blocker:
    """A blocker; a hint makes it actionable, details that are None are left out."""
    known = {key: value for key, value in (details or {}).items() if value is not None}
    return Blocker(
        reason=reason,
        severity="hard" if hard else "soft",
        message=message,
        actionable=hint is not None,
        action_hint=hint,
        liftable_at=None if lift_ms is None else to_iso(lift_ms),
        details=known or None,
    )


def _window(case: _Case) -> Blocker | None:
    if case.context.window_open is not False:
        return None
    return _blocker("maintenance-window-closed", "The maintenance window of the watcher is closed")


def _self_update(case: _Case) -> Blocker | None:
    if not case.context.is_self or case.context.self_update_possible:
        return None
    return _blocker(
        "self-update-unavailable",
        "Drydock cannot update itself over this connection",
        hard=True,
        hint="Mount the Docker socket into Drydock's container, or reach the Engine over TCP",
    )


def _security(case: _Case) -> Blocker | None:
    scan = (case.container.security or {}).get("updateScan")
    if not isinstance(scan, dict) or not _gate_on(case) or not _is_of_candidate(scan, case.result):
        return None
    if not _is_blocked(scan, case.context.block_severities):
        return None
    return _blocker(
        "security-scan-blocked",
        "The scan of the new image found vulnerabilities that the policy does not allow",
        hard=True,
        hint="Wait for a fixed image, scan again, change DD_SECURITY_BLOCK_SEVERITY, or set dd.security.gate=off",
        details={
            "blockingCount": _blocking_count(scan, case.context.block_severities),
            "blockSeverities": sorted(case.context.block_severities or scan.get("blockSeverities") or ()),
            "summary": scan.get("summary") or {},
            "scannedAt": scan.get("scannedAt"),
            "path": f"/api/v1/containers/{case.container.id}/vulnerabilities?target=update",
        },
    )


def _gate_on(case: _Case) -> bool:
    own = case.container.labels.get(labels.SECURITY_GATE, "").strip().lower()
    return own == "on" or (case.context.gate_enabled and own != "off")


def _is_of_candidate(scan: dict[str, Any], result: Result) -> bool:
    """A scan of another candidate says nothing; one that names neither digest nor tag is taken as it is."""
    if scan.get("imageDigest") and result.digest:
        return bool(scan["imageDigest"] == result.digest)
    tag = split(str(scan.get("image") or "")).tag
    return not tag or not result.tag or tag == result.tag


def _is_blocked(scan: dict[str, Any], severities: frozenset[str] | None) -> bool:
    """By the policy in force where counts are stored, else by the stored verdict; a relative pass stands."""
    relative = scan.get("relativeGate")
    if isinstance(relative, dict) and relative.get("decision") == "passed":
        return False
    if severities is None or not isinstance(scan.get("summary"), dict):
        return scan.get("status") == "blocked"
    return _blocking_count(scan, severities) > 0


def _blocking_count(scan: dict[str, Any], severities: frozenset[str] | None) -> int:
    summary = scan.get("summary")
    if severities is None or not isinstance(summary, dict):
        return int(scan.get("blockingCount") or 0)
    return sum(int(summary.get(severity.lower()) or 0) for severity in severities)


def _rolled_back(case: _Case) -> Blocker | None:
    rollback = case.container.update_rollback
    if rollback is None or rollback.target_digest not in _candidate_names(case.result):
        return None
    if case.container.labels.get(labels.ROLLBACK_GATE, "").strip().lower() == "off":
        return None
    manual = rollback.reason == "manual"
    return _blocker(
        "last-update-rolled-back",
        "This update was rolled back by hand" if manual else "The last attempt to install this update was rolled back",
        hard=not manual,
        hint="Wait for a newer version, or set dd.update.rollback-gate=off to try this one again",
        details={
            "targetDigest": rollback.target_digest,
            "rollbackReason": rollback.reason,
            "lastError": rollback.last_error,
            "recordedAt": rollback.recorded_at,
        },
    )


def _candidate_names(result: Result) -> tuple[str, ...]:
    """The digest decides where there is one, else the tag."""
    return tuple(name for name in (result.digest or result.tag,) if name)


def _snoozed(case: _Case) -> Blocker | None:
    policy = case.effective.policy
    if not is_snoozed(policy, case.now_ms):
        return None
    blocker = _blocker("snoozed", f"Updates are snoozed until {policy.snooze_until}", hint="Unsnooze to update earlier")
    return msgspec.structs.replace(blocker, liftable_at=policy.snooze_until)


def _skipped_tag(case: _Case) -> Blocker | None:
    tag = case.result.tag
    if tag is None or tag not in (case.effective.policy.skip_tags or ()):
        return None
    hint = _unskip_hint(case, "skipTags", labels.SKIP_TAGS)
    return _blocker("skip-tag", f"Tag {tag} is skipped", hint=hint, details={"skippedTag": tag})


def _skipped_digest(case: _Case) -> Blocker | None:
    digest = case.result.digest
    if digest is None or digest not in (case.effective.policy.skip_digests or ()):
        return None
    hint = _unskip_hint(case, "skipDigests", labels.SKIP_DIGESTS)
    return _blocker("skip-digest", f"Digest {digest} is skipped", hint=hint, details={"skippedDigest": digest})


def _unskip_hint(case: _Case, field: str, label: str) -> str:
    from_label = case.effective.sources.get(field) == "label"
    return f"Remove it from the label {label}, or clear the skips" if from_label else "Remove the skip"


def _immature(case: _Case) -> Blocker | None:
    policy = case.effective.policy
    if not maturity.is_pending(case.container, policy, case.now_ms):
        return None
    days, clock = maturity.min_age_days(policy), maturity.clock(case.container, case.now_ms)
    lift = maturity.lift_time(case.container, policy, case.now_ms)
    return _blocker(
        "maturity-not-reached",
        f"The update must be {days} day(s) old first",
        hint="Wait, or clear the maturity policy",
        lift_ms=lift,
        details={
            "minAgeDays": days,
            "remainingMs": days * DAY_MS if lift is None else max(0, lift - case.now_ms),
            "policySource": case.effective.sources.get("maturityMode"),
            "clockSource": clock and clock.source,
            "clockStartAt": clock and to_iso(clock.start),
        },
    )


def _no_trigger(case: _Case) -> Blocker | None:
    """Rows 10 and 11: no trigger at all, or none for this agent."""
    if case.serving:
        return None
    others = update_triggers(case.context.triggers)
    hard = not (case.context.agent_registering and case.container.agent)
    if not others:
        return _blocker(
            "no-update-trigger-configured",
            "No docker or dockercompose trigger is configured",
            hard=hard,
            hint="Configure one, for example DD_ACTION_DOCKER_LOCAL_PRUNE=true",
        )
    return _agent_mismatch(case, others[0], hard)


def _agent_mismatch(case: _Case, other: TriggerFacts, hard: bool) -> Blocker:
    agent = case.container.agent
    return _blocker(
        "agent-mismatch",
        f"No update trigger serves the agent {agent}" if agent else "The update triggers serve other agents only",
        hard=hard,
        hint="Configure a docker or dockercompose trigger where this container runs",
        details={"triggerAgent": other.agent, "containerAgent": agent, "triggerId": other.id},
    )


def _threshold(case: _Case) -> Blocker | None:
    if case.access is None or any(reaches(case.kind, trigger.threshold) for trigger in case.serving):
        return None
    trigger = case.access.trigger
    return _blocker(
        "threshold-not-reached",
        f"The update is smaller than the threshold {trigger.threshold} of {trigger.id}",
        hint="Update by hand, or change the threshold of the trigger",
        details={
            "threshold": trigger.threshold,
            "updateKind": case.kind.kind,
            "semverDiff": case.kind.semver_diff,
            "triggerId": trigger.id,
        },
    )


def _rollback_container(case: _Case) -> Blocker | None:
    if not case.serving or not is_temporary(case.container.name):
        return None
    return _blocker("rollback-container", "This is a temporary container kept for a rollback", hard=True)


def _excluded(case: _Case) -> Blocker | None:
    if case.access is None or case.access.policy.reason != "excluded":
        return None
    text, trigger = case.container.action_trigger_exclude, case.access.trigger.id
    return _blocker(
        "trigger-excluded",
        f"dd.action.exclude={text} excludes {trigger}",
        hard=case.context.labels_strict,
        hint="Remove the trigger from dd.action.exclude",
        details={"triggerExclude": text, "triggerId": trigger},
    )


def _not_included(case: _Case) -> Blocker | None:
    if case.access is None or case.access.policy.reason != "not-included":
        return None
    text, trigger = case.container.action_trigger_include, case.access.trigger.id
    return _blocker(
        "trigger-not-included",
        f"{trigger} only updates containers by itself that name it",
        hard=case.context.labels_strict,
        hint=f"Set dd.action.include={trigger} for automatic updates, or update by hand",
        details={"triggerInclude": text, "triggerId": trigger},
    )


def _active(case: _Case) -> Blocker | None:
    operation = case.context.active_operation
    if operation is None:
        return None
    state = "queued" if operation.status == "queued" else "in progress"
    return _blocker(
        "active-operation",
        f"An update of this container is already {state}",
        hard=True,
        details={"operationId": operation.id, "status": operation.status},
    )


CHECKS: tuple[_Check, ...] = (
    _window,
    _self_update,
    _security,
    _rolled_back,
    _snoozed,
    _skipped_tag,
    _skipped_digest,
    _immature,
    _no_trigger,
    _threshold,
    _rollback_container,
    _excluded,
    _not_included,
    _active,
)
