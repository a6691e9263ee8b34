"""Asking the content delivery network for an icon, and checking that it is one (platform-api.md §15).

No cookie and no credential is ever sent, and no redirect is followed: an answer comes from the configured host or not
at all.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import aiohttp
from yarl import URL

from drydock.icons.sources import IconName

SECONDS = 10.0
LARGEST = 2 * 1024 * 1024
_MISSING = frozenset({403, 404})
_PNG = b"\x89PNG\r\n\x1a\n"

Proxy = Callable[[URL], str | None]


class Undelivered(Exception):
    """The network gave no usable answer: not the same as having no such icon. The text is for the log."""


class Delivery:
    """One network. `url` is its base; `session` must carry no credentials of its own."""

    def __init__(self, session: aiohttp.ClientSession, url: str, proxy: Proxy = lambda _: None) -> None:
        self._session = session
        self._base = url.rstrip("/")
        self._proxy = proxy

    async def get(self, name: IconName) -> bytes | None:
        """What the network has under this name, not checked yet; None when it has no such icon. Raises `Undelivered`."""
        url = URL(f"{self._base}/{name.path}", encoded=True)
        try:
            async with self._session.get(
                url,
                allow_redirects=False,
                proxy=self._proxy(url),
                timeout=aiohttp.ClientTimeout(total=SECONDS),
            ) as answer:
                if answer.status in _MISSING:
                    return None
                if answer.status != 200:
                    raise Undelivered(f"it answered {answer.status}")
                return await _limited(answer)
        except TimeoutError as error:
            raise Undelivered(f"no answer within {SECONDS:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Undelivered(f"{type(error).__name__}: {error}") from error


async def _limited(answer: aiohttp.ClientResponse) -> bytes:
    """The body; more than `LARGEST` bytes, unpacked, are refused while they arrive."""
    content = bytearray()
    async for chunk in answer.content.iter_any():
        content += chunk
        if len(content) > LARGEST:
            raise Undelivered(f"it is larger than {LARGEST} bytes")
    return bytes(content)


def checked(name: IconName, content: bytes) -> bytes:
    """The icon as it may be kept and shown. Raises `Undelivered` when it is not what its name says."""
    if name.source.extension == "png":
        if not is_png(content):
            raise Undelivered("it is no PNG image")
        return content
    from drydock.icons.svg import BadSvg, sanitized  # the XML parser comes into memory with the first drawing

    try:
        return sanitized(content)
    except BadSvg as error:
        raise Undelivered(f"it is no usable SVG image: {error}") from error


def is_png(content: bytes) -> bool:
    """Signature, and a first chunk that tells a size."""
    if len(content) < 33 or not content.startswith(_PNG) or content[12:16] != b"IHDR":
        return False
    width, height = struct.unpack(">II", content[16:24])
    return bool(width and height)
