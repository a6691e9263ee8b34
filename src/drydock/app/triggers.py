"""Builds the notification room from the settings, and joins it with fleet, store, audit, metrics and updates."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack
from zoneinfo import ZoneInfo

import structlog

from drydock.api.services import Services
from drydock.api.settings import PublicSettings, ServerSettings
from drydock.config.load import Settings
from drydock.core.errors import Unavailable
from drydock.events import Bus
from drydock.http.proxies import Proxies
from drydock.http.settings import HttpSettings
from drydock.notify.catalog import Catalog
from drydock.notify.channels import ToolBox
from drydock.notify.components import build, gather, prefixes
from drydock.notify.delivery import Desk
from drydock.notify.families import Families
from drydock.notify.history import History
from drydock.notify.rules import Rules, StoredRule
from drydock.notify.sender import open_sender
from drydock.notify.service import Notifications
from drydock.notify.texts import Place
from drydock.store.store import Store
from drydock.supervisor import Supervisor

log = structlog.get_logger("app")

RULES = "notifications"


def families(settings: Settings) -> Families:
    """Every trigger that the variables mention, those of other rooms included."""
    values = {name: value for prefix in prefixes() for name, value in settings.source.values(prefix).items()}
    return gather(values)


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
    clock, found = services.clock, families(settings)
    sender = await stack.enter_async_context(
        open_sender(
            settings[PublicSettings].version,
            clock,
            timeout_s=settings[HttpSettings].timeout_s,
            proxy=Proxies.of(environ).for_url,
        )
    )
    triggers, problems = build(found, ToolBox(sender, environ))
    for problem in problems:
        log.warning("trigger.problem", variable=problem.variable, reason=problem.message)
    for variable in found.legacy:
        services.legacy.count("env", variable)
    desk = await _desk(settings, services, store, supervisor, zone)
    actions = services.updates.actions.all() if services.updates else []
    room = Notifications(Catalog(triggers, actions), desk, _Updates(services), problems)
    await room.start(bus)
    services.notifications = room
    return room


async def _desk(settings: Settings, services: Services, store: Store, supervisor: Supervisor, zone: ZoneInfo) -> Desk:
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
        counted=_Counter(services),
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


class _Counter:
    """Counts sent messages, where metrics are kept."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def __call__(self, type: str, name: str, status: str, seconds: float) -> None:
        metrics = self._services.metrics
        if metrics is not None:
            metrics.triggers.inc(type=type, name=name, status=status)
            metrics.send_seconds.observe(seconds, type=type, name=name)
