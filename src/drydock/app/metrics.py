"""Joins the metrics with the rooms that are counted and may not know them (platform.md §10)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial

from drydock.api.services import Services
from drydock.config.load import Settings
from drydock.metrics.catalogue import Metrics
from drydock.metrics.rooms import Usage, of_findings, of_registries, of_watchers
from drydock.metrics.settings import ContainerMetricsSettings
from drydock.registries.service import RegistryService
from drydock.watch.service import ScheduledWatcher


def count_rooms(
    metrics: Metrics,
    settings: Settings,
    services: Services,
    registries: RegistryService,
    watchers: Sequence[ScheduledWatcher],
    stack: AsyncExitStack,
) -> None:
    """Feed the metrics from what happens in registries, watchers, scans and statistics."""
    services.legacy.follow(lambda source, key: metrics.legacy.inc(source=source, key=key))
    registries.observe(lambda type, name, seconds: metrics.registry_response.observe(seconds, type=type, name=name))
    for one in watchers:
        name = one.watcher.name
        one.on_skip = partial(metrics.maintenance_skips.inc, type="docker", name=name)
        one.watcher.on_scanned = partial(metrics.watch_seconds.observe, type="docker", name=name)
    metrics.registry.add(
        *of_registries(registries),
        *of_watchers(lambda: [one.watcher for one in watchers]),
        of_findings(services.fleet.all),
    )
    if settings[ContainerMetricsSettings].containerstats and services.stats is not None:
        usage = Usage(services.fleet.get)
        stack.enter_context(services.stats.fleet.joined(usage))
        metrics.registry.add(*usage.families())
