"""Gives icons: from disk, from the few that come with Drydock, else from the network (platform-api.md §15)."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from drydock.clock import Clock
from drydock.core.errors import BadGateway, DrydockError, NotFound
from drydock.icons.cache import CacheLimits, IconCache
from drydock.icons.delivery import Delivery, Undelivered, checked
from drydock.icons.sources import IconName
from drydock.single_flight import SingleFlight

log = structlog.get_logger("icons")

FALLBACK_CLASS: Final = "fab fa-docker"
"""What an interface may draw instead, as 1.x named it."""
MISSING_S = 600.0
MISSING_KEPT = 1000
_OWN = Path(__file__).parent / "own"


@dataclass(frozen=True, kw_only=True)
class IconOptions:
    """Limits of the service. `budget` is how many icons one client may ask the network for in how many seconds."""

    cache: CacheLimits = field(default_factory=CacheLimits)
    in_flight_timeout_s: float = 15.0
    budget: tuple[int, int] = (100, 60)


class Picture(NamedTuple):
    """An image to show."""

    content: bytes
    media_type: str


class ClearFailed(DrydockError):
    """The cache cannot be emptied; the log says why."""

    code = "icon-cache-failed"
    default = "Failed to clear icon cache"


class Icons:
    """The icons of this server. `offline` tells whether the instance must not go out."""

    def __init__(
        self,
        folder: Path,
        delivery: Delivery,
        offline: Callable[[], Awaitable[bool]],
        clock: Clock,
        options: IconOptions | None = None,
    ) -> None:
        self.options = options or IconOptions()
        self._cache = IconCache(folder, clock, self.options.cache)
        self._delivery = delivery
        self._offline = offline
        self._clock = clock
        self._flights: SingleFlight[Picture] = SingleFlight()
        self._missing: OrderedDict[IconName, float] = OrderedDict()

    async def at_hand(self, name: IconName) -> Picture | None:
        """The icon, if nobody needs to be asked for it."""
        found = await asyncio.to_thread(self._cache.read, name)
        if found is not None and found.fresh:
            return Picture(found.content, name.source.media_type)
        return own_icon(name)

    async def fetched(self, name: IconName) -> Picture:
        """The icon from the network, kept for the next time; an old copy when the network cannot help.

        Raises `NotFound` when there is none, `BadGateway` when the network gave no usable answer.
        """
        try:
            return await self._from_network(name)
        except (NotCached, BadGateway):
            old = await asyncio.to_thread(self._cache.read, name)
            if old is None:
                raise
            return Picture(old.content, name.source.media_type)

    async def clear(self) -> int:
        """Forget every icon; how many there were. Raises `ClearFailed`."""
        self._missing.clear()
        try:
            return await asyncio.to_thread(self._cache.clear)
        except OSError as error:
            log.warning("icons.clear_failed", reason=str(error))
            raise ClearFailed() from error

    async def close(self) -> None:
        """Stop what is under way."""
        await self._flights.close()

    async def _from_network(self, name: IconName) -> Picture:
        if await self._offline():
            raise NotCached(f"Icon {name} is not cached", siblings={"fallbackIcon": FALLBACK_CLASS})
        if self._missing.get(name, 0) > self._clock.monotonic():
            raise _not_found(name)
        try:
            async with asyncio.timeout(self.options.in_flight_timeout_s):
                return await self._flights.run(name, lambda: self._deliver(name))
        except TimeoutError as error:
            raise _unable(name) from error

    async def _deliver(self, name: IconName) -> Picture:
        """One delivery, whoever waits for it; none when another one ended between a look and this."""
        found = await asyncio.to_thread(self._cache.read, name)
        if found is not None and found.fresh:
            return Picture(found.content, name.source.media_type)
        try:
            content = await self._delivery.get(name)
            if content is not None:
                content = await asyncio.to_thread(checked, name, content)
        except Undelivered as error:
            log.warning("icons.undelivered", icon=str(name), reason=str(error))
            raise _unable(name) from error
        if content is None:
            self._note_missing(name)
            raise _not_found(name)
        await self._keep(name, content)
        return Picture(content, name.source.media_type)

    async def _keep(self, name: IconName, content: bytes) -> None:
        """A full disk must not hide an icon that was delivered."""
        try:
            await asyncio.to_thread(self._cache.write, name, content)
        except OSError as error:
            log.warning("icons.not_kept", icon=str(name), reason=str(error))

    def _note_missing(self, name: IconName) -> None:
        """Do not ask again for a while: a dashboard asks for every icon at every visit."""
        self._missing[name] = self._clock.monotonic() + MISSING_S
        self._missing.move_to_end(name)
        while len(self._missing) > MISSING_KEPT:
            self._missing.popitem(last=False)


class NotCached(NotFound):
    """The instance stays off the internet, and the icon is not on disk."""

    code = "icon-not-cached"


def _not_found(name: IconName) -> NotFound:
    return NotFound(f"Icon {name} was not found", siblings={"fallbackIcon": FALLBACK_CLASS})


def _unable(name: IconName) -> BadGateway:
    return BadGateway(f"Unable to fetch icon {name}")


def own_icon(name: IconName) -> Picture | None:
    """An icon that comes with Drydock; they live among those of `selfhst`."""
    if name.source.name != "selfhst":
        return None
    content = _own_files().get(name.file)
    return Picture(content, name.source.media_type) if content is not None else None


@cache
def _own_files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in _OWN.iterdir()}


def fallback() -> Picture:
    """A container, drawn by ourselves, for what has no icon."""
    return Picture(_own_files()["container.svg"], "image/svg+xml")
