"""Why a container is where it is: the stored trace of the last check plus what holds now (explain.md)."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from drydock.core import labels
from drydock.core.model import Blocker, Container, ContainerView, DeclarativePolicy
from drydock.core.policy import maturity
from drydock.core.policy.layers import FIELD_OF_WIRE, effective
from drydock.core.policy.suppression import suppressed_by
from drydock.core.tags import rules
from drydock.core.times import to_iso
from drydock.core.trace import Outcome, Step, TagTrace, Trace, Verdict
from drydock.core.update import direction, has_raw_update


class HostUse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What the last check cost at one host."""

    requests: int
    cached: int
    quota_left: int | None = None


class Explanation(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer of `GET /containers/:id/explain`; the CLI and the web interface show the same object."""

    container_id: str
    name: str
    image: str
    checked_at: str | None
    next_check_at: str | None
    verdict: Verdict
    summary: str
    steps: list[Step]
    requests: dict[str, HostUse]
    tags: TagTrace | msgspec.UnsetType = msgspec.UNSET


def explain(
    container: Container,
    trace: Trace | None,
    view: ContainerView,
    next_check_at: str | None,
    now_ms: int,
) -> Explanation:
    """Explain the last check as it stands at `now_ms`. `next_check_at` is ISO 8601; nothing is asked anew."""
    stored = trace or Trace()
    verdict = verdict_of(container, trace, view)
    return Explanation(
        container_id=container.id,
        name=container.name,
        image=image_text(container),
        checked_at=stored.checked_at,
        next_check_at=next_check_at,
        verdict=verdict,
        summary=_summary(verdict, container, stored, view, now_ms),
        steps=[
            _discovery(container),
            *stored.steps,
            _kind(container, view),
            _policy(container, now_ms),
            *([_maturity(container, now_ms)] if has_raw_update(container) else []),
            *_eligibility(view),
            _action(view),
        ],
        requests={
            use.host: HostUse(requests=use.requests, cached=use.cached, quota_left=use.quota_left)
            for use in stored.requests
        },
        tags=stored.tags or msgspec.UNSET,
    )


def image_text(container: Container) -> str:
    """The reference as run, with Docker Hub's defaults left out."""
    image = container.image
    name = (
        image.name.removeprefix("library/")
        if image.registry.url == "docker.io"
        else f"{image.registry.url}/{image.name}"
    )
    return f"{name}@{image.tag.value}" if image.tag.value.startswith("sha256:") else f"{name}:{image.tag.value}"


def verdict_of(container: Container, trace: Trace | None, view: ContainerView) -> Verdict:
    """One word. A check that failed as a whole is `unknown`, whatever an earlier one found (explain.md)."""
    steps = trace.steps if trace is not None else []
    # The last check ended before the tags could be decided.
    rejected = trace is None or any(step.stage == "registry" and step.outcome == "fail" for step in steps)
    if container.error is not None and rejected:
        return "unknown"
    if view.update_available:
        return "update-available"
    if has_raw_update(container):
        return "suppressed"
    if container.error is not None:
        return "unknown"
    if container.result is not None and container.result.update_insight is not None:
        return "newer-exists"
    # whether anything was really compared: tags inside a family, or a digest
    tags = any(step.stage == "tags" and (step.details or {}).get("rule") in _COMPARING for step in steps)
    digest = any(step.stage == "digest" and step.outcome in ("pass", "stop") for step in steps)
    return "up-to-date" if tags or digest else "not-checked"


_COMPARING = (
    rules.NEWEST,
    rules.RECOVERY,
    rules.INCLUDE_ONLY,
    rules.NOTHING_NEWER,
    rules.OUTSIDE_FAMILY,
    rules.PINNED_TAG,
)


def _summary(verdict: Verdict, container: Container, trace: Trace, view: ContainerView, now_ms: int) -> str:
    tag, result = container.image.tag.value, container.result
    failure = container.error.message if container.error else None
    stale = f" The latest check failed, so this is from an earlier one: {failure}" if failure else ""
    if verdict == "update-available":
        return f"{_newer(view)}{_what_happens(view)}{stale}"
    if verdict == "suppressed":
        cause = suppressed_by(container, now_ms)
        blockers = view.update_eligibility.blockers if view.update_eligibility else []
        found = next((blocker for blocker in blockers if blocker.reason == cause), None)
        held = _blocker_text(found) if found else f"{cause or 'the update policy'}."
        return f"{_newer(view)}, but it is held back: {held}{stale}"
    if verdict == "unknown":
        earlier = f". An earlier check found: {_newer(view)}" if has_raw_update(container) else ""
        return f"The last check failed: {failure or 'no reason was recorded; check again'}{earlier}"
    if verdict == "newer-exists":
        insight = result.update_insight if result else None
        if insight is None:
            return "A newer version exists."
        pinned = any((step.details or {}).get("rule") == rules.PINNED_TAG for step in trace.steps)
        kind, remedy = ("pinned", "dd.tag.include or ") if pinned else ("floating", "")
        return (
            f"{insight.tag} is newer ({insight.kind}), but {tag} is a {kind} tag: "
            f"set {remedy}dd.tag.family=loose to follow it."
        )
    reason = result.no_update_reason if result else None
    compared = [step for step in trace.steps if step.stage in ("tags", "digest")]
    if verdict == "up-to-date":
        why = "; ".join(step.reason.rstrip(".") for step in compared if step.outcome != "skip")
        return reason or f"{tag} is up to date: {why}."
    if trace.checked_at is None:
        return "Not checked yet: the next check will compare it with its registry."
    return f"Nothing could be compared: {reason or '; '.join(step.reason.rstrip('.') for step in compared)}."


_RELATIONS = {
    1: ("newer", "than"),
    -1: ("lower", "than"),
    None: ("what dd.tag.include allows", "instead of"),
}


def _newer(view: ContainerView) -> str:
    kind, tag = view.update_kind, view.image.tag.value
    if kind.kind == "tag":
        step = f" ({kind.semver_diff})" if kind.semver_diff != "unknown" else ""
        relation, preposition = _RELATIONS[direction(view)]
        return f"{kind.remote_value} is {relation}{step} {preposition} {kind.local_value}"
    if kind.kind == "digest":
        return f"{tag} was published again with another image"
    return f"{tag} was built again (another build date)"


def _what_happens(view: ContainerView) -> str:
    eligibility = view.update_eligibility
    if eligibility is None:
        return "."
    hard = next((blocker for blocker in eligibility.blockers if blocker.severity == "hard"), None)
    if hard is not None:
        return f", but it cannot be installed now: {_blocker_text(hard)}"
    policy = eligibility.action_policy
    if policy is not None and policy.state == "auto":
        return f"; {policy.trigger_id} installs it{' when nothing holds it back' if eligibility.blockers else ''}."
    return ": update it manually."


def _blocker_text(blocker: Blocker) -> str:
    return f"{blocker.message}. {blocker.action_hint}." if blocker.action_hint else f"{blocker.message}."


def _discovery(container: Container) -> Step:
    own = container.labels.get(labels.WATCH, "").strip()
    why = f"the label {labels.WATCH}={own}" if own else "its default (WATCHBYDEFAULT)"
    return Step(
        stage="discovery",
        outcome="pass",
        reason=f"Watched by {container.watcher} because of {why}",
        details={"watcher": container.watcher, **({"agent": container.agent} if container.agent else {})},
    )


def _kind(container: Container, view: ContainerView) -> Step:
    if not has_raw_update(container):
        return Step(stage="kind", outcome="stop", reason="The result of the last check is what runs: no update")
    kind = view.update_kind
    details = {
        "kind": kind.kind,
        "semverDiff": kind.semver_diff,
        "local": kind.local_value,
        "remote": kind.remote_value,
        "downgrade": direction(view) == -1,
    }
    return Step(stage="kind", outcome="pass", reason=_newer(view), details=details)


def _policy(container: Container, now_ms: int) -> Step:
    """Each layer's own values, highest first, and which layer every field comes from."""
    found = effective(container)
    text = ", ".join(
        f"{wire}={getattr(found.policy, FIELD_OF_WIRE[wire])} from {source}" for wire, source in found.sources.items()
    )
    reason = suppressed_by(container, now_ms) if has_raw_update(container) else None
    if reason is None and not found.sources:
        return Step(stage="policy", outcome="pass", reason="No update policy is set")
    declared = container.update_policy_declarative or DeclarativePolicy()
    layers = {"override": container.update_policy_overrides, "label": declared.label, "env": declared.env}
    values = {name: msgspec.to_builtins(layer) for name, layer in layers.items() if layer is not None}
    details = {**values, "sources": dict(found.sources)}
    if reason is not None:
        return Step(stage="policy", outcome="stop", reason=f"Held back ({reason}): {text}", details=details)
    return Step(stage="policy", outcome="pass", reason=f"The policy lets it pass: {text}", details=details)


def _maturity(container: Container, now_ms: int) -> Step:
    policy = effective(container).policy
    clock = maturity.clock(container, now_ms)
    details = {"clockStartAt": to_iso(clock.start), "clockSource": clock.source} if clock else {}
    if policy.maturity_mode != "mature":
        return Step(
            stage="maturity", outcome="skip", reason="No maturity policy (maturityMode is not mature)", details=details
        )
    days = maturity.min_age_days(policy)
    if not maturity.is_pending(container, policy, now_ms):
        return Step(
            stage="maturity", outcome="pass", reason=f"The update is at least {days} day(s) old", details=details
        )
    lift = maturity.lift_time(container, policy, now_ms)
    when = f"until {to_iso(lift)}" if lift is not None else "because its age is not known yet"
    text = f"maturityMinAgeDays={days} holds the update {when}"
    return Step(stage="maturity", outcome="stop", reason=text, details=details)


def _eligibility(view: ContainerView) -> Iterator[Step]:
    if view.update_eligibility is None:
        return
    if view.update_eligibility.eligible:
        yield Step(stage="eligibility", outcome="pass", reason="Nothing blocks the update")
    for blocker in view.update_eligibility.blockers:
        details = {"blocker": blocker.reason, "severity": blocker.severity, **(blocker.details or {})}
        yield Step(stage="eligibility", outcome="stop", reason=_blocker_text(blocker), details=details)


def _action(view: ContainerView) -> Step:
    policy = view.update_eligibility.action_policy if view.update_eligibility else None
    if policy is None:
        return Step(
            stage="action", outcome="skip", reason="No action applies: no update, or no trigger serves this container"
        )
    name = policy.trigger_id
    outcome: Outcome = "stop" if policy.state == "blocked" else "pass"
    if policy.state == "auto":
        text = f"{name} installs the update automatically"
    elif policy.state == "manual":
        text = f"{name} installs the update when it is requested"
    elif policy.reason == "excluded":
        text = f"dd.action.exclude excludes {name} for this container"
    else:
        text = f"{name} does not act automatically: dd.action.include does not name it"
    return Step(stage="action", outcome=outcome, reason=text, details={"triggerId": name, "state": policy.state})
