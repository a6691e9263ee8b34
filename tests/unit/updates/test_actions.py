"""Actions from variables (updates.md §1), and the spelling of what they install (§5.1)."""

from __future__ import annotations

from pathlib import Path

import pytest

from drydock.app.settings import SCHEMA
from drydock.config.load import load
from drydock.core.operation import ImageWanted
from drydock.updates.actions import Action
from drydock.updates.target import spelled


def register(values: dict[str, str]) -> tuple[list[Action], list[str]]:
    """Actions, and what is wrong with the variables."""
    loaded = load(values, SCHEMA)
    assert loaded.settings is not None
    actions = [one.settings for one in loaded.settings.components(Action)]
    return actions, [str(one) for one in loaded.problems]


def test_both_kinds_with_their_options(tmp_path: Path) -> None:
    actions, problems = register(
        {
            "DD_ACTION_DOCKER_LOCAL_PRUNE": "true",
            "DD_ACTION_DOCKER_LOCAL_BACKUPCOUNT": "5",
            "DD_ACTION_DOCKERCOMPOSE_STACK_FILE": str(tmp_path),
            "DD_ACTION_DOCKERCOMPOSE_STACK_RECONCILIATIONMODE": "Block",
            "DD_ACTION_COMMAND_X_CMD": "not ours",
        },
    )
    assert problems == []
    assert [action.id for action in actions] == ["docker.local", "dockercompose.stack"]
    local, stack = actions
    assert (local.prune, local.backup_count, local.auto, local.mode) == (True, 5, "oninclude", "simple")
    assert (stack.configuration()["mode"], stack.reconciliation_mode) == ("batch", "block")
    assert (local.configuration()["backupcount"], local.configuration()["autoremovetimeout"]) == (5, 10_000)
    assert "file" not in local.configuration()


def test_old_names_work_with_a_word_and_lose_against_new_ones() -> None:
    actions, problems = register(
        {"DD_TRIGGER_DOCKER_LOCAL_PRUNE": "true", "DD_ACTION_DOCKER_LOCAL_PRUNE": "false"},
    )
    assert actions[0].prune is False
    assert "DD_ACTION_DOCKER_LOCAL_PRUNE" in problems[0]


def test_an_enumeration_set_to_empty_is_not_set() -> None:
    actions, problems = register(
        {
            "DD_ACTION_DOCKER_LOCAL_AUTO": "",
            "DD_ACTION_DOCKER_LOCAL_MODE": " ",
            "DD_ACTION_DOCKER_LOCAL_THRESHOLD": "",
            "DD_TRIGGER_DOCKER_LOCAL_THRESHOLD": "minor",
            "DD_ACTION_DOCKERCOMPOSE_STACK_RECONCILIATIONMODE": "",
            "DD_ACTION_DOCKERCOMPOSE_STACK_AUTO": "",
        },
    )
    local, stack = actions
    assert (local.auto, local.mode, local.threshold) == ("oninclude", "simple", "minor")
    assert (stack.auto, stack.reconciliation_mode) == ("oninclude", "warn")
    assert [text for text in problems if "old name" not in text] == []


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("DD_ACTION_DOCKER_LOCAL_PRUNE", "maybe", "must be true or false"),
        ("DD_ACTION_DOCKER_LOCAL_BACKUPCOUNT", "-1", "must be a whole number"),
        ("DD_ACTION_DOCKER_LOCAL_AUTO", "often", "must be true, false, all"),
        ("DD_ACTION_DOCKER_LOCAL_THRESHOLD", "huge", "must be one of"),
        ("DD_ACTION_DOCKER_LOCAL_PRUNNE", "true", "did you mean DD_ACTION_DOCKER_LOCAL_PRUNE?"),
        ("DD_ACTION_DOCKER_LOCAL_FILE", "/x", '"file" is not allowed'),
        ("DD_ACTION_DOCKER_PRUNE", "true", "names no trigger; write DD_ACTION_DOCKER_<NAME>_PRUNE"),
    ],
)
def test_anything_wrong_leaves_the_action_out_and_says_why(variable: str, value: str, says: str) -> None:
    actions, problems = register({variable: value})
    assert actions == []
    assert variable in problems[0]
    assert says in problems[0]


def test_an_action_without_its_file_is_not_registered(tmp_path: Path) -> None:
    actions, problems = register({"DD_ACTION_DOCKERCOMPOSE_X_FILE": str(tmp_path / "gone.yaml")})
    assert (actions, problems) == (
        [],
        [
            f"DD_ACTION_DOCKERCOMPOSE_X_FILE: {tmp_path}/gone.yaml does not exist – trigger dockercompose.x is not registered"
        ],
    )
    assert len(register({"DD_ACTION_DOCKERCOMPOSE_X_FILE": str(tmp_path)})[0]) == 1


@pytest.mark.parametrize(
    ("current", "expected"),
    [
        ("nginx:1.25", "nginx:1.27"),
        ("docker.io/library/nginx:1.25", "docker.io/library/nginx:1.27"),
        ("library/nginx", "library/nginx:1.27"),
        ("nginx:1.25@sha256:" + "a" * 64, "nginx:1.27"),
        ("nginx@sha256:" + "a" * 64, "nginx@sha256:" + "b" * 64),
        ("sha256:" + "a" * 64, "nginx:1.27"),
        ("ghcr.io/other/thing:1", "nginx:1.27"),
    ],
)
def test_the_spelling_of_the_reference_stays(current: str, expected: str) -> None:
    wanted = ImageWanted(reference="nginx:1.27", tag="1.27", digest="sha256:" + "b" * 64)
    assert spelled(wanted, current) == expected
