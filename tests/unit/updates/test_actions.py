"""Actions from variables (updates.md §1), and the spelling of what they install (§5.1)."""

from __future__ import annotations

import pytest

from drydock.core.operation import ImageWanted
from drydock.updates.actions import register
from drydock.updates.targets import spelled


def test_both_kinds_with_their_options() -> None:
    actions, problems = register(
        {
            "DD_ACTION_DOCKER_LOCAL_PRUNE": "true",
            "DD_ACTION_DOCKER_LOCAL_BACKUPCOUNT": "5",
            "DD_ACTION_DOCKERCOMPOSE_STACK_FILE": "/stack",
            "DD_ACTION_DOCKERCOMPOSE_STACK_RECONCILIATIONMODE": "Block",
            "DD_ACTION_COMMAND_X_CMD": "not ours",
        },
    )
    assert problems == []
    assert [action.id for action in actions] == ["docker.local", "dockercompose.stack"]
    local, stack = actions
    assert (local.prune, local.backup_count, local.auto, local.mode) == (True, 5, "oninclude", "simple")
    assert (stack.mode, stack.reconciliation_mode) == ("batch", "block")
    assert local.configuration()["backupcount"] == 5
    assert "file" not in local.configuration()


def test_old_names_work_with_a_word_and_lose_against_new_ones() -> None:
    actions, problems = register(
        {"DD_TRIGGER_DOCKER_LOCAL_PRUNE": "true", "DD_ACTION_DOCKER_LOCAL_PRUNE": "false"},
    )
    assert actions[0].prune is False
    assert "DD_ACTION_DOCKER_LOCAL_PRUNE" in problems[0]


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("DD_ACTION_DOCKER_LOCAL_PRUNE", "maybe", "must be true or false"),
        ("DD_ACTION_DOCKER_LOCAL_BACKUPCOUNT", "-1", "must be a whole number"),
        ("DD_ACTION_DOCKER_LOCAL_AUTO", "often", "must be all, none"),
        ("DD_ACTION_DOCKER_LOCAL_THRESHOLD", "huge", "must be one of"),
        ("DD_ACTION_DOCKER_LOCAL_PRUNNE", "true", "did you mean PRUNE?"),
        ("DD_ACTION_DOCKER_LOCAL_FILE", "/x", "is not known"),
        ("DD_ACTION_DOCKER_PRUNE", "true", "names no action"),
    ],
)
def test_anything_wrong_leaves_the_action_out_and_says_why(variable: str, value: str, says: str) -> None:
    actions, problems = register({variable: value})
    assert actions == []
    assert variable in problems[0]
    assert says in problems[0]


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
