"""Builds the notification room from the settings, and joins it with fleet, store, audit, metrics and updates."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack
from zoneinfo import ZoneInfo

from drydock.api.services import Services
from drydock.api.settings import PublicSettings, ServerSettings
from drydock.config.load import Settings
from drydock.core.errors import Unavailable
from drydock.events import Bus
from drydock.http.proxies import Proxies
from drydock.http.settings import HttpSettings
from drydock.notify.catalog import Catalog
from drydock.notify.channels import ToolBox
from drydock.notify.delivery import Desk
from drydock.notify.history import History
from drydock.notify.providers import PROVIDERS
from drydock.notify.rules import Rules, StoredRule
from drydock.notify.sender import open_sender
from drydock.notify.service import Notifications
from drydock.notify.texts import Place
from drydock.store.store import Store
from drydock.supervisor import Supervisor

RULES = "notifications"


async def build_notifications(
    settings: Settings,
    environ: Mapping[str, str],
    services: Services,
    store: Store,
    bus: Bus,
    supervisor: Supervisor,
    zone: ZoneInfo,
    stack: AsyncExitStack,
) -> Notifications:
    """The room, also put into `services`, and subscribed to the bus: call it before the bus runs, after updates."""
    clock = services.clock
    sender = await stack.enter_async_context(
        open_sender(
            settings[PublicSettings].version,
            clock,
            timeout_s=settings[HttpSettings].timeout_s,
            proxy=Proxies.of(environ).for_url,
        )
    )
    tools = ToolBox(sender, environ)
    triggers = [one.trigger(found, tools) for one in PROVIDERS for found in settings.components(one.options)]
    desk = await _desk(settings, services, store, bus, supervisor, zone)
    actions = services.updates.actions.all() if services.updates else []
    room = Notifications(Catalog(triggers, actions), desk, _Updates(services))
    await room.start(bus)
    services.notifications = room
    return room


async def _desk(
    settings: Settings, services: Services, store: Store, bus: Bus, supervisor: Supervisor, zone: ZoneInfo
) -> Desk:
    """What all triggers share."""
    return Desk(
        fleet=services.fleet,
        clock=services.clock,
        supervisor=supervisor,
        history=History(store.notifications, services.clock),
        documents=store.documents,
        rules=Rules(await store.documents.all(RULES, StoredRule)),
        place=Place(socket.gethostname(), ask=lambda: settings[ServerSettings].name or services.watching.engine_name()),
        audit=services.audit,
        bus=bus,
        zone=zone,
    )


class _Updates:
    """Starts updates in the room that carries them out."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def start(self, container_id: str, trigger_id: str, cause: str) -> str:
        """Admit and queue; the id of the operation."""
        updates = self._services.updates
        if updates is None:
            raise Unavailable("This process does not carry out updates")
        operation = await updates.service.request(container_id, source=cause, trigger_id=trigger_id)
        return operation.id
