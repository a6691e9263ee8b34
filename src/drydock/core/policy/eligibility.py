"""Whether an update may run now, and every reason against it (watching.md §12.1; container-api.md §2.9).

Evaluated on every read, never stored. Hard blockers refuse a manual update, soft ones only hold automatic ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from drydock.core import labels
from drydock.core.model import ActiveOperation, Blocker, Container, Eligibility, Result, UpdateKind
from drydock.core.policy import maturity
from drydock.core.policy.automation import Access, TriggerFacts, choose, compatible, update_triggers
from drydock.core.policy.layers import Effective, effective
from drydock.core.policy.suppression import is_snoozed
from drydock.core.policy.thresholds import reaches
from drydock.core.scans import of_candidate
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
    kind = update_kind(container)
    serving = compatible(update_triggers(context.triggers), container)
    access = choose(serving, container, kind)
    case = _Case(container, result, context, now_ms, kind, effective(container), serving, access)
    blockers = [*_host(case), *_candidate(case), *_policy(case), *_triggers(case)]
    if (operation := context.active_operation) is not None:
        blockers.append(
            _blocker(
                "active-operation",
                f"An update of this container is already {'queued' if operation.status == 'queued' else 'in progress'}",
                hard=True,
                details={"operationId": operation.id, "status": operation.status},
            )
        )
    return Eligibility(
        eligible=not blockers,
        blockers=blockers,
        evaluated_at=to_iso(now_ms),
        action_policy=access.policy if access else None,
    )


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


def _host(case: _Case) -> Iterator[Blocker]:
    """What holds on this host whatever the update is: the window, and Drydock's own container."""
    if case.context.window_open is False:
        yield _blocker("maintenance-window-closed", "The maintenance window of the watcher is closed")
    if case.context.is_self and not case.context.self_update_possible:
        yield _blocker(
            "self-update-unavailable",
            "Drydock cannot update itself over this connection",
            hard=True,
            hint="Mount the Docker socket into Drydock's container, or reach the Engine over TCP",
        )


def _candidate(case: _Case) -> Iterator[Blocker]:
    """What is known of this very candidate: its scan, and an attempt that was rolled back."""
    scan = (case.container.security or {}).get("updateScan")
    gate = case.container.labels.get(labels.SECURITY_GATE, "").strip().lower()
    gated = gate == "on" or (case.context.gate_enabled and gate != "off")
    severities = case.context.block_severities
    if gated and isinstance(scan, dict) and of_candidate(scan, case.container) and _is_blocked(scan, severities):
        yield _blocker(
            "security-scan-blocked",
            "The scan of the new image found vulnerabilities that the policy does not allow",
            hard=True,
            hint="Wait for a fixed image, scan again, change DD_SECURITY_BLOCK_SEVERITY, or set dd.security.gate=off",
            details={
                "blockingCount": _blocking_count(scan, severities),
                "blockSeverities": sorted(severities or scan.get("blockSeverities") or ()),
                "summary": scan.get("summary") or {},
                "scannedAt": scan.get("scannedAt"),
                "path": f"/api/v1/containers/{case.container.id}/vulnerabilities?target=update",
            },
        )
    rollback = case.container.update_rollback
    retried = case.container.labels.get(labels.ROLLBACK_GATE, "").strip().lower() == "off"
    # The digest names the candidate where there is one, else the tag.
    if rollback and not retried and rollback.target_digest == (case.result.digest or case.result.tag or None):
        manual = rollback.reason == "manual"
        what = (
            "This update was rolled back manually"
            if manual
            else "The last attempt to install this update was rolled back"
        )
        yield _blocker(
            "last-update-rolled-back",
            what,
            hard=not manual,
            hint="Wait for a newer version, or set dd.update.rollback-gate=off to try this one again",
            details={
                "targetDigest": rollback.target_digest,
                "rollbackReason": rollback.reason,
                "lastError": rollback.last_error,
                "recordedAt": rollback.recorded_at,
            },
        )


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


