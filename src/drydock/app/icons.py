"""Builds the icon proxy from the settings (platform-api.md §15)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp

from drydock.api.services import Services
from drydock.config.load import Settings
from drydock.http.proxies import Proxies
from drydock.icons.cache import CacheLimits
from drydock.icons.delivery import Delivery
from drydock.icons.service import IconOptions, Icons
from drydock.icons.settings import IconSettings
from drydock.store.settings import StoreSettings

FOLDER = "icons"


async def build_icons(
    settings: Settings, environ: Mapping[str, str], services: Services, stack: AsyncExitStack
) -> Icons:
    """The icons, also put into `services`. Their connections carry no cookie and no credential."""
    session = await stack.enter_async_context(
        aiohttp.ClientSession(
            headers={"User-Agent": f"drydock/{services.settings.version}"}, cookie_jar=aiohttp.DummyCookieJar()
        )
    )
    made = Icons(
        Path(settings[StoreSettings].path) / FOLDER,
        Delivery(session, settings[IconSettings].cdn_url, Proxies.of(environ).for_url),
        lambda: _offline(services),
        services.clock,
        icon_options(settings[IconSettings]),
    )
    stack.push_async_callback(made.close)
    services.icons = made
    return made


async def _offline(services: Services) -> bool:
    return services.preferences is not None and (await services.preferences.settings()).internetless_mode


def icon_options(settings: IconSettings) -> IconOptions:
    """The limits as the service takes them."""
    return IconOptions(
        cache=CacheLimits(
            ttl_ms=settings.cache_ttl_ms,
            max_files=settings.cache_max_files,
            max_bytes=settings.cache_max_bytes,
            enforcement_interval_ms=settings.cache_enforcement_interval_ms,
        ),
        in_flight_timeout_s=settings.in_flight_timeout_ms / 1000,
        budget=(settings.proxy_rate_limit_max, math.ceil(settings.proxy_rate_limit_window_ms / 1000)),
    )
