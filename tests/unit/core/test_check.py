"""Assembly of a check (watching.md §7.9–7.12, §15) and its explanation (explain.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from drydock.core.check import (
    CheckOutcome,
    DigestComparison,
    Published,
    Resolved,
    assemble,
    compare_digest,
    find,
    plan,
)
from drydock.core.errors import DrydockError, RegistryRateLimited
from drydock.core.explain import Explanation, explain
from drydock.core.model import CheckError, Container, Result, UpdateInsight, UpdatePolicy
from drydock.core.policy.automation import TriggerFacts
from drydock.core.policy.eligibility import EligibilityContext
from drydock.core.trace import HostRequests
from drydock.core.update import has_raw_update, update_kind
from drydock.core.view import ViewContext, view
from unit.core.build import NOW, container
from unit.core.tag_examples import EXAMPLES, Example

LIMITED = RegistryRateLimited("docker.io rate limit reached, next try after 14:20")
OPEN = TriggerFacts(id="docker.prod", type="docker", name="prod", auto="all")


def check(
    record: Container,
    tags: Sequence[str] | DrydockError | None,
    digest: DigestComparison | DrydockError | None = None,
    **more: Any,
) -> CheckOutcome:
    finding = find(record, plan(record), tags)
    return assemble(record, finding, digest=digest, checked_at_ms=NOW, **more)


def explained(record: Container, outcome: CheckOutcome | None) -> Explanation:
    stored = outcome.applied_to(record) if outcome else record
    context = ViewContext(eligibility=EligibilityContext(triggers=(OPEN,)))
    return explain(stored, outcome and outcome.trace, view(stored, NOW, context), None, NOW)


# D1–D10


@pytest.mark.parametrize(
    ("row", "local", "head", "resolved", "state", "digest", "value", "repo"),
    [
        ("D1", ["a1"], "a1", None, "unchanged", "a1", "a1", "a1"),
        ("D2", ["i1"], "i1", None, "unchanged", "i1", "i1", "i1"),
        ("D3", ["i1"], "i2", ("p2", "other"), "changed", "p2", "p1", "i1"),
        ("D3 unknown", ["i1"], "i2", ("p2", "other"), "changed", "p2", "i1", "i1"),
        ("D4", ["x9", "i1"], "i1", None, "unchanged", "i1", "i1", "i1"),
        ("D5", ["x9", "a1"], "a1", None, "unchanged", "a1", "a1", "a1"),
        ("D6", ["x9"], "p1", ("p1", "other"), "changed", "p1", "x9", "x9"),
        ("D9", ["i1"], "p7", ("p7", "other"), "changed", "p7", "i1", "i1"),
        ("D10", ["i1"], "i2", ("p1", "local-image"), "unchanged", "p1", "p1", "i1"),
        ("platform pulled", ["p1"], "i2", ("p1", "x"), "unchanged", "p1", "p1", "p1"),
        ("containerd store", ["i1"], "i2", ("local-image", "x"), "unchanged", "local-image", "local-image", "i1"),
        ("unresolved", ["i1"], "i2", None, "needs-resolve", None, None, None),
    ],
)
def test_digest_comparison(
    row: str,
    local: list[str],
    head: str,
    resolved: tuple[str, str] | None,
    state: str,
    digest: str | None,
    value: str | None,
    repo: str | None,
) -> None:
    answer = Resolved(platform_digest=resolved[0], config_digest=resolved[1]) if resolved else None
    known = "p1" if row == "D3" else None
    found = compare_digest(local, "local-image", head, answer, local_platform_digest=known)
    assert (found.state, found.digest, found.value, found.repo) == (state, digest, value, repo)
    assert found.reason


def test_d7_local_images_are_never_looked_up() -> None:
    record = container("1.0", local=True, registry="unknown")
    planned = plan(record)
    assert (planned.mode, planned.list_tags, planned.compare) == ("local", False, False)
    outcome = check(record, None)
    assert outcome.error is None
    assert outcome.result.no_update_reason == "Locally-built image (no repository digest) — registry not queried"
    assert explained(record, outcome).verdict == "not-checked"


def test_d8_without_digest_watching_only_tags_decide() -> None:
    record = container("1.4.0", value="d1", repo="i1", watch=False)
    assert not plan(record).compare
    outcome = check(record, ["1.4.0"])
    assert outcome.result.digest is None
    assert outcome.digest == record.image.digest


def test_d9_a_tag_beats_a_digest() -> None:
    record = container("1.4.0", repo="i1", value="i1", include_tags="^1")
    finding = find(record, plan(record), ["1.4.0", "1.4.1"])
    assert finding.compare_tag == "1.4.1"
    changed = compare_digest(["i1"], "x", "p7", Resolved(platform_digest="p7", created="2026-02-01T00:00:00Z"))
    outcome = check(record, ["1.4.0", "1.4.1"], changed, published=Published("2026-02-01T00:00:00.000Z", True))
    stored = outcome.applied_to(record)
    assert update_kind(stored).kind == "tag"
    assert (stored.result and stored.result.digest, stored.result and stored.result.published_at_trusted) == (
        "p7",
        True,
    )
    assert explained(record, outcome).verdict == "update-available"


def test_schema_1_compares_the_build_date_only() -> None:
    found = compare_digest(["i1"], "x", "s1", Resolved(platform_digest=None, created="2026-02-01T00:00:00Z"))
    assert found.state == "created-only"
    record = container("1.4.0", repo="i1", value="i1", created="2026-02-01T00:00:00Z")
    stored = check(record, ["1.4.0"], found).applied_to(record)
    assert not has_raw_update(stored)
    assert stored.image.digest.value == "i1"


# Containers running by digest


def test_running_by_digest_is_compared_with_a_tag() -> None:
    record = container("sha256:abc", repo="i1", value="i1")
    finding = find(record, plan(record), ["latest", "1.0.0"])
    assert (finding.compare_tag, finding.result.tag) == ("latest", "sha256:abc")
    assert finding.result.no_update_reason == "Running by digest — no tag to compare"
    failed = check(record, ["latest"], LIMITED)
    assert failed.error is not None
    assert failed.result == Result(tag="sha256:abc")


def test_an_unknown_tag_asks_nothing() -> None:
    planned = plan(container("unknown", repo="i1"))
    assert (planned.mode, planned.list_tags, planned.compare) == ("unknown", False, False)


# Failures keep what was known


def test_a_failed_listing_keeps_the_previous_result() -> None:
    before = Result(tag="1.5.0", digest="d2")
    record = container("1.4.0", before, value="d1", repo="d1")
    outcome = check(record, LIMITED)
    assert outcome.result == before
    assert outcome.digest == record.image.digest
    assert outcome.error == CheckError(message=LIMITED.message, code="registry-rate-limited")
    assert has_raw_update(outcome.applied_to(record))
    story = explained(record, outcome)
    assert story.verdict == "unknown"
    assert LIMITED.message in story.summary
    assert "1.5.0" in story.summary


def test_a_first_failure_is_unknown_never_up_to_date() -> None:
    record = container("1.4.0")
    outcome = check(record, LIMITED)
    assert outcome.result == Result(tag="1.4.0")
    story = explained(record, outcome)
    assert story.verdict == "unknown"
    assert LIMITED.message in story.summary


def test_no_registry_is_an_error_with_a_remedy() -> None:
    record = container("1.4.0", Result(tag="1.5.0"), registry="unknown")
    outcome = check(record, None)
    assert outcome.error is not None
    assert outcome.error.code == "registry-not-found"
    assert "DD_REGISTRY_" in outcome.error.message
    assert outcome.result == Result(tag="1.4.0")


@pytest.mark.parametrize(("previous_tag", "kept"), [("1.4.0", "d1"), ("1.3.0", None)])
def test_a_failed_digest_keeps_the_tag_result(previous_tag: str, kept: str | None) -> None:
    record = container("1.4.0", Result(tag=previous_tag, digest="d1"), value="d1", repo="d1")
    outcome = check(record, ["1.4.0"], LIMITED)
    stored = outcome.applied_to(record)
    assert stored.error is not None
    assert outcome.result.digest == kept
    assert stored.image.digest.value == "d1"
    assert not has_raw_update(stored)
    assert explained(record, outcome).verdict == "unknown"


def test_an_unusable_transform_is_an_error_beside_the_result() -> None:
    record = container("1.4.0", transform_tags="( => $1", include_tags="^1")
    outcome = check(record, ["1.4.0", "1.5.0"])
    assert outcome.result.tag == "1.5.0"
    assert outcome.error is not None
    assert outcome.error.code == "invalid-transform"


def test_the_next_good_check_clears_the_error() -> None:
    record = container("1.4.0", Result(tag="1.5.0"), error=CheckError(message="x"))
    assert check(record, ["1.4.0"]).applied_to(record).error is None


# Explanations


def test_never_checked() -> None:
    story = explained(container("1.4.0", Result(tag="1.4.0")), None)
    assert story.verdict == "not-checked"
    assert story.checked_at is None


def test_nothing_compared_is_not_up_to_date() -> None:
    record = container("latest", watch=False)
    story = explained(record, check(record, ["latest", "1.0.0"]))
    assert story.verdict == "not-checked"
    assert "dd.watch.digest" in story.summary


def test_up_to_date_says_what_was_compared() -> None:
    record = container("1.4.0", repo="i1", value="i1")
    outcome = check(record, ["1.4.0"], compare_digest(["i1"], "x", "i1"), requests=[HostRequests(host="h", requests=2)])
    story = explained(record, outcome)
    assert story.verdict == "up-to-date"
    assert "i1" in story.summary
    assert msgspec.to_builtins(story)["requests"] == {"h": {"requests": 2, "cached": 0}}


def test_suppressed_names_the_policy() -> None:
    record = container("1.4.0", include_tags="^1", update_policy_overrides=UpdatePolicy(skip_tags=["1.5.0"]))
    story = explained(record, check(record, ["1.5.0"]))
    assert story.verdict == "suppressed"
    assert "1.5.0" in story.summary
    policy = next(step for step in story.steps if step.stage == "policy")
    assert policy.outcome == "stop"
    assert "skipTags" in policy.reason


def test_a_forced_downgrade_is_called_one() -> None:
    record = container("9.1.0", include_tags=r"^8\.")
    story = explained(record, check(record, ["8.5.0", "9.1.0"]))
    assert story.summary.startswith("8.5.0 is lower (major) than 9.1.0")
    kind = next(step for step in story.steps if step.stage == "kind")
    assert (kind.details or {})["downgrade"] is True


def test_a_rolling_tag_is_not_said_to_be_older() -> None:
    record = container("nightly", include_tags="^v")
    story = explained(record, check(record, ["nightly", "v1.2.3"]))
    assert story.summary.startswith("v1.2.3 is what dd.tag.include allows instead of nightly")


def test_newer_exists_names_the_way_out() -> None:
    record = container("3.3.9", repo="i1", value="i1")
    outcome = check(record, ["3.10.0"], compare_digest(["i1"], "x", "i1"))
    assert outcome.result.update_insight == UpdateInsight(tag="3.10.0", kind="minor")
    story = explained(record, outcome)
    assert story.verdict == "newer-exists"
    assert story.summary == (
        "3.10.0 is newer (minor), but 3.3.9 is a pinned tag: set dd.tag.include or dd.tag.family=loose to follow it."
    )


def test_image_texts() -> None:
    story = explained(container("1.4.0"), None)
    assert story.image == "nginx:1.4.0"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: str(e.number))
def test_every_example_is_explained_by_the_rule_that_decided(example: Example) -> None:
    names = {
        "include": "include_tags",
        "exclude": "exclude_tags",
        "transform": "transform_tags",
        "family": "tag_family",
    }
    fields = {names[key]: value for key, value in example.options.items() if key in names}
    record = container(
        example.local,
        watch=example.options.get("digest_watch", True),
        tag_pin_info=example.options.get("pin_info", True),
        **fields,
    )
    outcome = check(record, [example.local, *example.others.split()])
    story = explained(record, outcome)
    rule = next(step for step in story.steps if step.stage == "tags").details
    assert (rule or {})["rule"] == example.rule
    assert update_kind(outcome.applied_to(record)).semver_diff == (example.severity or "unknown")
    assert (story.verdict == "update-available") is (example.tag is not None)
    assert story.summary.strip()
    assert all(step.reason.strip() for step in story.steps)
    assert "None" not in story.summary
