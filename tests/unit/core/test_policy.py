"""Policy layers, actions, maturity, lifecycle stamps and thresholds (watching.md §9–§12; container-api.md §5.6)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drydock.core.errors import BadRequest
from drydock.core.model import Container, DeclarativePolicy, Result, UpdateKind, UpdatePolicy
from drydock.core.policy import maturity
from drydock.core.policy.layers import effective
from drydock.core.policy.suppression import is_available, suppressed_by
from drydock.core.policy.thresholds import THRESHOLDS, match_reference, parse_references, reaches
from drydock.core.times import DAY_MS, to_iso
from drydock.fleet.incoming import stamp
from drydock.fleet.policy_actions import ACTIONS, apply
from unit.core.build import NOW, container, updatable

LABELLED = DeclarativePolicy(
    env=UpdatePolicy(maturity_mode="all", maturity_min_age_days=3),
    label=UpdatePolicy(maturity_mode="mature", skip_tags=["1.5.0"], snooze_until="2030-01-01T00:00:00Z"),
)


def with_policy(overrides: UpdatePolicy | None = None, declared: DeclarativePolicy | None = None) -> Container:
    return updatable(update_policy_overrides=overrides, update_policy_declarative=declared)


def after(action: str, record: Container | None = None, **fields: Any) -> UpdatePolicy | None:
    return apply({"action": action, **fields}, record or updatable(), NOW)


# Layers


def test_layers_combine_field_by_field_and_lists_replace() -> None:
    found = effective(with_policy(UpdatePolicy(skip_tags=["2.0.0"], maturity_min_age_days=9), LABELLED))
    assert found.policy == UpdatePolicy(skip_tags=["2.0.0"], maturity_mode="mature", maturity_min_age_days=9)
    assert found.sources == {"skipTags": "override", "maturityMode": "label", "maturityMinAgeDays": "override"}


def test_without_policy_nothing_is_shown() -> None:
    found = effective(updatable())
    assert found.shown is None
    assert found.shown_sources is None


def test_an_empty_override_hides_a_label_and_is_not_shown() -> None:
    declared = DeclarativePolicy(label=UpdatePolicy(skip_tags=["1.5.0"]))
    record = with_policy(UpdatePolicy(skip_tags=[]), declared)
    assert is_available(record, NOW)
    assert effective(record).shown is None


# Actions


def test_skip_current_starts_from_the_effective_list() -> None:
    assert after("skip-current") == UpdatePolicy(skip_tags=["1.5.0"])
    declared = DeclarativePolicy(label=UpdatePolicy(skip_tags=["1.4.9", "1.5.0"]))
    assert after("skip-current", with_policy(None, declared)) == UpdatePolicy(skip_tags=["1.4.9", "1.5.0"])
    by_digest = container("latest", Result(tag="latest", digest="d2"), value="d1")
    assert after("skip-current", by_digest) == UpdatePolicy(skip_digests=["d2"])


def test_remove_skip() -> None:
    record = with_policy(UpdatePolicy(skip_tags=["a", "b"]))
    assert after("remove-skip", record, kind="tag", value=" a ") == UpdatePolicy(skip_tags=["b"])
    assert after("remove-skip", record, kind="tag", value="zz") == UpdatePolicy(skip_tags=["a", "b"])
    assert after("remove-skip", with_policy(UpdatePolicy(skip_tags=["a"])), kind="tag", value="a") is None
    assert after("remove-skip", with_policy(None, LABELLED), kind="tag", value="1.5.0") == UpdatePolicy(skip_tags=[])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, NOW + 7 * DAY_MS),
        ({"days": 0.5}, NOW + DAY_MS // 2),
        ({"days": "2"}, NOW + 2 * DAY_MS),
        ({"days": 365}, NOW + 365 * DAY_MS),
        ({"snoozeUntil": "2026-03-01T08:00:00+02:00", "days": 1}, 1772344800000),
        ({"snoozeUntil": "2026-03-01"}, 1772323200000),
        ({"snoozeUntil": "2026-03-01T08:00"}, 1772352000000),
        ({"snoozeUntil": "2020-01-01T00:00:00Z"}, 1577836800000),
    ],
)
def test_snooze(fields: dict[str, Any], expected: int) -> None:
    assert after("snooze", **fields) == UpdatePolicy(snooze_until=to_iso(expected))


def test_maturity_policy_keeps_known_days() -> None:
    assert after("set-maturity-policy", mode=" MATURE ") == UpdatePolicy(
        maturity_mode="mature", maturity_min_age_days=7
    )
    assert after("set-maturity-policy", mode="mature", minAgeDays=14) == UpdatePolicy(
        maturity_mode="mature",
        maturity_min_age_days=14,
    )
    known = with_policy(None, LABELLED)
    assert after("set-maturity-policy", known, mode="all") == UpdatePolicy(maturity_mode="all", maturity_min_age_days=3)


FULL = UpdatePolicy(
    skip_tags=["1.5.0"],
    skip_digests=["d"],
    snooze_until="2026-03-01T00:00:00.000Z",
    maturity_mode="mature",
    maturity_min_age_days=14,
)


@pytest.mark.parametrize(
    ("action", "gone"),
    [
        ("clear-skips", {"skip_tags", "skip_digests"}),
        ("unsnooze", {"snooze_until"}),
        ("clear-maturity-policy", {"maturity_mode", "maturity_min_age_days"}),
        ("revert-to-declarative", {"skip_tags", "skip_digests", "maturity_mode", "maturity_min_age_days"}),
    ],
)
def test_removing_actions_leave_the_rest(action: str, gone: set[str]) -> None:
    left = after(action, with_policy(FULL))
    assert left is not None
    for field in UpdatePolicy.__struct_fields__:
        assert getattr(left, field) == (None if field in gone else getattr(FULL, field))


def test_clear_removes_everything() -> None:
    assert after("clear", with_policy(FULL)) is None


def test_removing_actions_hide_what_labels_declare() -> None:
    record = with_policy(FULL, LABELLED)
    cleared = after("clear", record)
    assert cleared == UpdatePolicy(skip_tags=[], maturity_mode="all")
    assert is_available(with_policy(cleared, LABELLED), NOW)
    assert after("revert-to-declarative", record, field="skipTags") == UpdatePolicy(
        skip_digests=["d"],
        snooze_until=FULL.snooze_until,
        maturity_mode="mature",
        maturity_min_age_days=14,
    )


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "Action is required"),
        ({"action": " "}, "Action is required"),
        ({"action": 3}, "Action is required"),
        ({"action": "explode"}, "Unknown action explode"),
        ({"action": "remove-skip", "kind": "x", "value": "a"}, "Invalid skip kind"),
        ({"action": "remove-skip", "kind": "tag", "value": " "}, "Invalid skip value"),
        ({"action": "remove-skip", "kind": "tag"}, "Invalid skip value"),
        ({"action": "snooze", "days": 0}, "Invalid snooze days"),
        ({"action": "snooze", "days": 366}, "Invalid snooze days"),
        ({"action": "snooze", "days": True}, "Invalid snooze days"),
        ({"action": "snooze", "days": "soon"}, "Invalid snooze days"),
        ({"action": "snooze", "days": "nan"}, "Invalid snooze days"),
        ({"action": "snooze", "snoozeUntil": "x"}, "Invalid snoozeUntil date"),
        ({"action": "snooze", "snoozeUntil": 5}, "Invalid snoozeUntil date"),
        ({"action": "set-maturity-policy"}, "Invalid maturity mode"),
        ({"action": "set-maturity-policy", "mode": "old"}, "Invalid maturity mode"),
        ({"action": "set-maturity-policy", "mode": "mature", "minAgeDays": 0}, "Invalid minAgeDays"),
        ({"action": "set-maturity-policy", "mode": "mature", "minAgeDays": 366}, "Invalid minAgeDays"),
        ({"action": "set-maturity-policy", "mode": "mature", "minAgeDays": 1.5}, "Invalid minAgeDays"),
        ({"action": "set-maturity-policy", "mode": "mature", "minAgeDays": "14"}, "Invalid minAgeDays"),
        ({"action": "set-maturity-policy", "mode": "mature", "minAgeDays": True}, "Invalid minAgeDays"),
        ({"action": "revert-to-declarative", "field": "snoozeUntil"}, "Unknown policy field"),
        ({"action": "revert-to-declarative", "field": 1}, "Unknown policy field"),
    ],
)
def test_bad_input_is_refused(body: dict[str, Any], text: str) -> None:
    with pytest.raises(BadRequest, match=text):
        apply(body, updatable(), NOW)


def test_skip_current_needs_a_tag_or_digest_update() -> None:
    with pytest.raises(BadRequest, match="No update available to skip"):
        apply({"action": "skip-current"}, container("1.4.0", Result(tag="1.4.0")), NOW)


def test_garbage_is_tidied_on_the_way() -> None:
    stored = UpdatePolicy(skip_tags=["a", "a", " "], snooze_until="someday", maturity_min_age_days=900)
    assert after("unsnooze", with_policy(stored)) == UpdatePolicy(skip_tags=["a"])


JSON = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.just("2026-03-01"))
BODY = st.fixed_dictionaries(
    {"action": st.sampled_from([*ACTIONS, "nope"])},
    optional=dict.fromkeys(("kind", "value", "days", "snoozeUntil", "mode", "minAgeDays", "field"), JSON)
    | {"mode": st.sampled_from(["all", "mature", "x"]), "kind": st.sampled_from(["tag", "digest", "x"])},
)


@given(st.lists(BODY, max_size=6), st.sampled_from([None, LABELLED]))
def test_actions_leave_a_valid_policy_or_change_nothing(bodies: list[dict[str, Any]], declared: Any) -> None:
    record = with_policy(None, declared)
    for body in bodies:
        try:
            overrides = apply(body, record, NOW)
        except BadRequest:
            continue
        record = with_policy(overrides, declared)
        policy = effective(record).policy
        assert policy.maturity_mode in (None, "all", "mature")
        assert policy.maturity_min_age_days is None or 1 <= policy.maturity_min_age_days <= 365
        assert len(policy.skip_tags or []) == len(set(policy.skip_tags or []))
        suppressed_by(record, NOW)


# Maturity


def day(text: str | None) -> str | None:
    return text and f"2026-{text}T00:00:00.000Z"


@pytest.mark.parametrize(
    ("detected", "published", "trusted", "start", "source"),
    [
        ("02-10", "02-01", True, "02-01", "publishedAt"),
        ("02-01", "02-05", True, "02-01", "detectedAt"),
        ("02-10", "01-01", False, "02-10", "detectedAt"),
        ("02-10", "02-20", True, "02-10", "detectedAt"),
        (None, "02-01", True, "02-01", "publishedAt"),
        (None, None, False, None, None),
        ("02-10", "02-10", True, "02-10", "publishedAt"),
    ],
)
def test_maturity_clock(
    detected: str | None, published: str | None, trusted: bool, start: str | None, source: str | None
) -> None:
    result = Result(tag="1.5.0", published_at=day(published), published_at_trusted=trusted or None)
    found = maturity.clock(container("1.4.0", result, update_detected_at=day(detected)), NOW)
    assert (found and (to_iso(found.start), found.source)) == (start and (day(start), source))


def test_first_seen_stands_in_for_detection() -> None:
    found = maturity.clock(container("1", Result(tag="2"), first_seen_at=day("02-03")), NOW)
    assert found is not None
    assert to_iso(found.start) == day("02-03")


@pytest.mark.parametrize(
    ("age_days", "expected"),
    [(0, "hot"), (6.99, "hot"), (7, "mature"), (30, "mature"), (30.01, "established")],
)
def test_maturity_levels(age_days: float, expected: str) -> None:
    assert maturity.level(round(age_days * DAY_MS)) == expected


def test_established_wins_over_a_long_threshold() -> None:
    assert maturity.level(31 * DAY_MS, 60) == "established"
    assert maturity.level(20 * DAY_MS, 60) == "hot"
    assert [maturity.threshold_days(value) for value in (None, 0, -1, 3)] == [7, 7, 7, 3]


def test_the_gate_is_closed_while_young_or_unknown() -> None:
    policy = UpdatePolicy(maturity_mode="mature", maturity_min_age_days=2)
    record = updatable()
    assert not maturity.is_pending(record, policy, NOW)
    assert maturity.is_pending(record, policy, NOW - 1)
    assert maturity.is_pending(container("1", Result(tag="2")), policy, NOW)
    assert not maturity.is_pending(record, UpdatePolicy(maturity_mode="all"), NOW - 1)
    assert maturity.is_pending(record, UpdatePolicy(maturity_mode="mature", maturity_min_age_days=999), NOW)


# Lifecycle


def test_clocks_start_stay_restart_and_stop() -> None:
    first = stamp(None, container("1.4.0", Result(tag="1.5.0")), NOW)
    assert first.update_detected_at == first.first_seen_at == to_iso(NOW)
    assert first.maturity_gate_pending_since is None
    again = stamp(first, container("1.4.0", Result(tag="1.5.0", suggested_tag="x")), NOW + 5)
    assert again.update_detected_at == to_iso(NOW)
    other = stamp(again, container("1.4.0", Result(tag="1.6.0"), update_detected_at=to_iso(NOW)), NOW + 9)
    assert other.update_detected_at == other.first_seen_at == to_iso(NOW + 9)
    gone = stamp(other, container("1.6.0", Result(tag="1.6.0"), update_detected_at=to_iso(NOW)), NOW + 10)
    assert (gone.update_detected_at, gone.first_seen_at) == (None, None)


def test_an_incoming_time_is_kept_when_nothing_was_pending_before() -> None:
    quiet = container("1.4.0", Result(tag="1.4.0"))
    assert stamp(quiet, updatable(), NOW).update_detected_at == "2026-02-10T00:00:00.000Z"


def test_the_gate_time_restarts_with_the_candidate_and_outlives_the_soak() -> None:
    policy = UpdatePolicy(maturity_mode="mature", maturity_min_age_days=1)
    fresh = container("1.4.0", Result(tag="1.5.0"), update_policy_overrides=policy)
    first = stamp(None, fresh, NOW)
    assert first.maturity_gate_pending_since == to_iso(NOW)
    later = stamp(first, first, NOW + 2 * DAY_MS)
    assert later.maturity_gate_pending_since == to_iso(NOW)
    newer = container("1.4.0", Result(tag="1.6.0"), update_policy_overrides=policy)
    assert stamp(later, newer, NOW + 3 * DAY_MS).maturity_gate_pending_since == to_iso(NOW + 3 * DAY_MS)


# Thresholds


def kind(text: str) -> UpdateKind:
    name, _, diff = text.partition(" ")
    found: Any = {"kind": name, "semver_diff": diff or "unknown"}
    return UpdateKind(**found)


@pytest.mark.parametrize(
    ("update", "threshold", "expected"),
    [
        ("tag major", "minor", False),
        ("tag minor", "minor", True),
        ("tag patch", "major", True),
        ("tag minor", "major-only", False),
        ("tag prerelease", "patch", True),
        ("tag unknown", "patch", True),
        ("digest", "minor", True),
        ("digest", "minor-no-digest", False),
        ("digest", "digest", True),
        ("tag patch", "digest", False),
        ("unknown", "all", True),
        ("unknown", "patch", False),
        ("tag minor", "minor-only", True),
        ("tag patch", "minor-only-no-digest", False),
        ("tag major", "major-only-no-digest", True),
        ("tag minor", "patch", False),
    ],
)
def test_thresholds(update: str, threshold: str, expected: bool) -> None:
    assert threshold in THRESHOLDS
    assert reaches(kind(update), threshold) is expected


@pytest.mark.parametrize(
    ("text", "trigger", "update", "expected"),
    [
        ("docker.prod", "docker.prod", "digest", True),
        ("prod", "docker.prod", "digest", True),
        ("PROD", "docker.prod", "digest", True),
        ("docker.prod", "edge1.docker.prod", "digest", True),
        ("edge1.docker", "edge1.docker.prod", "digest", False),
        ("prod:minor", "docker.prod", "tag major", False),
        ("prod:minor", "docker.prod", "tag patch", True),
        ("prod:bogus", "docker.prod", "tag major", True),
        ("a,prod:patch", "docker.prod", "tag minor", False),
        ("prod:minor,docker.prod", "docker.prod", "tag major", False),
        ("", "docker.prod", "digest", False),
        (" prod , x ", "docker.prod", "digest", True),
        ("prod:minor:x", "docker.prod", "tag major", True),
    ],
)
def test_references(text: str, trigger: str, update: str, expected: bool) -> None:
    assert (match_reference(parse_references(text), trigger, kind(update)) is not None) is expected
