"""The configuration schema: values, sources, and what is said about wrong ones (platform.md §1, watching.md §1.1)."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import drydock
from drydock.api.settings import ServerSettings
from drydock.app.settings import SCHEMA
from drydock.config.load import Settings, known_variables, load
from drydock.config.reference import reference
from drydock.config.schema import section_of, spellings
from drydock.config.source import Source
from drydock.core.secret import Secret
from drydock.fleet.settings import FleetSettings
from drydock.hosts.settings import WatcherSettings
from drydock.metrics.settings import MetricsAccessSettings


def settings(**environ: str) -> Settings:
    loaded = load(environ, SCHEMA)
    assert loaded.settings is not None, [str(p) for p in loaded.problems]
    return loaded.settings


def messages(**environ: str) -> list[str]:
    return [str(problem) for problem in load(environ, SCHEMA).problems]


def test_defaults_give_one_local_watcher() -> None:
    found = settings()
    assert [w.name for w in found.all(WatcherSettings)] == ["local"]
    assert found.all(WatcherSettings)[0].socket == "/var/run/docker.sock"
    assert found[ServerSettings].port == 3000
    assert found.problems == ()


def test_local_watcher_can_be_switched_off() -> None:
    assert settings(DD_LOCAL_WATCHER=" False ").all(WatcherSettings) == ()


def test_a_configured_watcher_replaces_the_implicit_one() -> None:
    found = settings(DD_WATCHER_NAS_HOST="nas.lan", dd_watcher_nas_port="2376")
    assert [(w.name, w.host, w.port) for w in found.all(WatcherSettings)] == [("nas", "nas.lan", 2376)]


@pytest.mark.parametrize("key", ["MAINTENANCE_WINDOW_TZ", "MAINTENANCEWINDOWTZ"])
def test_both_spellings_of_keys_with_underscore(key: str) -> None:
    assert (
        settings(**{f"DD_WATCHER_A_{key}": "Europe/Berlin"}).all(WatcherSettings)[0].maintenance_window_tz
        == "Europe/Berlin"
    )


def test_the_underscored_spelling_wins() -> None:
    found = settings(DD_WATCHER_A_MATURITY_MODE="mature", DD_WATCHER_A_MATURITYMODE="all")
    assert found.all(WatcherSettings)[0].maturity_mode == "mature"


def test_wrong_value_names_variable_value_and_rule() -> None:
    assert messages(DD_SERVER_PORT="70000") == [
        "DD_SERVER_PORT: '70000' is not allowed, must be a whole number from 0 to 65535"
    ]
    assert load({"DD_SERVER_PORT": "70000"}, SCHEMA).settings is None


def test_all_errors_are_reported_together() -> None:
    assert len(messages(DD_SERVER_PORT="x", DD_SERVER_ENABLED="y", DD_LOG_LEVEL="z")) == 3


def test_a_wrong_secret_is_never_shown() -> None:
    (message,) = messages(DD_SERVER_METRICS_TOKEN="hunter2")
    assert "hunter2" not in message
    assert "DD_SERVER_METRICS_TOKEN" in message


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "abc", ""])
def test_lenient_options_fall_back_to_their_default(value: str) -> None:
    loaded = load({"DD_UI_MATURITY_THRESHOLD_DAYS": value}, SCHEMA)
    assert loaded.settings is not None
    assert loaded.settings[FleetSettings].maturity_threshold_days == 7
    assert len(loaded.problems) == 1


def test_a_mistyped_watcher_key_names_the_nearest_one_and_spares_the_others() -> None:
    found = settings(DD_WATCHER_LOCAL_CRN="* * * * *", DD_WATCHER_OTHER_CRON="0 * * * *")
    assert [w.name for w in found.all(WatcherSettings)] == ["other"]
    assert any("did you mean DD_WATCHER_LOCAL_CRON?" in str(p) for p in found.problems)


def test_a_watcher_name_with_underscore_is_rejected_with_the_reason() -> None:
    found = settings(DD_WATCHER_MY_HOST_SOCKET="/x")
    assert found.all(WatcherSettings) == ()
    assert "one word without underscore" in str(found.problems[0])


def test_a_bad_cron_rejects_that_watcher_only() -> None:
    found = settings(DD_WATCHER_A_CRON="* * 31 2 *", DD_WATCHER_B_CRON="@daily")
    assert [w.name for w in found.all(WatcherSettings)] == ["b"]


def test_mistyped_plain_variable_is_warned_about() -> None:
    assert messages(DD_SERVER_TRUST_PROXY="1") == [
        "DD_SERVER_TRUST_PROXY: unknown variable; did you mean DD_SERVER_TRUSTPROXY?"
    ]


def test_secret_file_wins_and_is_stripped(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("  sixteen-characters-long \n\n")
    file.chmod(0o600)
    found = settings(DD_SERVER_METRICS_TOKEN__FILE=str(file), DD_SERVER_METRICS_TOKEN="x" * 20)
    assert found[MetricsAccessSettings].metrics_token == Secret("  sixteen-characters-long")
    assert found.problems == ()


def test_secret_file_that_others_can_read_is_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("sixteen-characters-long")
    file.chmod(0o644)
    assert "0600" in str(settings(DD_SERVER_METRICS_TOKEN__FILE=str(file)).problems[0])


@pytest.mark.parametrize("kind", ["missing", "folder", "large", "binary"])
def test_unusable_secret_file_stops_the_start(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "token"
    if kind == "folder":
        file.mkdir()
    elif kind == "large":
        file.write_bytes(b"x" * (1024 * 1024 + 1))
    elif kind == "binary":
        file.write_bytes(b"\xff\xfe\x00")
    loaded = load({"DD_SERVER_NAME__FILE": str(file)}, SCHEMA)
    assert loaded.settings is None
    assert loaded.problems[0].variable == "DD_SERVER_NAME__FILE"


def test_yaml_is_a_second_source(tmp_path: Path) -> None:
    file = tmp_path / "drydock.yml"
    file.write_text("server:\n  port: 3001\n  ui_enabled: false\nwatcher:\n  nas:\n    host: nas.lan\n")
    found = settings(DD_CONFIG_FILE=str(file), DD_SERVER_PORT="3002")
    assert (found[ServerSettings].port, found[ServerSettings].ui, found.all(WatcherSettings)[0].host) == (
        3002,
        False,
        "nas.lan",
    )
    origins = {line.variable: line.origin for line in found.effective}
    assert origins["DD_SERVER_PORT"] == "environment"
    assert origins["DD_SERVER_UI_ENABLED"] == "yaml"
    assert origins["DD_SERVER_HOST"] == "default"


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [unclosed", "just text"])
def test_unusable_yaml_stops_the_start(tmp_path: Path, text: str) -> None:
    file = tmp_path / "drydock.yml"
    file.write_text(text)
    assert load({"DD_CONFIG_FILE": str(file)}, SCHEMA).settings is None


def test_image_sets() -> None:
    found = settings(
        DD_WATCHER_A_IMGSET_PG_IMAGE="postgres",
        DD_WATCHER_A_IMGSET_PG_TAG_INCLUDE=r"^\d+$",
        DD_WATCHER_A_IMGSET_PG_INCLUDE="ignored",
    )
    (image_set,) = found.all(WatcherSettings)[0].image_sets
    assert (image_set.name, image_set.image, image_set.tag_include) == ("pg", "postgres", r"^\d+$")


@pytest.mark.parametrize("key", ["IMGSET_PG_INCLUDE", "IMGSET_PG_COLOUR"])
def test_wrong_image_set_rejects_its_watcher(key: str) -> None:
    assert settings(**{f"DD_WATCHER_A_{key}": "x"}).all(WatcherSettings) == ()


def test_tls_needs_both_files() -> None:
    assert load({"DD_SERVER_TLS_ENABLED": "true"}, SCHEMA).settings is None


def test_old_names_are_reported() -> None:
    assert "WUD_X" in messages(WUD_X="1")[0]


def test_reference_names_every_variable_and_is_the_committed_file() -> None:
    text = reference(SCHEMA)
    assert "`DD_WATCHER_<NAME>_CRON`" in text
    committed = Path(__file__).parents[3] / "docs" / "configuration.md"
    assert committed.read_text() == text, "run `make docs`"


def test_environment_is_only_read_by_the_config_room() -> None:
    source = Path(__file__).parents[3] / "src" / "drydock"
    allowed = {"config", "cli"}
    offenders = [
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if path.relative_to(source).parts[0] not in allowed and re.search(r"os\.environ|os\.getenv", path.read_text())
    ]
    assert offenders == []


def _declared_sections() -> set[type[Any]]:
    """Every class of the product that is made with `@section`, found by importing what holds some."""
    root = Path(drydock.__file__).parent
    found: set[type[Any]] = set()
    for path in root.rglob("*.py"):
        if "@section(" in path.read_text() and path.name != "schema.py":
            module = import_module(".".join(("drydock", *path.relative_to(root).with_suffix("").parts)))
            found |= {one for one in vars(module).values() if isinstance(one, type) and "__section__" in vars(one)}
    return found


def test_every_section_is_in_the_schema() -> None:
    listed = SCHEMA.all_sections()
    assert len(listed) == len(set(listed))
    missing = {one for one in _declared_sections() if not any(issubclass(other, one) for other in listed)}
    assert missing == set()


def test_no_variable_is_declared_twice() -> None:
    declared: dict[str, str] = {}
    for cls in SCHEMA.all_sections():
        for suffix, field, _ in spellings(section_of(cls)):
            variable = section_of(cls).prefix + ("<NAME>_" if section_of(cls).family else "") + suffix
            assert variable not in declared, f"{variable}: {declared[variable]} and {cls.__name__}.{field}"
            declared[variable] = f"{cls.__name__}.{field}"


def test_sections_and_families_do_not_claim_the_same_variables() -> None:
    source = dict.fromkeys(known_variables(SCHEMA), "true")
    for family in SCHEMA.families:
        assert family.read(Source(source), known_variables(SCHEMA)).used == set()
