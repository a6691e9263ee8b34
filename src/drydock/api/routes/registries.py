"""`/api/v1/registries` (platform-api.md §7)."""

from __future__ import annotations

from drydock.api import components

router = components.routes("registries", lambda request: request.services.registries.components())
