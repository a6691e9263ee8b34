"""What an update would do, without doing anything (updates.md §14.1; container-api.md §7.2)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from drydock.core.compose_labels import SERVICE
from drydock.core.errors import (
    DrydockError,
    EngineNotFound,
    RegistryAuthFailed,
    RegistryNetworkError,
    RegistryNotFound,
)
from drydock.core.model import Container, UpdateKind
from drydock.core.operation import FileEdit, Operation
from drydock.core.update import update_kind
from drydock.docker.own import Translate
from drydock.hosts.host import Hosts
from drydock.kernel import Kernel
from drydock.updates.actions import Action, Actions
from drydock.updates.admission import NO_ACTION, Admission
from drydock.updates.compose.files import ComposeProblem
from drydock.updates.compose.locate import locate
from drydock.updates.compose.project import FilesPlan, plan_files
from drydock.updates.plan.clone import networks_of
from drydock.updates.target import new_operation, spelled, wanted_image


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


class Preview(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The answer. `compose` only for containers whose file would change too."""

    container_name: str
    current_image: str
    new_image: str
    update_kind: UpdateKind
    is_running: bool
    networks: list[str]
    volumes: list[str] = []
    dependents: list[str] = []
    compose: Outlook | None = None


class PreviewFailed(DrydockError):
    """A preview error has its own code and says where to go."""

    def __init__(self, status: int, code: str, message: str, *, reason: str | None = None) -> None:
        self.answer_status = status
        siblings: dict[str, Any] = {"code": code, "message": message}
        if code in _ACTIONS:
            siblings["action"] = _ACTIONS[code]
        super().__init__(message, details={"reason": reason} if reason else None, siblings=siblings)
        self.preview_code = code

    @property
    def status(self) -> int:  # type: ignore[override]  # one class, the status of its cause
        """HTTP status of the answer."""
        return self.answer_status


_REGISTRY = {"code": "open-registry-settings", "href": "/registries"}
_ACTIONS = {
    "no-trigger-configured": {"code": "open-trigger-settings", "href": "/triggers"},
    "registry-auth-failed": _REGISTRY,
    "registry-not-found": _REGISTRY,
    "manifest-fetch-failed": _REGISTRY,
}


class Previews:
    """Inspects the container and says what would change."""

    def __init__(self, kernel: Kernel, hosts: Hosts, admission: Admission, actions: Actions) -> None:
        self._fleet = kernel.fleet
        self._clock = kernel.clock
        self._hosts = hosts
        self._admission = admission
        self._actions = actions

    async def of(self, container_id: str) -> Preview:
        """The preview; raises `PreviewFailed`."""
        container = self._fleet.get(container_id)
        if container is None:
            raise PreviewFailed(404, "container-not-found", "Container not found")
        try:
            return await self._look(container)
        except DrydockError as error:
            raise _translated(error) from error

    async def _look(self, container: Container) -> Preview:
        action = self._actions.get(self._admission.need_action(container))
        host = self._hosts.of(container)
        document = await host.reader.inspect_container(container.id)
        wanted = wanted_image(container)
        wanted = msgspec.structs.replace(wanted, reference=spelled(wanted, document["Config"]["Image"]))
        entries = await host.reader.list_containers(all=True)
        sharing = await host.namespaces.dependents(host.reader, document, entries)
        files, labels = None, document["Config"].get("Labels") or {}
        if action is not None and SERVICE in labels:
            row = new_operation(container, self._clock.now_ms(), wanted=wanted)
            translate = await host.folders.translation(host.reader)
            files = await outlook(row, action, labels, document["Config"]["Image"], translate)
        return Preview(
            container_name=container.name,
            current_image=f"{container.image.registry.name}/{container.image.name}:{container.image.tag.value}",
            new_image=wanted.reference,
            update_kind=update_kind(container),
            is_running=bool(document["State"].get("Running")),
            networks=networks_of(document),
            volumes=[mount["Name"] for mount in document.get("Mounts") or [] if mount.get("Type") == "volume"],
            dependents=[one.name for one in sharing],
            compose=files,
        )


def _translated(error: DrydockError) -> PreviewFailed:
    reason = error.message
    if isinstance(error, PreviewFailed):
        return error
    if isinstance(error, EngineNotFound):
        return PreviewFailed(404, "container-runtime-not-found", "Container not found on its host")
    if error.message == NO_ACTION:
        return PreviewFailed(404, "no-trigger-configured", error.message)
    if isinstance(error, RegistryAuthFailed):
        return PreviewFailed(401, "registry-auth-failed", "The registry rejected the credentials", reason=reason)
    if isinstance(error, RegistryNotFound):
        return PreviewFailed(422, "registry-not-found", "No registry is configured for this image", reason=reason)
    if isinstance(error, RegistryNetworkError):
        return PreviewFailed(503, "registry-network-error", "The registry cannot be reached", reason=reason)
    return PreviewFailed(500, "preview-runtime-error", "Unable to preview this update")


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
