"""`post_start` of a Compose service, run by the Engine inside the new container (updates.md §11.6)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from drydock.core.operation import Operation, PostStart
from drydock.docker.api import Document
from drydock.updates.compose.problems import ComposeProblem
from drydock.updates.plan.effects import Plan, Run, StepFailed

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class PostStartFailed(StepFailed):
    """A post_start command ended with an error."""

    code = "post-start-failed"
    rollback_code = "post_start_failed"


def after_start(operation: Operation, document: Document) -> Plan[None]:
    """Run the journaled commands in order; a container that no longer runs is left to the health gate."""
    for hook in operation.post_start:
        if not document["State"].get("Running"):
            return
        yield from _run(operation, hook, document["Id"])


def _run(operation: Operation, hook: PostStart, container: str) -> Plan[None]:
    result = yield Run(
        container, tuple(hook.command), tuple(hook.environment), hook.user, hook.working_dir, hook.privileged
    )
    if result.exit_code != 0:
        raise PostStartFailed(
            f"Compose post_start hook failed for {operation.container_name} ({operation.service or 'service'}) "
            f"with exit code {result.exit_code}",
        )


def post_start(service: Mapping[str, Any]) -> list[PostStart]:
    """`post_start` in each of its forms: a text for `sh -c`, a list of words, or a mapping with `command`.

    Raises `ComposeProblem` for what cannot be run, before anything is changed.
    """
    entries = service.get("post_start") or []
    return [_hook(entry) for entry in (entries if isinstance(entries, list) else [entries])]


def _hook(entry: Any) -> PostStart:
    facts: Mapping[str, Any] = entry if isinstance(entry, dict) else {"command": entry}
    command = facts.get("command")
    words = ["/bin/sh", "-c", command] if isinstance(command, str) else [str(word) for word in command or []]
    if not words:
        raise ComposeProblem("A post_start hook has no command")
    return PostStart(
        command=words,
        environment=_environment(facts.get("environment")),
        user=_text(facts.get("user")),
        working_dir=_text(facts.get("working_dir")),
        privileged=facts.get("privileged") is True,
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _environment(values: Any) -> list[str]:
    pairs = values.items() if isinstance(values, dict) else (str(value).partition("=")[::2] for value in values or [])
    found = []
    for key, value in pairs:
        if not _KEY.fullmatch(str(key)):
            raise ComposeProblem(f"A post_start hook sets the variable {key!r}: names are letters, digits and _")
        found.append(f"{key}={'' if value is None else value}")
    return found
