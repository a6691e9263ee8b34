"""command: an action that runs a command of the operator's with the container in its environment (notifications.md §12.18)."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from drydock.config import kinds
from drydock.config.components import Wrong
from drydock.config.schema import option, section
from drydock.core.secret import Secret
from drydock.notify.model import DeliveryFailed, Document, Message, Provider, Tools

log = structlog.get_logger("notify.command")

PASSED_ON = ("HOME", "LANG", "LC_ALL", "PATH", "SHELL", "TEMP", "TMP", "TMPDIR", "TZ", "USER")
LONGEST_VALUE = 120 * 1024
"""Bytes; the kernel refuses a variable of 128 KiB."""
SENSITIVE_SHELL = str.maketrans(
    {**{chr(code): "_" for code in (*range(0x20), 0x7F)}, **dict.fromkeys("`$;&|<>()", "_")}
)
_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[^A-Za-z0-9]+")


@section("DD_ACTION_COMMAND_", "command", "Your own command, run in Drydock's container.", family=True)
class CommandOptions:
    """`DD_ACTION_COMMAND_<NAME>_*`."""

    cmd: Secret | None = option("CMD", kinds.secret(), default=None, help="What the shell runs. Required.")
    shell: str = option("SHELL", kinds.path(), default="/bin/sh", help="The shell; it is given `-c` and the command.")
    timeout: float = option(
        "TIMEOUT", kinds.milliseconds(), default=60.0, help="Milliseconds after which it is killed; 0: never."
    )
    env: tuple[str, ...] = option(
        "ENV", kinds.csv(), default=(), help="Variables of Drydock's own environment that are passed on as well."
    )


class CommandChannel:
    """Runs the command once per message."""

    warned = False

    def __init__(self, options: CommandOptions, tools: Tools) -> None:
        self._options = options
        self._parent = tools.environ

    async def send(self, message: Message) -> None:
        """Run it and wait for its end. Raises `DeliveryFailed` for another exit code than 0, a timeout, no shell."""
        if not CommandChannel.warned:
            CommandChannel.warned = True
            log.warning("command.security", reason="commands run with the rights of this process")
        passed = {name: self._parent[name] for name in (*PASSED_ON, *self._options.env) if name in self._parent}
        try:
            process = await asyncio.create_subprocess_exec(
                self._options.shell,
                "-c",
                self._options.cmd.reveal() if self._options.cmd else "",
                env=passed | {name: clean(value) for name, value in variables(message).items()},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,  # its own process group, so that all of it can be killed
            )
        except OSError as error:
            log.warning("command.not_started", reason=error.strerror)
            raise DeliveryFailed(f"Command could not be started: {error.strerror}") from None
        stdout, stderr = await self._finish(process)
        if process.returncode:
            log.warning("command.failed", exit=process.returncode)
            raise DeliveryFailed(f"Command execution failed (exit {process.returncode})")
        log.info("command.completed", stdout=bool(stdout), stderr=bool(stderr))

    async def _finish(self, process: asyncio.subprocess.Process) -> tuple[bytes, bytes]:
        """What it wrote. It does not outlive its time, nor this task."""
        timeout_s = self._options.timeout
        try:
            async with asyncio.timeout(timeout_s or None):
                return await process.communicate()
        except TimeoutError:
            timeout_ms = round(timeout_s * 1000)
            log.warning("command.timeout", timeout_ms=timeout_ms)
            raise DeliveryFailed(f"Command execution timed out after {timeout_ms} ms") from None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()


def variables(message: Message) -> dict[str, Any]:
    """What the command learns: the container flat and as JSON, or the list as JSON."""
    if message.batch or message.digest_kind:
        found = {"containers_json": _encoded(list(message.containers))}
        if message.digest_kind is None:
            return found
        return {**found, "dd_title": message.title, "dd_body": message.body, "dd_event_kind": message.digest_kind}
    document = message.containers[0]
    return {**flatten(document), "container_json": container_json(document)}


def container_json(document: Document) -> str:
    """The container as JSON, without findings and then labels where it would be too long for a variable."""
    lighter: Sequence[Document] = (
        document,
        {key: value for key, value in document.items() if key != "security"},
        {key: value for key, value in document.items() if key not in ("security", "labels")},
    )
    found = next((text for text in map(_encoded, lighter) if len(text.encode()) <= LONGEST_VALUE), None)
    return found or _encoded({key: document.get(key) for key in ("id", "name", "watcher", "agent")})


def _encoded(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def clean(value: Any) -> str:
    """A value as it may stand in a variable: nothing that a shell would act upon, not too long."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = value if isinstance(value, str | int | float) else _encoded(value)
    return str(text).translate(SENSITIVE_SHELL).encode()[:LONGEST_VALUE].decode("utf-8", "ignore")


def flatten(document: Mapping[str, Any]) -> dict[str, Any]:
    """`{"image": {"tag": {"value": "1"}}}` gives `{"image_tag_value": "1"}` (notifications.md §13.2).

    Empty lists and objects stay values.
    """
    return {name: value for name, value in _flat("", document) if name != "result_changed"}


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping | list | tuple) or not value:
        yield prefix, value
        return
    items: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, item in items:
        yield from _flat(f"{prefix}_{snake_case(str(key))}" if prefix else snake_case(str(key)), item)


def snake_case(name: str) -> str:
    """`localValue` gives `local_value`, `dd.display.name` gives `dd_display_name`."""
    return _SEPARATORS.sub("_", _BOUNDARY.sub("_", name)).strip("_").lower()


PROVIDER = Provider(
    type="command",
    options=CommandOptions,
    open=CommandChannel,
    check=lambda options: () if options.cmd else [Wrong('"cmd" is required')],
    category="action",
)
