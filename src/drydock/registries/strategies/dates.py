"""The interface of push-date sources (registries.md §7.3)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from drydock.core.errors import RegistryError
from drydock.core.times import from_iso
from drydock.registries.routing import Route
from drydock.registries.transport import Ask, Call
from drydock.registries.wire import Answer

METADATA_CAP = 4 * 1024 * 1024
Send = Callable[[Ask, Call], Awaitable[Answer]]


class PushDate(Protocol):
    """Asks a vendor when a tag was pushed: ISO 8601 text, or None when it does not know. `max_pages` bounds a walk."""

    async def __call__(self, send: Send, route: Route, tag: str, call: Call, max_pages: int) -> str | None: ...


def decode(answer: Answer) -> Any:
    """The JSON of a metadata answer. Raises `RegistryError`."""
    try:
        return msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise RegistryError(f"{answer.url.host}: invalid response") from None


def valid(value: object) -> str | None:
    """The text if it is an instant."""
    return value if isinstance(value, str) and from_iso(value) is not None else None
