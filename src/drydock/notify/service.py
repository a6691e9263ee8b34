"""The room put together: triggers that listen, the list of all of them, and running one by hand (notifications.md §7.1, §11)."""

from __future__ import annotations

from typing import Protocol

import structlog

from drydock.core.errors import BadRequest, Conflict, DrydockError, NotFound
from drydock.core.model import Container, audit_key
from drydock.core.policy.automation import UPDATE_TYPES
from drydock.core.temporary import is_temporary
from drydock.events import Bus, UpdateApplied
from drydock.notify import texts
from drydock.notify.catalog import Catalog
from drydock.notify.delivery import Desk
from drydock.notify.model import DeliveryFailed, Document, Trigger
from drydock.notify.trigger_worker import Lane

log = structlog.get_logger("notify")

NO_KIND = {"kind": "unknown", "localValue": None, "remoteValue": None, "semverDiff": "unknown"}


class UpdateStarter(Protocol):
    """Starts updates; `drydock.updates` behind it."""

    async def start(self, container_id: str, trigger_id: str, cause: str) -> str:
        """The id of the accepted operation. Raises what the update endpoint would answer."""
        ...


class Notifications:
    """All triggers of this process."""

    def __init__(self, catalog: Catalog, desk: Desk, updates: UpdateStarter) -> None:
        self.catalog = catalog
        self._desk = desk
        self._updates = updates
        self._lanes = [Lane(trigger, desk) for trigger in catalog.triggers()]

    async def start(self, bus: Bus) -> None:
        """Read the history and subscribe; after the fleet was loaded, before the bus runs."""
        await self._desk.history.load()
        bus.subscribe("notify:applied", self._applied, UpdateApplied)
        for lane in self._lanes:
            await self._seed(lane.trigger)
            lane.subscribe(bus)
            if lane.digest is not None:
                await lane.digest.load()
                self._desk.supervisor.start(f"notify:{lane.trigger.id}:digest", lane.digest.run)

    async def _seed(self, trigger: Trigger) -> None:
        if not trigger.options.once or trigger.auto == "none":
            return
        fleet = self._desk.fleet
        pending = [one for one in fleet.all() if fleet.view_of(one).update_available]
        await self._desk.history.seed(trigger.id, pending)

    async def _applied(self, event: UpdateApplied) -> None:
        """What was told about the old version counts no more, and reports that still claim it are stale."""
        container = event.container
        if container is not None and event.operation.get("phase") != "dryrun":
            self._desk.applied.add(audit_key(container))
            await self._desk.history.forget(audit_key(container))

    # ── by hand ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self, container_id: str, type: str, name: str, agent: str | None = None) -> str | None:
        """Run one trigger on a container: the id of the operation for an updating action, else None once delivered.

        Asks neither rules nor labels, thresholds or history. Raises the answer of §11.4.
        """
        container = self._desk.fleet.need(container_id)
        if container.agent and type.lower() in UPDATE_TYPES and agent is None:
            raise _remote(type, f"{container.agent}.{container.id}")
        id = trigger_id(type, name, agent)
        trigger, action = self.catalog.trigger(id), self.catalog.action(id)
        if trigger is None and action is None:
            raise NotFound("Trigger not found")
        if is_temporary(container.name):
            raise Conflict("Cannot update temporary rollback container")
        if trigger is None:
            return await self._updates.start(container.id, id, "manual")
        await self._send(trigger, self._document(container))
        return None

    async def run_with(self, document: Document, type: str, name: str) -> str | None:
        """Run a local trigger on a container that the caller describes (§11.5); updates need one that is known."""
        id = trigger_id(type, name, None)
        if agent := document.get("agent"):
            raise _remote(id, f"{agent}.{document['id']}")
        said = f"Error when running trigger {id}"
        trigger, action = self.catalog.trigger(id), self.catalog.action(id)
        if trigger is None and action is None:
            raise NotFound(f"{said} (trigger not found)")
        if is_temporary(str(document.get("name") or "")):
            raise Conflict("Cannot update temporary rollback container")
        if trigger is None:
            container = self._desk.fleet.need(str(document["id"]))
            return await self._updates.start(container.id, id, "manual")
        try:
            await self._send(trigger, {**document, "updateKind": document.get("updateKind") or NO_KIND})
        except DeliveryFailed as error:
            raise DrydockError(said, details={"reason": error.message}) from None
        return None

    async def _send(self, trigger: Trigger, document: Document) -> None:
        message = texts.simple("update-available", document, trigger.options, self._desk.place)
        await self._desk.send(trigger, message)

    def _document(self, container: Container) -> Document:
        return texts.document_of(self._desk.fleet.view_of(container))


def trigger_id(type: str, name: str, agent: str | None) -> str:
    """`type.name`, or `agent.type.name`, lower-case."""
    return ".".join(part.lower() for part in (agent, type, name) if part)


def _remote(type: str, target: str) -> BadRequest:
    return BadRequest(f"Cannot execute local {_spoken(type)} on remote container {target}")


def _spoken(type: str) -> str:
    """`docker trigger`, but `trigger docker.local` for a full id: both texts are part of the contract."""
    return f"trigger {type}" if "." in type else f"{type} trigger"
