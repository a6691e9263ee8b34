"""Labels and their precedence (watching.md §2, §3)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drydock.core import compose_labels, labels
from drydock.core.imgset import ImageSet
from drydock.core.labels import LabelSettings, WatcherDefaults, category_gap, read
from drydock.core.model import UpdatePolicy


def settings(found: dict[str, str], imgset: ImageSet | None = None, **defaults: Any) -> LabelSettings:
    return read(found, imgset, WatcherDefaults(**defaults))


@pytest.mark.parametrize(
    ("value", "by_default", "expected"),
    [
        (None, True, True),
        (None, False, False),
        ("TRUE", False, True),
        (" true ", False, True),
        ("false", True, False),
        ("yes", True, False),
        ("  ", True, True),
    ],
)
def test_watched(value: str | None, by_default: bool, expected: bool) -> None:
    found = {} if value is None else {labels.WATCH: value}
    assert settings(found, watch_by_default=by_default).watched is expected


def test_a_label_beats_the_image_set_which_beats_the_watcher() -> None:
    preset = ImageSet(name="s", image="nginx", tag_include="^2", tag_family="loose", tag_pin_info=False)
    assert settings({labels.TAG_INCLUDE: " ^1 "}, preset).include_tags == "^1"
    assert settings({labels.TAG_INCLUDE: " "}, preset).include_tags == "^2"
    assert settings({}, preset, tag_family="strict", tag_pin_info=True).tag_family == "loose"
    assert settings({}, preset, tag_pin_info=True).tag_pin_info is False
    assert settings({}, None, tag_family="loose").tag_family == "loose"
    assert settings({labels.TAG_PIN_INFO: "FALSE"}).tag_pin_info is False
    assert settings({labels.TAG_PIN_INFO: "maybe"}).tag_pin_info is True


def test_an_unknown_family_is_strict_and_said() -> None:
    found = settings({labels.TAG_FAMILY: "wild"})
    assert found.tag_family == "strict"
    assert "wild" in found.warnings[0]
    assert settings({labels.TAG_FAMILY: " Loose "}).warnings == []


@pytest.mark.parametrize(("value", "expected"), [("TRUE", True), ("no", False), ("", None)])
def test_digest_watching(value: str, expected: bool | None) -> None:
    assert settings({labels.WATCH_DIGEST: value}).watch_digest is expected


def test_each_trigger_category_reads_its_own_label_and_the_image_set_fills_both() -> None:
    found = settings({labels.ACTION_INCLUDE: "docker.prod"})
    assert found.action_trigger_include == found.trigger_include == "docker.prod"
    assert found.notification_trigger_include is None
    preset = ImageSet(name="s", image="nginx", trigger_include="preset")
    filled = settings({labels.NOTIFICATION_INCLUDE: "ntfy"}, preset)
    assert (filled.action_trigger_include, filled.notification_trigger_include) == ("preset", "ntfy")


def test_the_old_trigger_label_serves_both_categories_with_a_warning() -> None:
    found = settings({labels.TRIGGER_EXCLUDE: "x", labels.ACTION_EXCLUDE: "y"})
    assert (found.action_trigger_exclude, found.notification_trigger_exclude) == ("y", "x")
    assert found.legacy_keys == [labels.TRIGGER_EXCLUDE]
    assert "dd.notification.exclude" in found.warnings[0]


def test_a_legacy_name_is_a_fallback_and_reported_once() -> None:
    found = settings({"wud.tag.include": "^1", "wud.watch": "false"})
    assert (found.include_tags, found.watched) == ("^1", False)
    assert sorted(found.legacy_keys) == ["wud.tag.include", "wud.watch"]
    assert settings({"wud.tag.include": "^1", labels.TAG_INCLUDE: "^2"}).legacy_keys == []


def test_a_gap_between_the_categories_is_named() -> None:
    found = settings({labels.ACTION_INCLUDE: "a"})
    assert "dd.notification" in (category_gap(found, has_action=True, has_notification=True) or "")
    assert category_gap(found, has_action=True, has_notification=False) is None
    assert category_gap(settings({}), has_action=True, has_notification=True) is None


def test_policy_labels_and_watcher_variables_are_two_layers() -> None:
    found = settings(
        {labels.MATURITY_MODE: " Mature ", labels.SKIP_TAGS: "1.0, 1.0,,2.0", labels.MATURITY_MIN_AGE_DAYS: "400"},
        maturity_mode="all",
        maturity_min_age_days=3,
    )
    assert found.declarative is not None
    assert found.declarative.label == UpdatePolicy(maturity_mode="mature", skip_tags=["1.0", "2.0"])
    assert found.declarative.env == UpdatePolicy(maturity_mode="all", maturity_min_age_days=3)
    assert "400" in found.warnings[0]
    assert settings({}).declarative is None


def test_groups_and_lists() -> None:
    assert labels.group_of({compose_labels.PROJECT: "shop", labels.GROUP: " "}) == "shop"
    assert labels.group_of({compose_labels.STACK: "s"}) == "s"
    assert labels.group_of({}) is None
    assert labels.csv(" a, b,a,, ") == ["a", "b"]
    assert labels.shown({labels.UPDATE_OPERATION: "x", "a": "b"}) == {"a": "b"}
    assert [labels.positive_int(text, 9) for text in ("5", "0", "-1", "x", None)] == [5, 9, 9, 9, 9]


@given(st.dictionaries(st.sampled_from([labels.WATCH, labels.TAG_FAMILY, labels.MATURITY_MIN_AGE_DAYS]), st.text()))
def test_reading_never_raises(found: dict[str, str]) -> None:
    settings(found)