def _policy(case: _Case) -> Iterator[Blocker]:
    """The update policy of the container: snooze, skips, maturity."""
    policy, sources, now_ms = case.effective.policy, case.effective.sources, case.now_ms
    if is_snoozed(policy, now_ms):
        text = f"Updates are snoozed until {policy.snooze_until}"
        snoozed = _blocker("snoozed", text, hint="Unsnooze to update earlier")
        yield msgspec.structs.replace(snoozed, liftable_at=policy.snooze_until)
    tag, digest = case.result.tag, case.result.digest
    if tag is not None and tag in (policy.skip_tags or ()):
        hint = _unskip_hint(sources.get("skipTags"), labels.SKIP_TAGS)
        yield _blocker("skip-tag", f"Tag {tag} is skipped", hint=hint, details={"skippedTag": tag})
    if digest is not None and digest in (policy.skip_digests or ()):
        hint = _unskip_hint(sources.get("skipDigests"), labels.SKIP_DIGESTS)
        yield _blocker("skip-digest", f"Digest {digest} is skipped", hint=hint, details={"skippedDigest": digest})
    if maturity.is_pending(case.container, policy, now_ms):
        days, clock = maturity.min_age_days(policy), maturity.clock(case.container, now_ms)
        lift = maturity.lift_time(case.container, policy, now_ms)
        yield _blocker(
            "maturity-not-reached",
            f"The update must be {days} day(s) old first",
            hint="Wait, or clear the maturity policy",
            lift_ms=lift,
            details={
                "minAgeDays": days,
                "remainingMs": days * DAY_MS if lift is None else max(0, lift - now_ms),
                "policySource": sources.get("maturityMode"),
                "clockSource": clock and clock.source,
                "clockStartAt": clock and to_iso(clock.start),
            },
        )


def _unskip_hint(source: str | None, label: str) -> str:
    return f"Remove it from the label {label}, or clear the skips" if source == "label" else "Remove the skip"


def _triggers(case: _Case) -> Iterator[Blocker]:
    """Which configured action may install it."""
    if case.access is None:
        yield _no_trigger(case)
        return
    trigger, reason = case.access.trigger, case.access.policy.reason
    if not any(reaches(case.kind, each.threshold) for each in case.serving):
        yield _blocker(
            "threshold-not-reached",
            f"The update is smaller than the threshold {trigger.threshold} of {trigger.id}",
            hint="Update manually, or change the threshold of the trigger",
            details={
                "threshold": trigger.threshold,
                "updateKind": case.kind.kind,
                "semverDiff": case.kind.semver_diff,
                "triggerId": trigger.id,
            },
        )
    if is_temporary(case.container.name):
        yield _blocker("rollback-container", "This is a temporary container kept for a rollback", hard=True)
    if reason == "excluded":
        text = case.container.action_trigger_exclude
        yield _blocker(
            "trigger-excluded",
            f"dd.action.exclude={text} excludes {trigger.id}",
            hard=case.context.labels_strict,
            hint="Remove the trigger from dd.action.exclude",
            details={"triggerExclude": text, "triggerId": trigger.id},
        )
    elif reason == "not-included":
        yield _blocker(
            "trigger-not-included",
            f"{trigger.id} automatically updates only containers that name it",
            hard=case.context.labels_strict,
            hint=f"Set dd.action.include={trigger.id} for automatic updates, or update manually",
            details={"triggerInclude": case.container.action_trigger_include, "triggerId": trigger.id},
        )


def _no_trigger(case: _Case) -> Blocker:
    """Rows 10 and 11: no trigger at all, or none for this agent."""
    agent, others = case.container.agent, update_triggers(case.context.triggers)
    hard = not (case.context.agent_registering and agent)
    if not others:
        return _blocker(
            "no-update-trigger-configured",
            "No docker or dockercompose trigger is configured",
            hard=hard,
            hint="Configure one, for example DD_ACTION_DOCKER_LOCAL_PRUNE=true",
        )
    return _blocker(
        "agent-mismatch",
        f"No update trigger serves the agent {agent}" if agent else "The update triggers serve other agents only",
        hard=hard,
        hint="Configure a docker or dockercompose trigger where this container runs",
        details={"triggerAgent": others[0].agent, "containerAgent": agent, "triggerId": others[0].id},
    )
