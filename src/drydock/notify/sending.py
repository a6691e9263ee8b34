"""What providers that speak HTTP share: requests, and one way to send them with retries and readable errors (notifications.md §12).

A request is tried again only when it certainly was not accepted: no connection came about, or the service said 429 or
503. Limits, redirects, proxies and address rules are those of `http/`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
from yarl import URL

from drydock.config.components import secrets_of
from drydock.core.scrub import printable, scrub
from drydock.core.secret import MASK, Secret
from drydock.http.client import HttpRequest, TransportError
from drydock.notify.model import Channel, DeliveryFailed, Message, Tools

RETRIES_S = (1.0, 3.0)
LONGEST_WAIT_S = 10.0
"""However long a service asks to wait: a message is worth less the later it comes."""
SHOWN = 500
LARGEST_ANSWER = 64 * 1024
REDIRECTS = 5

Render = Callable[[Any, Message], Sequence[HttpRequest]]


def json_request(url: str, document: Any, headers: Mapping[str, str] | None = None, **more: Any) -> HttpRequest:
    """A POST of a JSON document; keys without a value are left out of an object."""
    if isinstance(document, dict):
        document = {key: value for key, value in document.items() if value is not None}
    headers = {"Content-Type": "application/json", **(headers or {})}
    body = msgspec.json.encode(document)
    return HttpRequest("POST", URL(url), headers, body, **{"redirects": REDIRECTS, **more})


def bearer(token: Secret) -> dict[str, str]:
    """The header of a token."""
    return {"Authorization": f"Bearer {token.reveal()}"}


def basic(user: str, password: Secret) -> dict[str, str]:
    """The header of a user name and a password."""
    pair = f"{user}:{password.reveal()}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


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


def over_http(render: Render) -> Callable[[Any, Tools], Channel]:
    """The `open` of a provider whose messages are HTTP requests."""
    return lambda settings, tools: HttpChannel(settings, render, tools)


class HttpChannel:
    """Renders a message to requests and sends them one after another; the first failure ends it."""

    def __init__(self, settings: Any, render: Render, tools: Tools) -> None:
        self._settings = settings
        self._render = render
        self._tools = tools
        self._secrets = sorted(secrets_of(settings), key=len, reverse=True)

    async def send(self, message: Message) -> None:
        """Send. Raises `DeliveryFailed` without any secret of the settings in it."""
        try:
            for request in self._render(self._settings, message):
                await send(request, self._tools)
        except DeliveryFailed as error:
            clean = scrub(error.message)
            for secret in self._secrets:
                clean = clean.replace(secret, MASK) if len(secret) > 2 else clean
            raise DeliveryFailed(printable(clean.strip(), SHOWN)) from None


async def send(request: HttpRequest, tools: Tools) -> None:
    """Send until the service accepts it or certainly does not. Raises `DeliveryFailed`."""
    request = replace(request, cap=LARGEST_ANSWER, cut=True)
    host = request.url.host or "unknown host"
    for delay in (*RETRIES_S, None):
        try:
            answer = await tools.http.send(request)
        except TransportError as error:
            unreachable = not error.connected and error.reason in ("dns", "refused", "reset")
            if not unreachable or delay is None:
                raise DeliveryFailed(_explained(error, request, tools.http.timeout_s)) from None
            await tools.clock.sleep(delay)
            continue
        if answer.status not in (429, 503) or delay is None:
            break
        asked = answer.headers.get("Retry-After", "")
        await tools.clock.sleep(min(float(asked), LONGEST_WAIT_S) if asked.isdecimal() else delay)
    if not 200 <= answer.status < 300:
        text = answer.body.decode("utf-8", "replace")
        raise DeliveryFailed(f"HTTP {answer.status} from {host}" + (f": {text}" if text.strip() else ""))


def _explained(error: TransportError, request: HttpRequest, timeout_s: float) -> str:
    host = error.url.host or "unknown host"
    if error.reason == "tls":
        return f"No trusted TLS connection to {host}: {error.text}"
    if error.reason == "timeout":
        return f"No answer from {host} within {request.timeout_s or timeout_s:g} s"
    if error.reason == "address":
        return f"Refused to send to {host} ({error.address}): {error.text}; set allowmetadata=true if this is intended"
    if not error.connected:
        return f"Could not reach {host}: {error.text}"
    return f"Could not send to {host}: {error.text}"
