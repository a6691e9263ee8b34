"""The log as data, the masking of texts, and the debug dump's redaction (platform-api.md §4.6, §11)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drydock.core.scrub import printable, scrub
from drydock.diagnostics.dump import DebugDump, is_secret, redacted
from drydock.logs.server_log import KEPT, LogBuffer, Wanted
from kit.clock import ManualClock


def buffer(level: str = "info") -> LogBuffer:
    return LogBuffer(ManualClock().now_ms, level)


def test_entries_have_the_shape_of_the_api() -> None:
    made = buffer()
    made.processor(
        None, "warning", {"event": "watch.failed", "component": "watcher.local", "reason": "no answer\x1b[31m"}
    )
    (entry,) = made.entries(Wanted())
    assert (entry.level, entry.component, entry.msg) == ("warn", "watcher.local", 'watch.failed reason="no answer"')
    assert entry.display_timestamp.startswith("[")


def test_filters_and_the_ring() -> None:
    made = buffer("debug")
    for number in range(KEPT + 5):
        made.add(None, "debug" if number % 2 else "error", {"event": f"e{number}", "component": f"c{number % 3}"})
    assert len(made.entries(Wanted(), None)) == KEPT
    assert all(entry.level == "error" for entry in made.entries(Wanted(level="warn"), None))
    assert {entry.component for entry in made.entries(Wanted(component="1"), None)} == {"c1"}
    assert [entry.msg for entry in made.entries(Wanted(), 2)] == [f"e{KEPT + 3}", f"e{KEPT + 4}"]
    assert made.entries(Wanted(), 0) == []
    assert made.components() == ["c0", "c1", "c2"]


def test_what_is_below_the_level_is_not_kept() -> None:
    made = buffer("warn")
    made.add(None, "info", {"event": "quiet"})
    assert made.entries(Wanted()) == []


SECRETS = [
    ("401 for Authorization: Bearer abc.def-ghi", "abc.def-ghi"),
    ("header authorization=Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    ("GET https://user:hunter2@registry.example/v2/", "hunter2"),
    ("GET https://x/cb?code=sekret&state=other123", "sekret"),
    ("refresh_token=abcdef;", "abcdef"),
    ("key dd_aaaaaaaaaa_" + "s" * 43, "s" * 43),
]


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_secrets_are_cut_out_of_texts(text: str, secret: str) -> None:
    assert secret not in scrub(text)
    assert "***" in scrub(text)


@pytest.mark.parametrize("text", ["exit code=137", "state=running", "image nginx:1.2 pulled", "https://host/path"])
def test_harmless_texts_stay(text: str) -> None:
    assert scrub(text) == text


@given(st.text())
def test_printable_texts_are_one_line(text: str) -> None:
    assert all(ch.isprintable() for ch in printable(text))


@pytest.mark.parametrize(
    ("key", "hidden"),
    [
        ("password", True),
        ("dbPassword", True),
        ("clientsecret", True),
        ("DD_SERVER_WEBHOOK_REGISTRYTOKEN", True),
        ("clientSecret", True),
        ("api_key", True),
        ("apikey", True),
        ("DD_AUTH_BASIC_X_HASH", True),
        ("DD_PUBLIC_URL", True),
        ("publicUrl", False),
        ("identityKey", False),
        ("compass", False),
        ("keyboard", False),
    ],
)
def test_keys_are_judged_by_their_words(key: str, hidden: bool) -> None:
    assert is_secret(key) is hidden


def test_trees_are_redacted_and_keep_their_shape() -> None:
    tree = {
        "token": "",
        "passwords": None,
        "nested": [{"secret": {"a": 1}}, {"url": "https://u:p@h"}],
        "env": [{"key": "DB_PASSWORD", "value": "s3cret"}, {"key": "TZ", "value": "UTC"}],
    }
    assert redacted(tree) == {
        "token": "",
        "passwords": None,
        "nested": [{"secret": "[REDACTED]"}, {"url": "https://***@h"}],
        "env": [{"key": "DB_PASSWORD", "value": "***"}, {"key": "TZ", "value": "UTC"}],
    }


async def test_the_dump_is_pretty_and_redacted() -> None:
    async def section(since: int) -> dict[str, str]:
        return {"DD_METRICS_TOKEN": "canary", "since": str(since)}

    content = await DebugDump(ManualClock(), "1", {"environment": section}).build(30)
    assert content.endswith(b"}\n")
    assert b"canary" not in content
    document = json.loads(content)
    assert document["metadata"]["recentMinutes"] == 30
    assert content.decode().startswith('{\n  "metadata"')
