"""Gives icons: from disk, from the few that come with Drydock, else from the content delivery network.

No cookie and no credential is sent there and no redirect is followed: an answer comes from the configured host or not at
all. It is checked before it is kept (platform-api.md §15).
"""

from __future__ import annotations

import asyncio
import math
import struct
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple, Self

import structlog
from yarl import URL

from drydock.clock import Clock
from drydock.config.load import Settings
from drydock.core.errors import BadGateway, DrydockError, NotFound
from drydock.http.client import HttpClient, HttpRequest, TransportError
from drydock.icons.cache import IconCache
from drydock.icons.settings import IconSettings
from drydock.icons.sources import IconName
from drydock.kernel import Kernel, Room
from drydock.single_flight import SingleFlight
from drydock.store.settings import StoreSettings

log = structlog.get_logger("icons")

FOLDER = "icons"
DELIVERY_S = 10.0
LARGEST = 2 * 1024 * 1024
FALLBACK_CLASS: Final = "fab fa-docker"
"""What an interface may draw instead, as 1.x named it."""
MISSING_S = 600.0
"""How long a missing icon is not requested again: a dashboard requests every icon at every visit."""
MISSING_KEPT = 1000

_OWN = Path(__file__).parent / "own"
_PNG = b"\x89PNG\r\n\x1a\n"


class Picture(NamedTuple):
    """An image to show."""

    content: bytes
    media_type: str


class ClearFailed(DrydockError):
    """The cache cannot be emptied; the log says why."""

    code = "icon-cache-failed"
    default = "Failed to clear icon cache"


class NotCached(NotFound):
    """The instance stays off the internet, and the icon is not on disk."""

    code = "icon-not-cached"


class Undelivered(Exception):
    """The network gave no usable answer: not the same as having no such icon. The text is for the log."""


@dataclass(frozen=True)
class Needs:
    """What icons want of others: connections, and whether the instance must stay off the internet."""

    http: HttpClient
    offline: Callable[[], Awaitable[bool]]


class Icons(Room):
    """The icons of this server. `budget`: how many icons one client may have fetched, in how many seconds."""

    def __init__(self, folder: Path, settings: IconSettings, clock: Clock, needs: Needs) -> None:
        self.budget = settings.proxy_rate_limit_max, math.ceil(settings.proxy_rate_limit_window_s)
        self._network = settings.cdn_url.rstrip("/")
        self._longest_wait_s = settings.in_flight_timeout_s
        self._cache = IconCache(folder, clock, settings)
        self._clock = clock
        self._needs = needs
        self._fetches: SingleFlight[Picture] = SingleFlight()
        self._missing: OrderedDict[IconName, float] = OrderedDict()

    @classmethod
    def build(cls, kernel: Kernel, settings: Settings, needs: Needs) -> Self:
        """Icons beside the store."""
        folder = Path(settings[StoreSettings].path) / FOLDER
        return cls(folder, settings[IconSettings], kernel.clock, needs)

    async def stop(self) -> None:
        """Cancel the fetches under way."""
        await self._fetches.close()

    async def at_hand(self, name: IconName) -> Picture | None:
        """The icon, if it is fresh on disk or comes with Drydock."""
        found = await asyncio.to_thread(self._cache.read, name)
        if found is not None and found.fresh:
            return Picture(found.content, name.source.media_type)
        own = _own_files().get(name.file) if name.source.name == "selfhst" else None
        return Picture(own, name.source.media_type) if own is not None else None

    async def fetched(self, name: IconName) -> Picture:
        """The icon from the network, kept for the next time; an old copy when the network cannot help.

        Raises `NotFound` when there is none, `BadGateway` when the network gave no usable answer.
        """
        try:
            if await self._needs.offline():
                raise NotCached(f"Icon {name} is not cached", siblings={"fallbackIcon": FALLBACK_CLASS})
            if self._missing.get(name, 0) > self._clock.monotonic():
                raise _not_found(name)
            try:
                async with asyncio.timeout(self._longest_wait_s):
                    return await self._fetches.run(name, lambda: self._fetch(name))
            except TimeoutError as error:
                raise _unable(name) from error
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

    async def _fetch(self, name: IconName) -> Picture:
        """Ask the network, check and keep the answer."""
        # another fetch may have ended since the caller looked on disk
        found = await asyncio.to_thread(self._cache.read, name)
        if found is not None and found.fresh:
            return Picture(found.content, name.source.media_type)
        try:
            content = await self._delivered(name)
        except Undelivered as error:
            log.warning("icons.undelivered", icon=str(name), reason=str(error))
            raise _unable(name) from error
        if content is None:
            self._missing[name] = self._clock.monotonic() + MISSING_S
            self._missing.move_to_end(name)
            while len(self._missing) > MISSING_KEPT:
                self._missing.popitem(last=False)
            raise _not_found(name)
        try:
            await asyncio.to_thread(self._cache.write, name, content)
        except OSError as error:  # a full disk must not hide an icon that was delivered
            log.warning("icons.not_kept", icon=str(name), reason=str(error))
        return Picture(content, name.source.media_type)

    async def _delivered(self, name: IconName) -> bytes | None:
        """What the network has under this name, made safe; None when it has no such icon. Raises `Undelivered`."""
        url = URL(f"{self._network}/{name.path}", encoded=True)
        try:
            answer = await self._needs.http.exchange(HttpRequest("GET", url, cap=LARGEST, timeout_s=DELIVERY_S))
        except TransportError as error:
            raise Undelivered(error.text) from error
        if answer.status in (403, 404):  # some networks answer 403 for what they do not have
            return None
        if answer.status != 200:
            raise Undelivered(f"HTTP {answer.status}")
        return await asyncio.to_thread(checked, name, answer.body)


def checked(name: IconName, content: bytes) -> bytes:
    """The icon as it may be kept and shown. Raises `Undelivered` when it is not what its name says."""
    if name.source.extension == "png":
        # the signature, and a first chunk that contains the size
        sized = content[12:16] == b"IHDR" and all(struct.unpack(">II", content[16:24].ljust(8, b"\0")))
        if len(content) < 33 or not content.startswith(_PNG) or not sized:
            raise Undelivered("not a PNG image")
        return content
    from drydock.icons.svg import BadSvg, sanitized  # the XML parser comes into memory with the first drawing

    try:
        return sanitized(content)
    except BadSvg as error:
        raise Undelivered(f"not a usable SVG image: {error}") from error


def _not_found(name: IconName) -> NotFound:
    return NotFound(f"Icon {name} was not found", siblings={"fallbackIcon": FALLBACK_CLASS})


def _unable(name: IconName) -> BadGateway:
    return BadGateway(f"Unable to fetch icon {name}")


@cache
def _own_files() -> dict[str, bytes]:
    """The icons that come with Drydock, by file name; they live among those of `selfhst`."""
    return {path.name: path.read_bytes() for path in _OWN.iterdir()}


def fallback() -> Picture:
    """A container, drawn by ourselves, for what has no icon."""
    return Picture(_own_files()["container.svg"], "image/svg+xml")
