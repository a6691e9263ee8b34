"""From variables to triggers: prefixes, sharing, problems that name the variable (notifications.md §1, §2)."""

from __future__ import annotations

from typing import Any, cast

import pytest

from drydock.app.settings import SCHEMA
from drydock.config.kinds import without_credentials
from drydock.config.load import Settings, load
from drydock.core.secret import Secret
from drydock.notify.catalog import strict
from drydock.notify.model import Tools, Trigger
from drydock.notify.providers import PROVIDERS
from drydock.updates.actions import Action

TOOLS = cast(Tools, type("NoTools", (), {"environ": {}})())


def read(values: dict[str, str]) -> Settings:
    loaded = load(values, SCHEMA)
    assert loaded.settings is not None
    return loaded.settings


def opened(settings: Settings) -> dict[str, Trigger]:
    found = [one.trigger(made, TOOLS) for one in PROVIDERS for made in settings.components(one.options)]
    return {one.id: one for one in found}


def triggers(**values: str) -> dict[str, Trigger]:
    settings = read(values)
    assert [str(one) for one in settings.problems] == []
    return opened(settings)


def problems(**values: str) -> list[str]:
    return [str(one) for one in read(values).problems]


def options(settings: Settings, id: str, *names: str) -> tuple[object, ...]:
    """Values of a trigger, of its provider or common ones."""
    one = opened(settings)[id]
    return tuple(getattr(one.settings if hasattr(one.settings, name) else one.options, name) for name in names)


def test_a_trigger_needs_type_name_and_key() -> None:
    one = triggers(DD_NOTIFICATION_NTFY_ONE_TOPIC="t", DD_NOTIFICATION_NTFY_ONE_AUTH_TOKEN="x")["ntfy.one"]
    assert (one.type, one.name, one.category, one.auto) == ("ntfy", "one", "notification", "all")
    assert one.settings.auth_token == Secret("x")


def test_the_command_is_an_action_under_any_prefix() -> None:
    one = triggers(DD_NOTIFICATION_COMMAND_X_CMD="true")["command.x"]
    assert (one.category, one.auto) == ("action", "oninclude")


def test_prefixes_are_merged_key_by_key_and_notification_wins() -> None:
    values = {
        "DD_NOTIFICATION_NTFY_A_TOPIC": "n",
        "DD_ACTION_NTFY_A_TOPIC": "a",
        "DD_ACTION_NTFY_A_PRIORITY": "2",
        "DD_TRIGGER_NTFY_A_PRIORITY": "1",
        "DD_TRIGGER_NTFY_A_ONCE": "false",
    }
    found = read(values)
    assert options(found, "ntfy.a", "topic", "priority", "once") == ("n", 2, False)
    assert found.former == ("DD_TRIGGER_NTFY_A_ONCE", "DD_TRIGGER_NTFY_A_PRIORITY")
    assert str(found.problems[0]) == "DD_TRIGGER_NTFY_A_ONCE: is an old name; use DD_NOTIFICATION_NTFY_A_ONCE"


def test_old_names_of_actions_become_actions() -> None:
    found = read({"DD_TRIGGER_DOCKER_LOCAL_PRUNE": "true", "DD_NOTIFICATION_DOCKER_LOCAL_ONCE": "false"})
    assert [(one.id, one.settings.prune, one.settings.once) for one in found.components(Action)] == [
        ("docker.local", True, False)
    ]
    assert "use DD_ACTION_DOCKER_LOCAL_PRUNE" in str(found.problems[0])


def test_defaults_of_types_groups_and_names() -> None:
    values = {
        "DD_NOTIFICATION_NTFY_THRESHOLD": "minor",
        "DD_NOTIFICATION_OPS_MODE": "batch",
        "DD_NOTIFICATION_NTFY_OPS_TOPIC": "t",
        "DD_NOTIFICATION_HTTP_OPS_URL": "http://h",
        "DD_NOTIFICATION_HTTP_OPS_ORDER": "5",
        "DD_NOTIFICATION_NTFY_OTHER_THRESHOLD": "patch",
    }
    values["DD_NOTIFICATION_NTFY_OTHER_TOPIC"] = "t"
    found = read(values)
    assert found.problems == ()
    assert options(found, "ntfy.ops", "topic", "threshold", "mode", "order") == ("t", "minor", "batch", 5)
    assert options(found, "http.ops", "url", "threshold", "mode", "order") == ("http://h", "minor", "batch", 5)
    assert options(found, "ntfy.other", "threshold", "mode", "order") == ("patch", "simple", 100)


