"""What messages say for each rule, place and kind of update (notifications.md §8.2–8.4)."""

from __future__ import annotations

from typing import Any

import pytest

from drydock.notify.model import Message, Rule
from drydock.notify.options import SIMPLE_BODY, SIMPLE_TITLE, CommonOptions
from drydock.notify.texts import Place, batch, simple, variables

HERE = Place("nas")
TAG = {"kind": "tag", "localValue": "1.0", "remoteValue": "1.1", "semverDiff": "minor"}
WEB: dict[str, Any] = {
    "id": "c1",
    "name": "web",
    "watcher": "local",
    "image": {"tag": {"value": "1.0"}},
    "updateKind": TAG,
}
DIGEST = {**WEB, "updateKind": {"kind": "digest", "localValue": "sha256:a", "remoteValue": "sha256:b"}}


def said(rule: Rule, place: Place = HERE, document: dict[str, Any] = WEB, **event: Any) -> tuple[str | None, str]:
    made = simple(rule, {**document, "notificationEvent": event} if event else document, CommonOptions(), place)
    return made.title, made.body


@pytest.mark.parametrize(
    ("document", "place", "title", "body"),
    [
        (WEB, HERE, "New tag found for container web", "Container web running with tag 1.0 can be updated to tag 1.1"),
        (
            {**WEB, "result": {"link": "http://n"}},
            HERE,
            "New tag found for container web",
            "Container web running with tag 1.0 can be updated to tag 1.1\nhttp://n",
        ),
        (
            DIGEST,
            HERE,
            "New image available for container web (tag 1.0)",
            "Container web running tag 1.0 has a newer image available",
        ),
        (
            {**WEB, "agent": "edge", "watcher": "remote"},
            HERE,
            "[edge] New tag found for container web (remote)",
            "[edge] Container web (remote) running with tag 1.0 can be updated to tag 1.1",
        ),
        ({**WEB, "watcher": "NAS"}, HERE, "New tag found for container web (NAS)", None),
        ({**WEB, "watcher": "NAS"}, Place("nas", agents=True), "[nas] New tag found for container web", None),
        ({"name": "x"}, HERE, "New unknown found for container x", None),
    ],
)
def test_found_updates(document: dict[str, Any], place: Place, title: str, body: str | None) -> None:
    made = said("update-available", place, document)
    assert made[0] == title
    assert body is None or made[1] == body


@pytest.mark.parametrize(
    ("rule", "event", "title", "body"),
    [
        ("update-applied", {}, "Container web updated successfully", "Container web updated successfully"),
        ("update-failed", {"error": "gone"}, "Container web update failed", "Container web update failed: gone"),
        (
            "security-alert",
            {"details": "critical=1", "blockingCount": 2},
            "Security alert for container web",
            "Security alert for container web (2 blocking vulnerabilities)\ncritical=1",
        ),
        (
            "agent-disconnect",
            {"agentName": "edge", "reason": "eof"},
            "Agent edge disconnected",
            "Agent edge disconnected: eof",
        ),
        ("agent-reconnect", {"agentName": "edge"}, "Agent edge reconnected", "Agent edge reconnected"),
        (
            "container-unhealthy",
            {"previousHealth": "healthy"},
            "Container web is unhealthy",
            "Container web has entered the unhealthy state (was healthy)",
        ),
        (
            "maturity-cleared",
            {"minAgeDays": 7},
            "Update ready for container web",
            "Container web can now be updated to 1.1: the maturity period has passed (7 day minimum)",
        ),
    ],
)
def test_other_rules(rule: Rule, event: dict[str, Any], title: str, body: str) -> None:
    assert said(rule, **event) == (title, body)


def test_templates_are_for_found_updates_only() -> None:
    options = CommonOptions(
        simpletitle="T ${name}", simplebody="B ${container.notificationServerName}", batchtitle="${count}"
    )
    made = simple("update-available", WEB, options, HERE)
    assert (made.title, made.body) == ("T web", "B nas")
    made = batch("update-available", [WEB, DIGEST], options, HERE)
    assert (made.title, made.body) == ("2", "- B nas\n\n- B nas\n")
    assert simple("update-applied", WEB, options, HERE).title == "Container web updated successfully"
    assert batch("update-applied", [WEB], options, HERE).title == "1 updates applied"


def test_the_default_templates_say_the_same_as_the_built_in_texts_for_a_local_tag() -> None:
    """What the API shows as the default is what is sent (§8.4)."""
    document = {**WEB, "result": {"link": "http://n"}}
    changed = CommonOptions(simpletitle=SIMPLE_TITLE + "${missing}", simplebody=SIMPLE_BODY + "${missing}")
    one, other = (simple("update-available", document, options, HERE) for options in (CommonOptions(), changed))
    assert (one.title, one.body) == (other.title, other.body)


def test_a_title_can_be_left_out() -> None:
    options = CommonOptions(disabletitle=True)
    made: list[Message] = [
        simple("update-available", WEB, options, HERE),
        batch("update-available", [WEB], options, HERE),
    ]
    assert [one.title for one in made] == [None, None]


def test_release_notes_are_cut() -> None:
    notes = {"title": "t", "body": "x" * 501}
    found = variables({**WEB, "result": {"releaseNotes": notes}, "currentReleaseNotes": notes}, HERE)
    assert found["releaseNotes"]["body"] == found["currentReleaseNotes"]["body"] == "x" * 500 + "…"
    assert found["container"]["result"]["releaseNotes"]["body"] == "x" * 500 + "…"
    assert notes["body"] == "x" * 501


def test_the_suggested_tag_wins() -> None:
    assert variables({**WEB, "result": {"tag": "2", "suggestedTag": "1.1"}}, HERE)["suggestedTag"] == "1.1"
    assert variables({**WEB, "result": {"tag": "2"}}, HERE)["suggestedTag"] == "2"
    assert variables(WEB, HERE)["suggestedTag"] == ""
