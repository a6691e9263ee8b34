"""What a command is told, and what a shell could not misread (notifications.md §12.18, §13.2)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drydock.notify.model import Message
from drydock.notify.providers.command import (
    LONGEST_VALUE,
    clean,
    container_json,
    flatten,
    snake_case,
    variables,
)

WEB: dict[str, Any] = {
    "id": "c1",
    "name": "web",
    "image": {"tag": {"value": "1.0"}},
    "labels": {"dd.display.name": "W"},
}


def message(*containers: dict[str, Any], batch: bool = False, digest_kind: str | None = None) -> Message:
    return Message(
        rule="update-available", title="t", body="b", containers=containers, batch=batch, digest_kind=digest_kind
    )


@pytest.mark.parametrize(
    ("name", "snake"),
    [
        ("localValue", "local_value"),
        ("HTTPServer", "http_server"),
        ("dd.display.name", "dd_display_name"),
        ("sha256", "sha256"),
        ("v2Tag", "v2_tag"),
        ("already_snake", "already_snake"),
        ("UPPER", "upper"),
    ],
)
def test_names(name: str, snake: str) -> None:
    assert snake_case(name) == snake


def test_flat_documents() -> None:
    document = {"a": {"bC": [1, {"d": None}], "e": {}, "f": []}, "result": {"changed": True}}
    assert flatten(document) == {"a_b_c_0": 1, "a_b_c_1_d": None, "a_e": {}, "a_f": []}


def test_one_container() -> None:
    found = variables(message(WEB))
    assert (found["name"], found["image_tag_value"], found["labels_dd_display_name"]) == ("web", "1.0", "W")
    assert json.loads(found["container_json"]) == WEB


def test_several_containers_and_digests() -> None:
    assert list(variables(message(WEB, WEB, batch=True))) == ["containers_json"]
    found = variables(message({"name": "web", "critical": 1}, digest_kind="security-alert-digest"))
    assert (found["dd_title"], found["dd_body"], found["dd_event_kind"]) == ("t", "b", "security-alert-digest")


def test_a_large_container_loses_findings_then_labels() -> None:
    findings = {**WEB, "security": {"scan": ["x" * LONGEST_VALUE]}}
    assert json.loads(container_json(findings)) == WEB
    labels = {**WEB, "labels": {"l": "x" * LONGEST_VALUE}}
    assert "labels" not in json.loads(container_json(labels))
    assert json.loads(container_json({**WEB, "name": "web", "details": "x" * LONGEST_VALUE}))["name"] == "web"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "true"), (1.5, "1.5"), ("$(rm -rf /)`;&|<>\n", "__rm -rf /________"), ({"a": 1}, '{"a":1}')],
)
def test_values(value: Any, text: str) -> None:
    assert clean(value) == text


@given(st.text())
def test_no_value_holds_what_a_shell_acts_upon(text: str) -> None:
    assert not set(clean(text)) & set("`$;&|<>()\0\n\x7f")
