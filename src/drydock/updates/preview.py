"""What an update would do, without doing anything (updates.md §14.1; container-api.md §7.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
from drydock.core.recreate import networks_of
from drydock.core.update import update_kind
from drydock.docker.api import Document, Engine
from drydock.docker.namespaces import Namespaces
from drydock.docker.own import OwnFolders
from drydock.fleet.fleet import Fleet
from drydock.updates import admission
from drydock.updates.compose.outlook import Outlook, outlook
from drydock.updates.service import UpdateService
from drydock.updates.targets import spelled, wanted_image


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
    """A preview error has a code of its own and says where to go."""

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
    """Looks at the container and says what would change."""

    def __init__(
        self,
        service: UpdateService,
        fleet: Fleet,
        engine_for: Callable[[str, str | None], Engine],
        namespaces_of: Callable[[Engine], Namespaces],
        folders: OwnFolders,
    ) -> None:
        self._service = service
        self._fleet = fleet
        self._engine_for = engine_for
        self._namespaces_of = namespaces_of
        self._folders = folders

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
        action = admission.need_action(container, self._service.eligibility(container))
        engine = self._engine_for(container.watcher, container.agent)
        document = await engine.inspect_container(container.id)
        new_image = spelled(wanted_image(container), document["Config"]["Image"])
        entries = await engine.list_containers(all=True)
        sharing = await self._namespaces_of(engine).dependents(engine, document, entries)
        return Preview(
            container_name=container.name,
            current_image=f"{container.image.registry.name}/{container.image.name}:{container.image.tag.value}",
            new_image=new_image,
            update_kind=update_kind(container),
            is_running=bool(document["State"].get("Running")),
            networks=networks_of(document),
            volumes=[mount["Name"] for mount in document.get("Mounts") or [] if mount.get("Type") == "volume"],
            dependents=[one.name for one in sharing],
            compose=await self._compose(container, action, document, new_image, engine),
        )

    async def _compose(
        self, container: Container, action_id: str, document: Document, new_image: str, engine: Engine
    ) -> Outlook | None:
        action, config = self._service.actions.get(action_id), document["Config"]
        labels: dict[str, str] = config.get("Labels") or {}
        if action is None or SERVICE not in labels:
            return None
        row = self._service.sketch(container)
        row = msgspec.structs.replace(row, wanted=msgspec.structs.replace(row.wanted, reference=new_image))
        return await outlook(row, action, labels, config["Image"], await self._folders.of(engine))


def _translated(error: DrydockError) -> PreviewFailed:
    reason = error.message
    if isinstance(error, PreviewFailed):
        return error
    if isinstance(error, EngineNotFound):
        return PreviewFailed(404, "container-runtime-not-found", "Container not found on its host")
    if error.message == admission.NO_ACTION:
        return PreviewFailed(404, "no-trigger-configured", error.message)
    if isinstance(error, RegistryAuthFailed):
        return PreviewFailed(401, "registry-auth-failed", "The registry rejected the credentials", reason=reason)
    if isinstance(error, RegistryNotFound):
        return PreviewFailed(422, "registry-not-found", "No registry is configured for this image", reason=reason)
    if isinstance(error, RegistryNetworkError):
        return PreviewFailed(503, "registry-network-error", "The registry cannot be reached", reason=reason)
    return PreviewFailed(500, "preview-runtime-error", "Unable to preview this update")
