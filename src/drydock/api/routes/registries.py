"""`/api/v1/registries` (platform-api.md §7)."""

from __future__ import annotations

from drydock.api import components
from drydock.core.component import Component
from drydock.registries.room import Registries


def listed(registries: Registries) -> list[Component]:
    """Every configured registry."""
    return [Component(**item) for item in registries.instances()]


router = components.routes("registries", lambda request: listed(request.services.registries))
