"""Commands from labels, run in this process's container before and after an update (updates.md §10).

The grammar is checked right before running: one command with arguments, quotes and `$VAR`, nothing that starts a second
command. The environment of the command is small: no secret of Drydock's own gets into it.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
from collections.abc import Mapping
from typing import Any

import msgspec
import structlog

from drydock.core.labels import HOOK_POST, HOOK_PRE, HOOK_PRE_ABORT, HOOK_TIMEOUT
from drydock.core.operation import Operation
from drydock.core.reference import split
from drydock.core.update import update_kind
from drydock.updates.execution.reporting import OperationAudit
from drydock.updates.plan.effects import StepFailed
from drydock.updates.settings import HooksSettings

log = structlog.get_logger("updates.hooks")

OUTPUT_LIMIT = 10 * 1024
DEFAULT_TIMEOUT_S = 60.0
KILL_AFTER_S = 5.0

_PASSED_ON = re.compile(
    r"HOME|LANG|LANGUAGE|LC_.*|LOGNAME|PATH|PWD|SHELL|TEMP|TERM|TMP|TMPDIR|TZ|USER|DOCKER_HOST",
)
_UNSAFE = re.compile(r"[\x00-\x1f\x7f`$;&|<>()]")
_WORD = r"""(?:[A-Za-z0-9_./:@%+=,-]|'[^'\n]*'|"(?:[^"\\`\n$]|\\.|\$\{?[A-Za-z_][A-Za-z0-9_]*\}?)*"|\$[A-Za-z_][A-Za-z0-9_]*|\$\{[A-Za-z_][A-Za-z0-9_]*\})+"""
_COMMAND = re.compile(rf"[ \t]*{_WORD}(?:[ \t]+{_WORD})*[ \t]*")


class HookFailed(StepFailed):
    """The pre-update hook failed, and its container wants no update then."""

    code = "hook-failed"


class HookResult(msgspec.Struct, frozen=True):
    """How a command ended. `timed_out` counts as failure whatever the exit code."""

    exit_code: int
    output: str
    timed_out: bool = False


class Hooks:
    """Runs pre- and post-update hooks."""

    def __init__(self, settings: HooksSettings, audit: OperationAudit, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._audit = audit
        self._environ = environ
        if settings.enabled and settings.allowed_commands is None:
            log.warning("hooks.every_command_allowed", hint="Set DD_HOOKS_ALLOWED_COMMANDS to restrict them")

    async def pre(self, operation: Operation, container: Mapping[str, Any]) -> None:
        """Run `dd.hook.pre` of a container's document; raises `HookFailed` unless `dd.hook.pre.abort=false`.

        For updates only: not for rollbacks, dry runs or dependents, and never again in recovery.
        """
        if operation.kind != "container-update" or operation.by_helper:
            return
        if operation.source == "dependent" or operation.recovered_at:
            return
        labels: Mapping[str, str] = container["Config"].get("Labels") or {}
        failure = await self._run("pre", labels.get(HOOK_PRE, ""), operation, labels)
        if failure is not None and labels.get(HOOK_PRE_ABORT, "true").strip().lower() != "false":
            raise HookFailed(failure)

    async def post(self, operation: Operation) -> None:
        """Run `dd.hook.post`; a failure changes nothing."""
        labels = (operation.old_spec or {}).get("Config", {}).get("Labels") or {}
        await self._run("post", labels.get(HOOK_POST, ""), operation, labels)

    async def _run(self, which: str, command: str, operation: Operation, labels: Mapping[str, str]) -> str | None:
        """The text of a failure, or None."""
        if not command.strip():
            return None
        if not self._settings.enabled:
            log.info("hooks.disabled", operation=operation.id, hook=which)
            return None
        await self._audit.note(operation, "hook-configured", "info", f"{which}-update hook")
        failure, allowed = None, self._settings.allowed_commands
        if _COMMAND.fullmatch(command) is None:
            failure = "Hook command contains unsupported shell syntax: write one command with plain or quoted arguments"
        elif allowed is not None and (first := shlex.split(command)[0]) not in allowed:
            failure = f"Hook command {first} is not in DD_HOOKS_ALLOWED_COMMANDS"
        else:
            wanted = labels.get(HOOK_TIMEOUT, "").strip()
            seconds = int(wanted) / 1000 if wanted.isdecimal() and int(wanted) > 0 else DEFAULT_TIMEOUT_S
            result = await run(command, self._environment(operation), seconds)
            title = f"{which.capitalize()}-update hook"
            if result.timed_out:
                failure = f"{title} timed out after {round(seconds * 1000)}ms"
            elif result.exit_code:
                failure = f"{title} exited with code {result.exit_code}: {result.output.strip()}"
        if failure is None:
            await self._audit.note(operation, f"hook-{which}-success", "success")
        else:
            await self._audit.note(operation, f"hook-{which}-failed", "error", failure)
        return failure

    def _environment(self, operation: Operation) -> dict[str, str]:
        kept = {name: value for name, value in self._environ.items() if _PASSED_ON.fullmatch(name)}
        kind = update_kind(operation.container).kind if operation.container else "tag"
        image, tag, digest = split(operation.wanted.reference)
        facts = {
            "DD_CONTAINER_NAME": operation.container_name,
            "DD_CONTAINER_ID": operation.container_id,
            "DD_IMAGE_NAME": image or operation.wanted.reference,
            "DD_IMAGE_TAG": operation.wanted.tag or tag or digest or "",
            "DD_UPDATE_KIND": kind,
            "DD_UPDATE_FROM": operation.from_version or "",
            "DD_UPDATE_TO": operation.to_version or "",
        }
        return kept | {name: _UNSAFE.sub("_", value) for name, value in facts.items()}


async def run(command: str, environment: Mapping[str, str], seconds: float) -> HookResult:
    """Run one checked command in its own process group; through `/bin/sh` only when it uses a variable."""
    words = ["/bin/sh", "-c", command] if "$" in command else shlex.split(command)
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            env=dict(environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return HookResult(127, str(error))
    output = bytearray()
    reading = asyncio.ensure_future(_collect(process, output))
    try:
        await asyncio.wait_for(process.wait(), seconds)
        timed_out = False
    except TimeoutError:
        timed_out = True
        await _end(process)
    await asyncio.wait({reading}, timeout=1)
    reading.cancel()
    return HookResult(process.returncode or 0, output.decode(errors="replace"), timed_out)


async def _collect(process: asyncio.subprocess.Process, output: bytearray) -> None:
    """Keep the first part; read the rest away, so that a talkative hook is not stopped by a full pipe."""
    assert process.stdout is not None
    while chunk := await process.stdout.read(4096):
        output += chunk[: max(0, OUTPUT_LIMIT - len(output))]


async def _end(process: asyncio.subprocess.Process) -> None:
    """Stop the whole group: gently, then for good."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), KILL_AFTER_S)
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
