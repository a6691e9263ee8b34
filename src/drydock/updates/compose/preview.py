"""What an update would change in the Compose project of a container, for the preview (container-api.md §7.2)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Literal

import msgspec

from drydock.core.compose_labels import SERVICE
from drydock.core.operation import FileEdit, Operation
from drydock.docker.own import Translate
from drydock.updates.actions import Action
from drydock.updates.compose.locate import locate
from drydock.updates.compose.problems import ComposeProblem
from drydock.updates.compose.project import FilesPlan, plan_files


class Mutation(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Whether a file would be written, and whether the action only pretends."""

    intent: Literal["update-compose-service-image"] = "update-compose-service-image"
    dry_run: bool
    will_write: bool


class Patch(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The change of one file. Without lines around it: those may hold secrets."""

    path: str
    format: Literal["unified"] = "unified"
    diff: str


class Outlook(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """`files` as Compose names them, `paths` where Drydock sees them; `warnings` say why nothing would be written.

    `patch` is the first of `patches`: there is one for each file that changes, the `.env` file included.
    """

    files: list[str]
    paths: list[str]
    service: str
    mutation: Mutation
    patch: Patch | None = None
    patches: list[Patch] = []
    warnings: list[str] = []


async def outlook(
    operation: Operation, action: Action, labels: Mapping[str, str], current: str, translate: Translate
) -> Outlook | None:
    """The preview of the files, without writing; None for a container that no Compose file describes."""
    service, paths = labels.get(SERVICE), locate(labels, action, translate).files
    if not service or not paths:
        return None
    try:
        plan = await plan_files(operation, action, labels, current, translate)
    except ComposeProblem as problem:
        plan = FilesPlan(service=service, warnings=[problem.message])
    return Outlook(
        files=[str(path) for path in locate(labels, action).files],
        paths=[str(path) for path in paths],
        service=service,
        mutation=Mutation(dry_run=action.dry_run, will_write=bool(plan.edits) and not action.dry_run),
        patch=_patch(plan.edits[0]) if plan.edits else None,
        patches=[_patch(edit) for edit in plan.edits],
        warnings=plan.warnings,
    )


def _patch(edit: FileEdit) -> Patch:
    before, after = edit.before.splitlines(), edit.after.splitlines()
    lines = difflib.unified_diff(before, after, edit.path, edit.path, n=0, lineterm="")
    return Patch(path=edit.path, diff="\n".join(lines) + "\n")
