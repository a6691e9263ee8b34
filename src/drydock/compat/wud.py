"""The routes of the unversioned API that WUD clients still find when asked for (platform-api.md §17).

A shimmed request is carried to its `/api/v1` twin before anything else handles it, so that sign-in, limits, origin check and
validation are the same; on the way back a page of results becomes the bare list that WUD clients read.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from drydock.api.asgi import App, Message, Receive, Scope, Send

_ID = r"[^/]+"
_FULL_ID = r"[0-9a-f]{64}"

SHIMMED: Final[tuple[tuple[str, re.Pattern[str]], ...]] = tuple(
    (method, re.compile(pattern))
    for method, pattern in (
        ("GET", "/api/containers"),
        ("GET", f"/api/containers/{_ID}/triggers"),
        ("POST", "/api/containers/watch"),
        ("POST", f"/api/containers/{_ID}/triggers/{_ID}/{_ID}"),
        # read by Heimdall, Glance scripts and the like
        ("GET", f"/api/containers/{_FULL_ID}"),
        ("GET", "/api/app"),
        ("GET", "/api/watchers"),
        ("GET", "/api/registries"),
        ("GET", "/api/triggers"),
    )
)
"""Methods and paths that are answered, exactly as written: no trailing slash, no agent."""
_ENVELOPE: Final = frozenset({"data", "total", "limit", "offset", "hasMore", "_links"})


def shim(app: App) -> App:
    """`app` for WUD clients too; wrap the outermost layer, and its innermost in `bare_lists`."""

    async def carried(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _is_shimmed(scope["method"], scope["path"]):
            path = "/api/v1" + scope["path"].removeprefix("/api")
            state = {**(scope.get("state") or {}), "bare": True}
            scope = {**scope, "path": path, "raw_path": path.encode(), "state": state}
        await app(scope, receive, send)

    return carried


def _is_shimmed(method: str, path: str) -> bool:
    method = "GET" if method == "HEAD" else method
    return any(method == wanted and pattern.fullmatch(path) for wanted, pattern in SHIMMED)


def bare_lists(app: App) -> App:
    """`app`, whose pages become their `data` for requests that came through the shim."""

    async def reshaped(scope: Scope, receive: Receive, send: Send) -> None:
        bare = scope["type"] == "http" and scope["state"].get("bare")
        await app(scope, receive, _Reshaper(send).send if bare else send)

    return reshaped


class _Reshaper:
    """Holds one answer until it is complete."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message = {}
        self._body = bytearray()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        self._body += message.get("body", b"")
        if not message.get("more_body"):
            content = bare(bytes(self._body))
            kept = [pair for pair in self._start["headers"] if pair[0].lower() != b"content-length"]
            length = (b"content-length", str(len(content)).encode())
            await self._send({**self._start, "headers": [*kept, length]})
            await self._send({**message, "body": content})


def bare(body: bytes) -> bytes:
    """The list within a page; any other body as it is."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        return body
    data, total = bytes(fields.get("data", b"")), bytes(fields.get("total", b""))
    page = data.startswith(b"[") and total[:1].isdigit() and set(fields) <= _ENVELOPE
    return data if page else body
