"""Settings of the instance that people change, and one blob of preferences per user (platform-api.md §5)."""

from __future__ import annotations

from typing import Any, Self

import msgspec

from drydock.clock import Clock
from drydock.config.load import Settings
from drydock.core.policy.automation import UpdateMode
from drydock.core.times import to_iso
from drydock.kernel import Kernel, Room
from drydock.store.documents import Documents

SETTINGS = "settings"
PREFERENCES = "ui-preferences"
API_VERSION = 1


class InstanceSettings(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the whole instance does; `update_mode` decides who may start updates."""

    internetless_mode: bool = False
    update_mode: UpdateMode = "manual"


class UserPreferences(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one user's interface keeps; nulls until the first write."""

    username: str
    api_version: int = API_VERSION
    schema_version: int | None = None
    preferences: dict[str, Any] | None = None
    updated_at: str | None = None


class Preferences(Room):
    """Reads and writes both."""

    def __init__(self, documents: Documents, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock

    @classmethod
    def build(cls, kernel: Kernel, settings: Settings) -> Self:
        """Both live in the store; no variable configures them."""
        del settings
        return cls(kernel.store.documents, kernel.clock)

    async def settings(self) -> InstanceSettings:
        """The settings in force."""
        return await self._documents.get(SETTINGS, SETTINGS, InstanceSettings) or InstanceSettings()

    async def offline(self) -> bool:
        """Whether the operator keeps this instance off the internet."""
        return (await self.settings()).internetless_mode

    async def update_mode(self) -> UpdateMode:
        """Who may start updates."""
        return (await self.settings()).update_mode

    async def change(self, **fields: Any) -> InstanceSettings:
        """Change some settings; gives the new ones."""
        changed = msgspec.structs.replace(await self.settings(), **fields)
        await self._documents.put(SETTINGS, SETTINGS, changed)
        return changed

    async def of(self, user: str) -> UserPreferences:
        """Preferences of a user."""
        return await self._documents.get(PREFERENCES, user, UserPreferences) or UserPreferences(username=user)

    async def replace(self, user: str, schema_version: int, preferences: dict[str, Any]) -> UserPreferences:
        """Replace the whole blob of a user."""
        made = UserPreferences(
            username=user,
            schema_version=schema_version,
            preferences=preferences,
            updated_at=to_iso(self._clock.now_ms()),
        )
        await self._documents.put(PREFERENCES, user, made)
        return made
