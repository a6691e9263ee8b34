"""What compatibility adds to the HTTP application: Dockhand's routes, and the WUD shim where it is switched on."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from drydock.api.application import Extension
from drydock.compat.dockhand import routes as dockhand
from drydock.compat.dockhand.room import Dockhand
from drydock.compat.settings import CompatSettings
from drydock.compat.wud import bare_lists, shim

ROUTES: Final = (dockhand.versioned, dockhand.router)


def extension(settings: CompatSettings, room: Dockhand) -> Extension:
    """What `room` and the settings of compatibility add."""
    found = Extension(ROUTES, {dockhand.STATE: room})
    return replace(found, around=shim, within=bare_lists) if settings.compat_wudcard else found
