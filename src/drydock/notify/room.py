"""The room: triggers that react to events, the list of all of them, and running one by hand (notifications.md §7.1, §11)."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self
from zoneinfo import ZoneInfo

from drydock.config.load import Settings
from drydock.core.errors import BadRequest, Conflict, DrydockError, NotFound
from drydock.core.model import audit_key
from drydock.core.operation import Operation
from drydock.core.policy.automation import UPDATE_TYPES
from drydock.core.temporary import is_temporary
from drydock.events import UpdateApplied
from drydock.http.client import HttpClient
from drydock.kernel import Kernel, Room
from drydock.notify import texts
from drydock.notify.catalog import Catalog, UpdateAction
from drydock.notify.delivery import Delivery
from drydock.notify.model import DeliveryFailed, Document, Tools, Trigger
from drydock.notify.providers import PROVIDERS
from drydock.notify.rules import Rules, StoredRule
from drydock.notify.texts import Place
from drydock.notify.trigger_worker import TriggerWorker

RULES = "notifications"
NO_KIND = {"kind": "unknown", "localValue": None, "remoteValue": None, "semverDiff": "unknown"}


class RequestUpdate(Protocol):
    """Admits and queues an update; `updates` behind it. Raises what the update endpoint would answer."""

    def __call__(self, container_id: str, *, source: str, trigger_id: str) -> Awaitable[Operation]: ...


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What notifications want of others.

    `server_name`: as configured, or as reported by an Engine; None before one answered (platform.md §2.1).
    """

    http: HttpClient
    environ: Mapping[str, str]
    zone: ZoneInfo
    server_name: Callable[[], str | None]
    actions: Sequence[UpdateAction]
    request_update: RequestUpdate


class Notifications(Room):
    """All triggers of this process. Build it once the fleet is loaded, before the bus runs."""

    def __init__(self, kernel: Kernel, settings: Settings, needs: Needs, rules: Rules) -> None:
        tools = Tools(needs.http, kernel.clock, needs.environ)
        opened = [one.trigger(found, tools) for one in PROVIDERS for found in settings.components(one.options)]
        self.catalog = Catalog(opened, needs.actions)
        self._fleet = kernel.fleet
        self._supervisor = kernel.supervisor
        self._request_update = needs.request_update
        self._delivery = Delivery(kernel, rules, Place(socket.gethostname(), ask=needs.server_name))
        kernel.bus.subscribe("notify:applied", self._applied, UpdateApplied)
        self._workers = [
            TriggerWorker(trigger, kernel, self._delivery, needs.zone) for trigger in self.catalog.triggers()
        ]

    @classmethod
    async def build(cls, kernel: Kernel, settings: Settings, needs: Needs) -> Self:
        """The room with its triggers subscribed, the history and what waits for a summary read."""
        made = cls(kernel, settings, needs, Rules(await kernel.store.documents.all(RULES, StoredRule)))
        await made._delivery.history.load()
        pending = [one for one in kernel.fleet.all() if kernel.fleet.view_of(one).update_available]
        for worker in made._workers:
            trigger = worker.trigger
            if trigger.options.once and trigger.auto != "none":
                await made._delivery.history.seed(trigger.id, pending)
            if worker.summary is not None:
                await worker.summary.load()
        return made

    async def start(self) -> None:
        """Begin to send summaries by their schedules."""
        for worker in self._workers:
            if worker.summary is not None:
                self._supervisor.start(f"notify:{worker.trigger.id}:digest", worker.summary.run)

    async def _applied(self, event: UpdateApplied) -> None:
        """What was sent about the old version no longer counts, and reports that still claim it are stale."""
        container = event.container
        if container is not None and event.operation.get("phase") != "dryrun":
            self._delivery.applied.add(audit_key(container))
            await self._delivery.history.forget(audit_key(container))

    # ── by hand ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self, container_id: str, type: str, name: str, agent: str | None = None) -> str | None:
        """Run one trigger on a container: the id of the operation for an updating action, else None once delivered.

        Asks neither rules nor labels, thresholds or history. Raises the answers of notifications.md §11.4.
        """
        container = self._fleet.need(container_id)
        if container.agent and type.lower() in UPDATE_TYPES and agent is None:
            raise BadRequest(
                f"Cannot execute local {type} trigger on remote container {container.agent}.{container.id}"
            )
        id = ".".join(part.lower() for part in (agent, type, name) if part)
        trigger = self._runnable(id, container.name, missing="Trigger not found")
        if trigger is None:
            return await self._update(container.id, id)
        await self._send(trigger, texts.document_of(self._fleet.view_of(container)))
        return None

    async def run_with(self, document: Document, type: str, name: str) -> str | None:
        """Run a local trigger on a container that the caller describes (notifications.md §11.5); updates need one that is known."""
        id = f"{type}.{name}".lower()
        if agent := document.get("agent"):
            raise BadRequest(f"Cannot execute local trigger {id} on remote container {agent}.{document['id']}")
        said = f"Error when running trigger {id}"
        trigger = self._runnable(id, str(document.get("name") or ""), missing=f"{said} (trigger not found)")
        if trigger is None:
            return await self._update(self._fleet.need(str(document["id"])).id, id)
        try:
            await self._send(trigger, {**document, "updateKind": document.get("updateKind") or NO_KIND})
        except DeliveryFailed as error:
            raise DrydockError(said, details={"reason": error.message}) from None
        return None

    def _runnable(self, id: str, container: str, *, missing: str) -> Trigger | None:
        """The trigger with that id; None for an action that applies updates."""
        trigger = self.catalog.trigger(id)
        if trigger is None and self.catalog.action(id) is None:
            raise NotFound(missing)
        if is_temporary(container):
            raise Conflict("Cannot update temporary rollback container")
        return trigger

    async def _update(self, container_id: str, trigger_id: str) -> str:
        return (await self._request_update(container_id, source="manual", trigger_id=trigger_id)).id

    async def _send(self, trigger: Trigger, document: Document) -> None:
        message = texts.simple("update-available", document, trigger.options, self._delivery.place)
        await self._delivery.send(trigger, message)
