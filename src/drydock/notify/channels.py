"""What providers that speak HTTP share: a pure `render` is all that each of them brings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from drydock.config.components import secrets_of
from drydock.notify.model import Channel, Message, Tools
from drydock.notify.request import Request
from drydock.notify.sender import Sender

Render = Callable[[Any, Message], Sequence[Request]]


class HttpChannel:
    """Renders a message to requests and sends them."""

    def __init__(self, settings: Any, render: Render, tools: Tools) -> None:
        self._settings = settings
        self._render = render
        self._tools = tools
        self._secrets = secrets_of(settings)

    async def send(self, message: Message) -> None:
        """Send. Raises `DeliveryFailed`."""
        await self._tools.post(self._render(self._settings, message), self._secrets)


def over_http(render: Render) -> Callable[[Any, Tools], Channel]:
    """The `open` of a provider whose messages are HTTP requests."""

    def open(settings: Any, tools: Tools) -> Channel:
        return HttpChannel(settings, render, tools)

    return open


class ToolBox:
    """The tools of this process."""

    def __init__(self, sender: Sender, environ: Mapping[str, str]) -> None:
        self._sender = sender
        self.environ = environ

    async def post(self, requests: Sequence[Request], secrets: Sequence[str]) -> None:
        """Send requests one after another; the first failure ends it."""
        for request in requests:
            await self._sender.send(request, secrets)


def pieces(text: str, limit: int) -> list[str]:
    """`text` in pieces of at most `limit` bytes of UTF-8, cut at ends of lines where there are any."""
    found: list[str] = []
    left = text
    while len(left.encode()) > limit:
        head = left.encode()[:limit].decode("utf-8", "ignore")
        end = head.rfind("\n") + 1 or len(head)
        found.append(left[:end].rstrip("\n"))
        left = left[end:]
    return [*found, left] if left or not found else found
