"""Joins the metrics with the rooms that are counted and may not know them (platform.md §10)."""

from __future__ import annotations

from contextlib import AsyncExitStack

from drydock.api.services import Services, needed
from drydock.config.load import Settings
from drydock.events import Bus, HostScanned, ScanPutOff
from drydock.metrics.rooms import Usage, of_findings, of_registries, of_watchers
from drydock.metrics.settings import ContainerMetricsSettings
from drydock.registries.room import Registries
from drydock.watch.service import WatchService


def count_rooms(
    services: Services,
    settings: Settings,
    registries: Registries,
    watching: WatchService,
    bus: Bus,
    stack: AsyncExitStack,
) -> None:
    """Feed the metrics from what happens in registries, watchers, scans and statistics."""
    metrics = needed(services.metrics)
    services.legacy.follow(lambda source, key: metrics.legacy.inc(source=source, key=key))
    registries.observe(lambda type, name, seconds: metrics.registry_response.observe(seconds, type=type, name=name))

    async def scanned(event: HostScanned) -> None:
        metrics.watch_seconds.observe(event.seconds, type="docker", name=event.host.watcher)

    async def put_off(event: ScanPutOff) -> None:
        metrics.maintenance_skips.inc(type="docker", name=event.host.watcher)

    bus.subscribe("metrics:scans", scanned, HostScanned)
    bus.subscribe("metrics:scans-put-off", put_off, ScanPutOff)
    metrics.registry.add(
        *of_registries(registries),
        *of_watchers(lambda: [one.watcher for one in watching.all()]),
        of_findings(services.fleet.all),
    )
    if settings[ContainerMetricsSettings].containerstats and services.stats is not None:
        usage = Usage(services.fleet.get)
        stack.enter_context(services.stats.fleet.joined(usage))
        metrics.registry.add(*usage.families())
