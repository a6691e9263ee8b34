"""Builds the parts that both the server and the one-shot commands need, from the settings.

Kept apart from `server`, so that a command imports neither the HTTP framework nor the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from drydock.clock import Clock
from drydock.config.load import Settings
from drydock.core.imgset import ImageSet
from drydock.core.labels import WatcherDefaults
from drydock.hosts.settings import ImageSetSettings, WatcherSettings
from drydock.http.settings import HttpSettings
from drydock.registries.instances import register
from drydock.registries.service import Proxies, RegistryOptions, RegistryService
from drydock.registries.settings import GhcrSettings, RegistriesSettings
from drydock.watch.notices import Notices
from drydock.watch.record import Context


def build_registries(
    settings: Settings, environ: Mapping[str, str], clock: Clock, *, cache: Path | None
) -> RegistryService:
    """The registry engine with every configured instance; `cache` is the file of the content-addressed cache."""
    instances, problems = register(settings.source.values("DD_REGISTRY_"))
    size = settings[RegistriesSettings].cache_mb * 1024 * 1024
    options = RegistryOptions(
        timeout_s=settings[HttpSettings].timeout_s,
        auto=settings[RegistriesSettings].auto,
        concurrency=settings[RegistriesSettings].concurrency,
        cache_path=cache if size else None,
        cache_bytes=size,
        allow_private_realms=settings[RegistriesSettings].allow_private_realms,
        github_max_pages=settings[GhcrSettings].versions_max_pages,
        dns_mode=settings[HttpSettings].dns_mode,
        proxies=Proxies.of(environ),
    )
    return RegistryService(instances, options, clock, problems=problems)


def watch_context(settings: WatcherSettings, registries: RegistryService) -> Context:
    """What a watcher adds to the facts of its containers."""

    def route(host: str, repository: str, lookup: str | None) -> str:
        return registries.route(host, repository, lookup=lookup).instance_id

    defaults = WatcherDefaults(
        watch_by_default=settings.watch_by_default,
        tag_family=settings.tag_family,
        tag_pin_info=settings.tag_pin_info,
        maturity_mode=settings.maturity_mode,
        maturity_min_age_days=settings.maturity_min_age_days,
    )
    return Context(settings.name, tuple(map(image_set, settings.image_sets)), defaults, route)


def watch_notices(settings: Settings, count_legacy: Callable[[str], None]) -> Notices:
    """What operators are told about labels, given the triggers that are configured."""
    names = settings.source.names
    old = bool(list(names("DD_TRIGGER_")))
    return Notices(
        has_actions=old or bool(list(names("DD_ACTION_"))),
        has_notifications=old or bool(list(names("DD_NOTIFICATION_"))),
        count_legacy=count_legacy,
    )


def image_set(settings: ImageSetSettings) -> ImageSet:
    """An image set as the core knows it."""
    return ImageSet(
        name=settings.name,
        image=settings.image or "",
        tag_include=settings.include,
        tag_exclude=settings.exclude,
        tag_transform=settings.transform,
        tag_family=settings.tag_family,
        tag_pin_info=settings.tag_pin_info,
        link_template=settings.link_template,
        display_name=settings.display_name,
        display_icon=settings.display_icon,
        trigger_include=settings.trigger_include,
        trigger_exclude=settings.trigger_exclude,
        registry_lookup_image=settings.lookup_image,
        watch_digest=settings.watch_digest,
        inspect_tag_path=settings.inspect_tag_path,
    )
