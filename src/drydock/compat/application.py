"""What compatibility adds to the HTTP application: Dockhand's routes, and the WUD shim where it is asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from drydock.api.application import Extension
from drydock.compat.dockhand import routes as dockhand
from drydock.compat.dockhand.host_stats import HostStats
from drydock.compat.settings import CompatSettings
from drydock.compat.wud import bare_lists, shim

ROUTES: Final = (dockhand.versioned, dockhand.router)


def extension(settings: CompatSettings, host_stats: HostStats) -> Extension:
    """The extension of a process whose Engines `host_stats` asks."""
    found = Extension(ROUTES, {dockhand.STATE: host_stats})
    return replace(found, around=shim, within=bare_lists) if settings.compat_wudcard else found
