"""Hooks: what may run, with which environment, and what their failure means (updates.md §10)."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from drydock.clock import SystemClock
from drydock.core.operation import ImageWanted, Operation
from drydock.supervisor import Supervisor
from drydock.updates.execution.hooks import OUTPUT_LIMIT, HookFailed, Hooks, run
from drydock.updates.execution.reporting import OperationAudit
from drydock.updates.settings import HooksSettings

ROW = Operation(
    id="op",
    container_id="c" * 64,
    container_name="web$(x)",
    status="in-progress",
    phase="pulling",
    created_at=0,
    updated_at=0,
    watcher="local",
    from_version="1",
    to_version="2",
    wanted=ImageWanted(reference="ghcr.io/acme/app:2", tag="2"),
)
ENVIRON = {"PATH": "/usr/bin:/bin", "HOME": "/root", "DD_AUTH_BASIC_X_HASH": "secret", "AWS_SECRET": "secret"}


class Room:
    def __init__(self, *, enabled: bool = True, allowed: tuple[str, ...] | None = None) -> None:
        self.told: list[tuple[str, str | None]] = []
        self.hooks = Hooks(
            HooksSettings(enabled=enabled, allowed_commands=allowed),
            OperationAudit(self, Supervisor(SystemClock())),
            ENVIRON,
        )

    async def note(self, action: str, status: Any, *, details: str | None, **_: Any) -> None:
        self.told.append((action, details))

    async def pre(self, command: str, **labels: str) -> None:
        found = {"dd.hook.pre": command, **{f"dd.hook.{k}": v for k, v in labels.items()}}
        await self.hooks.pre(ROW, {"Config": {"Labels": found}})


async def test_a_hook_sees_the_update_and_no_secret(tmp_path: Path) -> None:
    out = tmp_path / "env"
    code = f"import os,json;json.dump(dict(os.environ),open({str(out)!r},'w'))"
    await Room().pre(f"{sys.executable} -c {shlex.quote(code)}")
    import json

    seen = json.loads(out.read_text())
    assert seen["DD_CONTAINER_NAME"] == "web__x_"
    assert (seen["DD_IMAGE_NAME"], seen["DD_IMAGE_TAG"]) == ("ghcr.io/acme/app", "2")
    assert (seen["DD_UPDATE_FROM"], seen["DD_UPDATE_TO"], seen["HOME"]) == ("1", "2", "/root")
    assert "secret" not in out.read_text()


async def test_a_failing_hook_stops_the_update_unless_told_otherwise() -> None:
    room = Room()
    with pytest.raises(HookFailed, match="Pre-update hook exited with code 1"):
        await room.pre("false")
    assert [action for action, _ in room.told] == ["hook-configured", "hook-pre-failed"]
    await room.pre("false", **{"pre.abort": "false"})


async def test_hooks_are_off_unless_switched_on() -> None:
    room = Room(enabled=False)
    await room.pre("false")
    assert room.told == []


@pytest.mark.parametrize(
    "command",
    ["a; b", "a && b", "a | b", "a > f", "$(a)", "`a`", "a\nb", "a &", 'echo "$(x)"', "a\x00b", "(a)", "a *"],
)
async def test_shell_syntax_is_refused(command: str) -> None:
    with pytest.raises(HookFailed, match="unsupported shell syntax"):
        await Room().pre(command)


@pytest.mark.parametrize(
    "command", ["true a-b:c/d@e,f=1", "true 'any; thing | here'", 'true "x $HOME ${HOME}"', "true $HOME"]
)
async def test_plain_commands_with_quotes_and_variables_run(command: str) -> None:
    await Room().pre(command)


async def test_the_allow_list_wants_the_exact_word() -> None:
    await Room(allowed=("true",)).pre("true x")
    with pytest.raises(HookFailed, match="DD_HOOKS_ALLOWED_COMMANDS"):
        await Room(allowed=("true",)).pre("/bin/true")


async def test_a_hanging_hook_is_ended_with_its_children() -> None:
    with pytest.raises(HookFailed, match="timed out after 200ms"):
        await Room().pre("sleep 60", timeout="200")


async def test_much_output_is_cut_and_stops_nothing() -> None:
    result = await run(f"{sys.executable} -c 'print(10**5 * \"x\")'", ENVIRON, 20)
    assert (result.exit_code, len(result.output)) == (0, OUTPUT_LIMIT)


async def test_a_missing_command_is_a_failure() -> None:
    with pytest.raises(HookFailed, match="127"):
        await Room().pre("no-such-command-here")
