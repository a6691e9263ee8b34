"""What Drydock lists of a part that can be configured: a watcher, registry, trigger or sign-in provider."""

from __future__ import annotations

from typing import Any

import msgspec


class Component(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A component as listed (platform-api.md §7.1); secrets are masked already."""

    id: str
    type: str
    name: str
    configuration: dict[str, Any]
    agent: str | None = None
    metadata: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
