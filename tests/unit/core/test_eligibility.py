"""Blockers, action policy and the view (watching.md §12; container-api.md §2)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drydock.core.model import (
    ActionPolicy,
    ActiveOperation,
    Container,
    Details,
    Eligibility,
    EnvEntry,
    Result,
    UpdatePolicy,
    UpdateRollback,
)
from drydock.core.policy.automation import TriggerFacts, auto_mode
from drydock.core.policy.eligibility import EligibilityContext, evaluate
from drydock.core.times import DAY_MS, to_iso
from drydock.core.view import ViewContext, list_form, view
from unit.core.build import NOW, container, updatable

OPEN = TriggerFacts(id="docker.prod", type="docker", name="prod", auto="all")
CLOSED = TriggerFacts(id="docker.prod", type="docker", name="prod", auto="oninclude")


def judge(record: Container, *triggers: TriggerFacts, **context: Any) -> Eligibility:
    return evaluate(record, NOW, EligibilityContext(triggers=triggers or (OPEN,), **context))


def blockers(record: Container, *triggers: TriggerFacts, **context: Any) -> list[tuple[str, str]]:
    return [(found.reason, found.severity) for found in judge(record, *triggers, **context).blockers]


def test_nothing_to_do_is_the_only_blocker() -> None:
    found = judge(container("1.4.0", Result(tag="1.4.0")), window_open=False, is_self=True, self_update_possible=False)
    assert [blocker.reason for blocker in found.blockers] == ["no-update-available"]
    assert found.blockers[0].severity == "hard"
    assert not found.eligible
    assert found.action_policy is None
    assert found.evaluated_at == to_iso(NOW)


def test_an_update_without_objections_is_eligible() -> None:
    found = judge(updatable(), window_open=True)
    assert found.eligible
    assert found.blockers == []
    assert found.action_policy == ActionPolicy(state="auto", trigger_id="docker.prod")


def scanned(**scan: Any) -> dict[str, Any]:
    return {"updateScan": {"image": "docker.io/library/nginx:1.5.0", "status": "blocked", **scan}}


GATE = "dd.security.gate"
ROLLED = UpdateRollback(recorded_at="2026-02-11T00:00:00.000Z", target_digest="1.5.0", last_error="unhealthy")
OPERATION = ActiveOperation(id="o1", status="queued", phase="queued", updated_at="2026-02-12T00:00:00.000Z")


@pytest.mark.parametrize(
    ("fields", "context", "expected"),
    [
        ({}, {"window_open": False}, ("maintenance-window-closed", "soft")),
        ({}, {"is_self": True, "self_update_possible": False}, ("self-update-unavailable", "hard")),
        ({"security": scanned()}, {"gate_enabled": True}, ("security-scan-blocked", "hard")),
        ({"security": scanned(), "labels": {GATE: " ON "}}, {}, ("security-scan-blocked", "hard")),
        ({"update_rollback": ROLLED}, {}, ("last-update-rolled-back", "hard")),
        (
            {"update_rollback": msgspec.structs.replace(ROLLED, reason="manual")},
            {},
            ("last-update-rolled-back", "soft"),
        ),
        ({"update_policy_overrides": UpdatePolicy(snooze_until="2026-03-01T00:00:00.000Z")}, {}, ("snoozed", "soft")),
        ({"update_policy_overrides": UpdatePolicy(skip_tags=["1.5.0"])}, {}, ("skip-tag", "soft")),
        ({"update_policy_overrides": UpdatePolicy(maturity_mode="mature")}, {}, ("maturity-not-reached", "soft")),
        ({"action_trigger_exclude": "prod"}, {}, ("trigger-excluded", "soft")),
        ({"action_trigger_exclude": "prod"}, {"labels_strict": True}, ("trigger-excluded", "hard")),
        ({"name": "web-old-1767225600000"}, {}, ("rollback-container", "hard")),
        ({}, {"active_operation": OPERATION}, ("active-operation", "hard")),
    ],
)
def test_each_blocker(fields: dict[str, Any], context: dict[str, Any], expected: tuple[str, str]) -> None:
    assert blockers(updatable(**fields), **context) == [expected]


@pytest.mark.parametrize(
    ("fields", "context"),
    [
        ({"security": scanned()}, {}),
        ({"security": scanned(), "labels": {GATE: "off"}}, {"gate_enabled": True}),
        ({"security": scanned(image="docker.io/library/nginx:1.4.9")}, {"gate_enabled": True}),
        ({"security": {"scan": {"status": "blocked"}}}, {"gate_enabled": True}),
        (
            {"security": scanned(summary={"critical": 0, "high": 3})},
            {"gate_enabled": True, "block_severities": frozenset({"CRITICAL"})},
        ),
        ({"update_rollback": ROLLED, "labels": {"dd.update.rollback-gate": " OFF "}}, {}),
        ({"update_rollback": msgspec.structs.replace(ROLLED, target_digest="1.4.9")}, {}),
        ({"update_policy_overrides": UpdatePolicy(skip_tags=["1.6.0"])}, {}),
    ],
)
def test_what_does_not_block(fields: dict[str, Any], context: dict[str, Any]) -> None:
    assert blockers(updatable(**fields), **context) == []


def test_a_stricter_policy_blocks_a_candidate_that_had_passed() -> None:
    record = updatable(security=scanned(status="passed", summary={"high": 2}))
    assert blockers(record, gate_enabled=True, block_severities=frozenset({"HIGH"})) == [
        ("security-scan-blocked", "hard")
    ]
    assert blockers(record, gate_enabled=True) == []


def test_skipped_digest_and_rollback_by_digest() -> None:
    record = container(
        "latest",
        Result(tag="latest", digest="d2"),
        value="d1",
        update_policy_overrides=UpdatePolicy(skip_digests=["d2"]),
        update_rollback=msgspec.structs.replace(ROLLED, target_digest="d2"),
    )
    assert blockers(record) == [("last-update-rolled-back", "hard"), ("skip-digest", "soft")]


def test_maturity_details_say_when_it_lifts() -> None:
    record = updatable(update_policy_overrides=UpdatePolicy(maturity_mode="mature", maturity_min_age_days=3))
    found = judge(record).blockers[0]
    assert found.liftable_at == "2026-02-13T00:00:00.000Z"
    assert found.details == {
        "minAgeDays": 3,
        "remainingMs": DAY_MS,
        "policySource": "override",
        "clockSource": "detectedAt",
        "clockStartAt": "2026-02-10T00:00:00.000Z",
    }


def test_triggers_must_exist_and_serve_the_agent() -> None:
    other = TriggerFacts(id="edge.docker.x", type="docker", name="x", agent="edge", auto="all")
    notify = TriggerFacts(id="ntfy.a", type="ntfy", name="a")
    assert blockers(updatable(), notify) == [("no-update-trigger-configured", "hard")]
    assert blockers(updatable(), other) == [("agent-mismatch", "hard")]
    assert blockers(updatable(agent="edge"), other) == []
    assert blockers(updatable(agent="edge"), OPEN, agent_registering=True) == [("agent-mismatch", "soft")]
    details = judge(updatable(agent="west"), other).blockers[0].details
    assert details == {"triggerAgent": "edge", "containerAgent": "west", "triggerId": "edge.docker.x"}


def test_a_threshold_names_what_it_compares() -> None:
    small = msgspec.structs.replace(OPEN, threshold="patch")
    found = judge(updatable(), small).blockers[0]
    assert found.reason == "threshold-not-reached"
    assert found.details == {
        "threshold": "patch",
        "updateKind": "tag",
        "semverDiff": "minor",
        "triggerId": "docker.prod",
    }


@pytest.mark.parametrize(
    ("mode", "fields", "state", "reason"),
    [
        ("all", {}, "auto", None),
        ("none", {}, "manual", None),
        ("oninclude", {}, "blocked", "not-included"),
        ("oninclude", {"action_trigger_include": "prod"}, "auto", None),
        ("oninclude", {"action_trigger_include": "prod:patch"}, "blocked", "not-included"),
        ("onauto", {}, "blocked", "not-included"),
        ("onauto", {"action_trigger_include": "prod"}, "manual", None),
        ("onauto", {"action_trigger_auto": "prod"}, "auto", None),
        ("all", {"action_trigger_exclude": "docker.prod"}, "blocked", "excluded"),
    ],
)
def test_action_policy(mode: Any, fields: dict[str, Any], state: str, reason: str | None) -> None:
    found = judge(updatable(**fields), msgspec.structs.replace(OPEN, auto=mode)).action_policy
    assert found is not None
    assert (found.state, found.reason, found.trigger_id) == (state, reason, "docker.prod")


def test_ranks_of_triggers_and_their_walk() -> None:
    compose = TriggerFacts(id="dockercompose.a", type="dockercompose", name="a", auto="none", compose_file="verified")
    found = judge(updatable(), OPEN, compose).action_policy
    assert found == ActionPolicy(state="manual", trigger_id="dockercompose.a")
    shut = msgspec.structs.replace(compose, auto="oninclude")
    assert judge(updatable(), OPEN, shut).action_policy == ActionPolicy(state="auto", trigger_id="docker.prod")
    excluded = updatable(action_trigger_exclude="dockercompose.a")
    found = judge(excluded, OPEN, compose).action_policy
    assert found == ActionPolicy(state="blocked", trigger_id="dockercompose.a", reason="excluded")


def test_missing_include_only_warns_by_default() -> None:
    assert blockers(updatable(), CLOSED) == [("trigger-not-included", "soft")]
    assert blockers(updatable(), CLOSED, labels_strict=True) == [("trigger-not-included", "hard")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("TRUE", "all"),
        ("", None),
        ("false", "none"),
        (" OnInclude ", "oninclude"),
        ("onauto", "onauto"),
        ("x", None),
    ],
)
def test_auto_modes(text: str, expected: str | None) -> None:
    assert auto_mode(text) == expected


def test_every_blocker_explains_itself_in_order() -> None:
    record = updatable(
        name="web-old-1767225600000",
        security=scanned(),
        update_rollback=ROLLED,
        action_trigger_exclude="prod",
        update_policy_overrides=UpdatePolicy(
            skip_tags=["1.5.0"],
            snooze_until="2026-03-01T00:00:00.000Z",
            maturity_mode="mature",
        ),
    )
    found = judge(
        record,
        msgspec.structs.replace(OPEN, threshold="digest"),
        window_open=False,
        is_self=True,
        self_update_possible=False,
        gate_enabled=True,
        active_operation=OPERATION,
    ).blockers
    assert [blocker.reason for blocker in found] == [
        "maintenance-window-closed",
        "self-update-unavailable",
        "security-scan-blocked",
        "last-update-rolled-back",
        "snoozed",
        "skip-tag",
        "maturity-not-reached",
        "threshold-not-reached",
        "rollback-container",
        "trigger-excluded",
        "active-operation",
    ]
    assert all(blocker.message for blocker in found)
    assert all(bool(blocker.action_hint) == blocker.actionable for blocker in found)


# The view


def test_the_view_derives_and_redacts() -> None:
    record = updatable(
        link_template="https://x/${original}",
        details=Details(ports=[], volumes=[], env=[EnvEntry(key="DB_PASSWORD", value="s3cret")]),
        security={"scan": {"vulnerabilities": [1], "summary": {}}, "sbom": {}, "updateSignature": {}},
    )
    shown = view(record, NOW, ViewContext(eligibility=EligibilityContext(triggers=(OPEN,)), dependent_count=2))
    wire = msgspec.to_builtins(shown)
    assert wire["identityKey"] == "::local::web"
    assert wire["updateAvailable"] is True
    assert wire["updateKind"] == {"kind": "tag", "localValue": "1.4.0", "remoteValue": "1.5.0", "semverDiff": "minor"}
    assert (wire["updateAge"], wire["updateMaturityLevel"]) == (2 * DAY_MS, "hot")
    assert (wire["link"], wire["result"]["link"]) == ("https://x/1.4.0", "https://x/1.5.0")
    assert (wire["tagPinned"], wire["tagPinGated"]) == (True, True)
    assert wire["updateEligibility"]["eligible"] is True
    assert wire["dependentCount"] == 2
    assert "s3cret" not in str(wire)
    assert "updatePolicy" not in wire
    listed = msgspec.to_builtins(list_form(shown))
    assert listed["security"] == {"scan": {"vulnerabilities": [], "summary": {}}}
    assert list_form(shown, include_vulnerabilities=True).security == {"scan": {"vulnerabilities": [1], "summary": {}}}


def test_a_suppressed_update_has_no_age_and_shows_its_policy() -> None:
    record = updatable(update_policy_overrides=UpdatePolicy(skip_tags=["1.5.0"]))
    wire = msgspec.to_builtins(view(record, NOW, ViewContext()))
    assert wire["updateAvailable"] is False
    assert wire["updateKind"]["remoteValue"] == "1.5.0"
    assert "updateAge" not in wire
    assert wire["updatePolicy"] == {"skipTags": ["1.5.0"]}
    assert wire["updatePolicySources"] == {"skipTags": "override"}


TEXT = st.text(max_size=20)


@given(
    tag=st.text(min_size=1, max_size=20),
    remote=st.one_of(st.none(), TEXT),
    stamp=st.one_of(st.none(), TEXT, st.just("2026-02-10T00:00:00Z")),
    formula=st.one_of(st.none(), TEXT),
    policy=st.builds(
        UpdatePolicy,
        skip_tags=st.one_of(st.none(), st.lists(TEXT, max_size=2)),
        snooze_until=st.one_of(st.none(), TEXT),
        maturity_mode=st.sampled_from([None, "mature"]),
        maturity_min_age_days=st.one_of(st.none(), st.integers()),
    ),
    references=st.one_of(st.none(), TEXT),
    now=st.integers(min_value=0, max_value=4_000_000_000_000),
)
def test_the_view_never_raises(
    tag: str,
    remote: str | None,
    stamp: str | None,
    formula: str | None,
    policy: UpdatePolicy,
    references: str | None,
    now: int,
) -> None:
    record = container(
        tag,
        Result(tag=remote, created=stamp, published_at=stamp, published_at_trusted=True),
        created=stamp,
        transform_tags=formula,
        link_template=f"{tag}${{major}}",
        update_detected_at=stamp,
        update_policy_overrides=policy,
        action_trigger_include=references,
        security={"updateScan": {}, "scan": None},
    )
    shown = view(record, now, ViewContext(eligibility=EligibilityContext(triggers=(CLOSED,), gate_enabled=True)))
    msgspec.json.encode(list_form(shown))
    assert shown.update_eligibility is not None
    assert all(blocker.message for blocker in shown.update_eligibility.blockers)