def test_two_values_under_one_name_are_not_shared() -> None:
    values = {
        "DD_NOTIFICATION_NTFY_A_ONCE": "false",
        "DD_NOTIFICATION_HTTP_A_ONCE": "true",
        "DD_NOTIFICATION_HTTP_A_URL": "http://h",
        "DD_NOTIFICATION_MOCK_A_ORDER": "1",
    }
    assert options(read(values), "mock.a", "once") == (True,)
    values["DD_NOTIFICATION_HTTP_A_ONCE"] = "false"
    assert options(read(values), "mock.a", "once") == (False,)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "DD_NOTIFICATION_NTFY_ONE_TOPICS",
            "x",
            'DD_NOTIFICATION_NTFY_ONE_TOPICS: "topics" is not allowed; did you mean DD_NOTIFICATION_NTFY_ONE_TOPIC? '
            "– trigger ntfy.one is not registered",
        ),
        (
            "DD_ACTION_NTFY_ONE_MODE",
            "loud",
            "DD_ACTION_NTFY_ONE_MODE: 'loud' is not allowed, must be one of simple, batch, digest, batch+digest "
            "– trigger ntfy.one is not registered",
        ),
        (
            "DD_NOTIFICATION_NTFY_ONE_AUTH_USER",
            "ann",
            'DD_NOTIFICATION_NTFY_ONE_*: "auth.password" is required – trigger ntfy.one is not registered',
        ),
        (
            "DD_NOTIFICATION_HTTP_ONE_AUTH_TYPE",
            "bearer",
            'DD_NOTIFICATION_HTTP_ONE_*: "auth.bearer" is required – trigger http.one is not registered',
        ),
        ("DD_NOTIFICATION_NTFY_TOPIC", "x", "DD_NOTIFICATION_NTFY_TOPIC: names no trigger; write DD_NOTIFICATION_NTFY_<NAME>_TOPIC"),
        (
            "DD_NOTIFICATION_NTYF_ONE_TOPIC",
            "x",
            "DD_NOTIFICATION_NTYF_ONE_TOPIC: unknown trigger type 'ntyf'; did you mean ntfy? available: "
            "command, docker, dockercompose, http, ntfy",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_the_variable(variable: str, value: str, message: str) -> None:
    values = {"DD_NOTIFICATION_NTFY_ONE_TOPIC": "t", "DD_NOTIFICATION_HTTP_ONE_URL": "http://h", variable: value}
    assert message in problems(**values)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("PRIORITY", "6"),
        ("PRIORITY", "high"),
        ("URL", "ftp://x"),
        ("URL", "ntfy.sh"),
        ("TOPIC", ""),
        ("AUTO", "sometimes"),
        ("THRESHOLD", "huge"),
        ("ONCE", "1"),
        ("ORDER", "first"),
        ("DIGESTCRON", "at eight"),
        ("SIMPLETITLE", " "),
        ("AUTH_TOKEN", ""),
    ],
)
def test_a_wrong_value_leaves_only_this_trigger_out(key: str, value: str) -> None:
    values = {
        "DD_NOTIFICATION_NTFY_ONE_TOPIC": "t",
        "DD_NOTIFICATION_NTFY_TWO_TOPIC": "t",
        f"DD_NOTIFICATION_NTFY_ONE_{key}": value,
    }
    found = read(values)
    assert list(opened(found)) == ["ntfy.two"]
    assert found.problems[0].variable == f"DD_NOTIFICATION_NTFY_ONE_{key}"
    assert [one.component and one.component.id for one in found.left_out("trigger")] == ["ntfy.one"]


def test_secrets_are_in_no_message() -> None:
    said = problems(
        DD_NOTIFICATION_NTFY_ONE_AUTH_PASSWORD="hunter2",
        DD_NOTIFICATION_NTFY_ONE_TOKEN="hunter2",
        DD_NOTIFICATION_HTTP_ONE_URL="ftp://ann:hunter2@host",
    )
    assert len(said) == 4
    assert "hunter2" not in " ".join(said)


def test_a_missing_topic_is_a_warning() -> None:
    found = read({"DD_NOTIFICATION_NTFY_ONE_PRIORITY": "3"})
    assert list(opened(found)) == ["ntfy.one"]
    assert [one.text for one in found.problems] == ['"topic" is missing; the server will refuse messages']
    assert found.left_out("trigger") == ()


def test_switches_are_no_triggers() -> None:
    assert problems(DD_ACTION_LABELS_STRICT="true") == []


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("https://ntfy.sh", "https://ntfy.sh"),
        ("http://host:8080/path/x", "http://host:8080/path/x"),
        ("https://user:pw@host/a?token=x&b=#frag", "https://[REDACTED]@host/a?token=[REDACTED]&b=[REDACTED]"),
        ("https://user@host", "https://[REDACTED]@host"),
    ],
)
def test_addresses_stay_readable(url: str, masked: str) -> None:
    assert without_credentials(url) == masked


def test_configuration_is_a_copy() -> None:
    one = triggers(DD_NOTIFICATION_NTFY_ONE_TOPIC="t")["ntfy.one"]
    shown: dict[str, Any] = one.configuration()
    shown["topic"] = "changed"
    assert one.configuration()["topic"] == "t"


def test_the_strict_mask_hides_where_messages_go() -> None:
    given = {"url": "http://x", "auth": {"user": "a", "type": "BASIC"}, "urls": ["a", "b"], "token": None, "cmd": ""}
    assert strict(given) == {
        "url": "[REDACTED]",
        "auth": {"user": "[REDACTED]", "type": "BASIC"},
        "urls": ["[REDACTED]", "[REDACTED]"],
        "token": None,
        "cmd": "",
    }
