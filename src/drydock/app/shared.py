"""Builds the parts that both the server and the one-shot commands need, from the settings.

Kept apart from `server`, so that a command imports neither the HTTP framework nor the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from drydock.clock import Clock
from drydock.config.load import Settings
from drydock.http.settings import HttpSettings
from drydock.registries.instances import register
from drydock.registries.service import Proxies, RegistryOptions, RegistryService
from drydock.registries.settings import GhcrSettings, RegistriesSettings


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
