"""Tag decisions: the worked examples of watching.md §17.1 and the tables of §7.1–7.7, and what must always hold."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drydock.core.errors import InvalidPattern, InvalidTransform
from drydock.core.tags import family, rules, shape, sift, version
from drydock.core.tags.decide import TagSubject, comparison_tag, decide
from drydock.core.tags.pattern import compile_pattern
from drydock.core.tags.subject import compile_subject
from drydock.core.tags.transform import compile_transform, transformed
from unit.core.tag_examples import EXAMPLES, Example


def severity_of(example: Example, tag: str) -> str:
    """What `updateKind.semverDiff` shows for a tag update."""
    formula = example.options.get("transform")
    local = transformed(example.local, formula)
    if version.parse(local) is None:
        return "unknown"
    step = family.severity(local, transformed(tag, formula)) or "unknown"
    return step if step == "prerelease" else step.removeprefix("pre")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: str(e.number))
def test_worked_example(example: Example) -> None:
    decision = decide([example.local, *example.others.split()], TagSubject(tag=example.local, **example.options))
    insight = decision.insight
    assert decision.candidate == example.tag
    assert (insight and (insight.tag, insight.kind)) == example.insight
    assert decision.suggested == example.suggested
    assert (decision.reason_code and (decision.reason_code, decision.outside)) == example.reason
    assert decision.rule == example.rule
    if example.tag is not None:
        assert severity_of(example, example.tag) == example.severity
        assert decision.trace.chosen == example.tag


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: str(e.number))
def test_worked_example_version_and_precision(example: Example) -> None:
    text = transformed(example.local, example.options.get("transform"))
    parsed = version.parse(text)
    assert (str(parsed) if parsed else None) == example.version
    assert shape.precision(text) == example.precision


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: str(e.number))
def test_worked_example_trace_accounts_for_every_tag(example: Example) -> None:
    decision = decide([example.local, *example.others.split()], TagSubject(tag=example.local, **example.options))
    trace = decision.trace
    seen = {removed.tag for removed in trace.removed} | set(trace.kept)
    assert seen == {example.local, *example.others.split()}
    assert trace.removed_total == len(trace.removed) == sum(trace.removed_by_rule.values())
    assert decision.rule in rules.DECISION
    if decision.reason_code:
        assert decision.reason_code in rules.REASON
        assert example.local in (decision.no_update_reason or "")
        assert "dd.tag.family=loose" in (decision.no_update_reason or "")


@pytest.mark.parametrize(
    ("number", "tag", "rule"),
    [
        (1, "4.8.0", "pinned-tag"),
        (2, "5.1.0", "prefix"),
        (3, "4.6.9", "not-greater"),
        (4, "5", "segment-count"),
        (5, "3.0.0-bookworm", "suffix-family"),
        (7, "2.4.0-rc.1", "prerelease"),
        (19, "sha-99aa", "sha-or-signature"),
        (20, "5.0.0", "exclude-regex"),
        (22, "1.28.0", "include-regex"),
        (28, "v9.3.0", "family-prefix"),
        (34, "20.04.1", "zero-padding"),
        (54, "17-alpine", "floating-tag"),
        (63, "24.04", "not-a-version"),
        (70, "1.9.2", "no-include"),
        (1, "4.7.2", "running-tag"),
    ],
)
def test_every_removal_names_its_rule(number: int, tag: str, rule: str) -> None:
    example = EXAMPLES[number - 1]
    decision = decide([example.local, *example.others.split()], TagSubject(tag=example.local, **example.options))
    removed = {entry.tag: entry for entry in decision.trace.removed}
    assert removed[tag].rule == rule
    assert removed[tag].reason == rules.REMOVAL[rule]


def test_a_lower_tag_is_marked_as_downgrade() -> None:
    lower = decide(["8.5.0", "9.1.0"], TagSubject(tag="9.1.0", include=r"^8\."))
    higher = decide(["9.5.0", "8.1.0"], TagSubject(tag="8.1.0", include=r"^9\."))
    assert (lower.candidate, lower.downgrade) == ("8.5.0", True)
    assert (higher.candidate, higher.downgrade) == ("9.5.0", False)


def test_an_unusable_filter_is_ignored_with_a_warning_that_names_it() -> None:
    decision = decide(["3.4.2"], TagSubject(tag="3.4.1", include="(", exclude="[", transform="( => x"))
    assert decision.candidate == "3.4.2"
    assert [any(word in w for w in decision.warnings) for word in ("include", "exclude", "transform")] == [True] * 3


def test_removed_tags_are_cut_but_counted() -> None:
    tags = [f"1.0.{n}" for n in range(700)] + ["nope", "sha-1"]
    trace = decide(tags, TagSubject(tag="1.0.100")).trace
    assert len(trace.removed) <= 200
    assert trace.removed_total == 702
    assert trace.removed_by_rule["pinned-tag"] == 599
    assert {"sha-or-signature", "prefix"} <= {entry.rule for entry in trace.removed}


def test_filtered_floating_members_are_all_counted() -> None:
    tags = [str(n) for n in range(1, 400)]
    decision = decide(tags, TagSubject(tag="15", include=r"^\d+$"))
    assert (decision.reason_code, decision.outside) == (rules.FLOATING_FILTER, 384)


VERSIONS = [
    ("3", "3.0.0", "coerce"),
    ("3.7", "3.7.0", "coerce"),
    ("v3.7.2", "3.7.2", "direct"),
    ("V3.7.2", "3.7.2", "coerce"),
    ("03.07.02", "3.7.2", "direct"),
    ("2026.02.0", "2026.2.0", "direct"),
    ("22.04", None, None),
    ("04-alpine", None, None),
    ("22.4", "22.4.0", "coerce"),
    ("20.04.3", "20.4.3", "direct"),
    ("3.7.2-rc.01", "3.7.2-rc.1", "direct"),
    ("3.7.2rc1", "3.7.2-rc1", "direct"),
    ("3.7.2.rc1", "3.7.2", "coerce"),
    ("3.7.2-alpine3.20", "3.7.2-alpine3.20", "direct"),
    ("3.7.2_alpine", "3.7.2", "coerce"),
    ("16-alpine", "16.0.0", "coerce"),
    ("3.7.2.9", "3.7.2-9", "multi"),
    ("v3.7.2.9.1", "3.7.2-9.1", "multi"),
    ("3.7.2.9-ls12", "3.7.2", "coerce"),
    ("release-3.7.2-rc1", "3.7.2", "coerce"),
    ("jdk21", "21.0.0", "coerce"),
    ("RELEASE.2025-02-03T01-00-00Z", "2025.0.0", "coerce"),
    ("2025-01-10", "2025.0.0", "coerce"),
    ("20250110", "20250110.0.0", "coerce"),
    ("12345678901234567", None, None),
    ("9007199254740992", None, None),
    ("sha-0a1b2c3", "0.0.0", "coerce"),
    ("main-amd64", "64.0.0", "coerce"),
    ("8u402-b06", "8.0.0", "coerce"),
    ("11.0.20_8-jre", "11.0.20", "coerce"),
    ("3.7.2-077", "3.7.2-77", "direct"),
    ("1.2.3+build.7", "1.2.3", "direct"),
    ("latest", None, None),
    ("edge", None, None),
    ("deadbeef", None, None),
    ("", None, None),
]


@pytest.mark.parametrize(("text", "expected", "path"), VERSIONS)
def test_version_parsing(text: str, expected: str | None, path: str | None) -> None:
    parsed = version.parse(text)
    assert (str(parsed), parsed.path) == (expected, path) if parsed else expected is None


def test_numeric_prerelease_identifiers_are_numbers() -> None:
    parsed = version.parse("3.7.2-alpine3.20")
    assert parsed is not None
    assert parsed.prerelease == ("alpine3", 20)


DIFFS = [
    ("1.4.2", "2.0.0", "major"),
    ("1.4.2", "1.5.0", "minor"),
    ("1.4.2-alpine", "2.0.0-alpine", "premajor"),
    ("1.4.2-alpine", "1.5.0-alpine", "preminor"),
    ("1.4.2-alpine", "1.4.3-alpine", "prepatch"),
    ("1.4.2-rc1", "1.4.2-rc2", "prerelease"),
    ("1.4.2-rc1", "1.4.2", "patch"),
    ("1.4.0-rc1", "1.4.0", "minor"),
    ("2.0.0-rc1", "2.0.0", "major"),
    ("2.0.0-rc1", "2.0.1", "major"),
    ("1.4.2-rc1", "1.5.0", "minor"),
    ("1.4.2", "1.4.2-rc1", "patch"),
    ("9.1.0", "8.5.0", "major"),
    ("1.4.2.7", "1.4.2.9", "prerelease"),
    ("1.4.2.7-ls1", "1.4.2.9-ls2", None),
    ("1.4", "1.4.0", None),
    ("latest", "1.4.2", None),
]


@pytest.mark.parametrize(("a", "b", "expected"), DIFFS)
def test_difference_is_the_same_in_both_directions(a: str, b: str, expected: str | None) -> None:
    assert version.diff(a, b) == version.diff(b, a) == expected


TRANSFORMS = [
    (r"^v(.+)$ => $1", "v4.1", "4.1"),
    (r"^(\d+)\.(\d+)-.*$=>$1.$2.0", "7.3-fpm", "7.3.0"),
    (r"^(\d+)\.(\d+)-.*$=>$1.$2.0", "7.3", "7.3"),
    (r"^(\d+)$ => $2", "9", ""),
    (r"^(.*)-(.*)$ => $2-$1", "a-b", "b-a"),
    (r"^(\d+) => x", "12-a", "x"),
    (r"^(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)(k)(l)$ => $12$1", "abcdefghijkl", "la"),
    (r"^(.)(x)?$ => $1$2", "a", "a"),
    ("no arrow", "a", "a"),
    (None, "a", "a"),
]


@pytest.mark.parametrize(("formula", "tag", "expected"), TRANSFORMS)
def test_transform(formula: str | None, tag: str, expected: str) -> None:
    assert compile_transform(formula).apply(tag) == expected


@pytest.mark.parametrize("formula", ["( => $1", f"{'a' * 1025} => $1", "(?=x) => $1"])
def test_an_unusable_transform_raises_its_own_error_and_leaves_tags_alone(formula: str) -> None:
    with pytest.raises(InvalidTransform):
        compile_transform(formula)
    assert transformed("1.2", formula) == "1.2"


@pytest.mark.parametrize("text", ["(", "a" * 1025, "(?<!x)y", r"(a)\1"])
def test_an_unusable_pattern_raises(text: str) -> None:
    with pytest.raises(InvalidPattern):
        compile_pattern(text)


def test_a_pattern_of_1024_characters_searches_anywhere() -> None:
    assert compile_pattern("a" * 1024).matches("b" + "a" * 1024)
    assert compile_pattern("alpine").matches("3-alpine3")


def test_shape() -> None:
    found = shape.parse("v1.20-alpine3.19")
    assert found == shape.Shape("v", ("1", "20"), (1, 20), "-alpine3.19")
    assert shape.parse("latest") is None
    assert shape.parse("1\n2") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("latest", False),
        ("Edge", False),
        ("edge-slim", False),
        ("rc.1", False),
        ("next_2", False),
        ("16-alpine", True),
        ("foo", True),
        ("sha256:ab", True),
        ("", False),
        (" ", False),
        ("a\nb", False),
        ("latestish", True),
    ],
)
def test_pinned(text: str, expected: bool) -> None:
    assert shape.is_pinned(text) is expected


SUFFIXES = [
    ("", "-slim", False),
    ("-slim", "", False),
    ("-alpine3.19", "-alpine3.20", True),
    ("-alpine", "-alpine3.20", True),
    ("-ls9", "-ls10", True),
    ("_8-jre", "_11-jre", True),
    ("-bookworm", "-bookworm-slim", False),
    ("-bookworm-slim", "-bookworm", False),
    ("-rc.1", "-rc2", True),
    ("-rc.1", "-beta.1", False),
    ("-LTS", "-lts", True),
    ("-a", "-alpine", False),
    ("", "", True),
]


@pytest.mark.parametrize(("current", "candidate", "expected"), SUFFIXES)
def test_suffix_family(current: str, candidate: str, expected: bool) -> None:
    assert family.suffixes_match(current, candidate) is expected


def test_a_release_may_follow_its_prerelease_only_when_widened() -> None:
    assert family.suffixes_match("-rc.1", "", widened=True)
    assert not family.suffixes_match("-slim", "", widened=True)


def test_comparison_tag_of_a_digest_reference() -> None:
    by_digest = TagSubject(tag="sha256:abc")
    assert comparison_tag(["1.0.0", "LATEST", "sha-1"], by_digest) == "LATEST"
    assert comparison_tag(["1.0.0", "1.2.0", "zeta"], by_digest) == "1.2.0"
    assert comparison_tag(["alpha", "zeta", "zz.sig"], by_digest) == "zeta"
    assert comparison_tag(["sha-1", ""], by_digest) is None
    assert comparison_tag(["latest", "1.2.0"], TagSubject(tag="sha256:a", exclude="latest")) == "1.2.0"


# What must hold for every input

TAG = st.one_of(
    st.from_regex(r"\A(v|release-|)[0-9]{1,4}(\.[0-9]{1,3}){0,4}(-(alpine|rc|ls|slim|bookworm)[.]?[0-9]{0,3})?\Z"),
    st.sampled_from(["latest", "edge", "22.04", "24.04", "sha-1", "1.2.3.sig", "jdk17", "2024-06-01", "2024-09-30"]),
    st.text(alphabet="v0123456789.-_abcRC", min_size=1, max_size=12),
)
FILTER = st.sampled_from([None, ".", r"^\d", r"^1\.", "alpine", "(", r"^v?\d+\.\d+\.\d+$"])


@st.composite
def subjects(draw: st.DrawFn) -> TagSubject:
    return TagSubject(
        tag=draw(TAG),
        include=draw(FILTER),
        exclude=draw(FILTER),
        family=draw(st.sampled_from([None, "strict", "loose"])),
        digest_watch=draw(st.booleans()),
    )


@given(st.text(max_size=300))
def test_parsing_never_raises(text: str) -> None:
    version.parse(text)
    shape.parse(text)
    shape.precision(text)
    shape.is_pinned(text)
    decide([text], TagSubject(tag=text, include=text, transform=f"{text} => $1"))


@given(st.lists(TAG, min_size=3, max_size=3))
def test_the_version_order_is_total(texts: list[str]) -> None:
    parsed = [v for v in map(version.parse, texts) if v]
    for a in parsed:
        for b in parsed:
            assert version.compare(a, b) == -version.compare(b, a)
            for c in parsed:
                if version.compare(a, b) >= 0 and version.compare(b, c) >= 0:
                    assert version.compare(a, c) >= 0


@given(subjects(), st.lists(TAG, max_size=15), st.randoms(use_true_random=False))
def test_the_order_of_the_list_never_matters(subject: TagSubject, tags: list[str], chance: random.Random) -> None:
    shuffled = tags.copy()
    chance.shuffle(shuffled)
    assert decide(tags, subject) == decide(shuffled, subject)


@given(subjects(), st.lists(TAG, max_size=15))
def test_nothing_goes_backwards_unless_the_filter_forces_it(subject: TagSubject, tags: list[str]) -> None:
    decision = decide(tags, subject)
    current = compile_subject(subject)
    if decision.candidate is None or current.shape is None or decision.rule == rules.INCLUDE_ONLY:
        return
    found = shape.parse(decision.candidate)
    order: Any = family.natural_compare(found, current.shape)
    assert order is not None
    if decision.rule == rules.NEWEST:
        assert order > 0
        assert not decision.downgrade
    else:
        assert decision.rule == rules.RECOVERY
        assert decision.downgrade is (order < 0)


@given(subjects(), st.lists(TAG, max_size=15))
def test_the_trace_accounts_for_every_tag(subject: TagSubject, tags: list[str]) -> None:
    trace = decide(tags, subject).trace
    assert trace.listed == len(set(tags)) == trace.removed_total + len(trace.kept)


@given(st.lists(TAG, max_size=300, unique=True))
def test_the_best_200_are_the_head_of_the_full_order(tags: list[str]) -> None:
    current = compile_subject(TagSubject(tag="1.2.3"))
    found = [sift.Member(tag, tag, shape.parse(tag)) for tag in tags]
    whole = sorted(found, key=lambda m: sift.order_key(m, ""), reverse=True)
    assert sift.ordered(found, current) == whole[:200]
