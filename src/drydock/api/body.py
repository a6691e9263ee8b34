"""The body guard in front of authentication: type, size and syntax of JSON bodies (platform-api.md §1.2 steps 3 and 4).

The raw bytes are kept in `scope["state"]["body"]`; handlers decode them once, strictly.
"""

from __future__ import annotations

import asyncio

import msgspec

from drydock.api.asgi import Message, Receive, Scope
from drydock.api.network import header
from drydock.core.errors import BadRequest, DrydockError, PayloadTooLarge, UnsupportedMediaType

API_LIMIT = 256 * 1024
AUTH_LIMIT = 64 * 1024
BODY_S = 30.0
"""How long a body may take: enough for the largest one over a poor line, too short to hold connections with."""
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class BodyTimeout(DrydockError):
    """The body did not arrive in time."""

    status = 408
    code = "body-timeout"
    default = "Request Timeout"


async def read(scope: Scope, receive: Receive, patience_s: float = BODY_S) -> Receive:
    """Read and check the body of a POST, PUT or PATCH; gives a `receive` that replays it.

    Raises `UnsupportedMediaType`, `PayloadTooLarge`, `BadRequest`, or `BodyTimeout` after `patience_s`. Other methods pass untouched.
    """
    if scope["method"] not in _WITH_BODY or not _has_body(scope):
        return receive
    if (header(scope, b"content-type") or "").split(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType()
    try:
        async with asyncio.timeout(patience_s):
            body = await _collect(scope, receive, AUTH_LIMIT if scope["path"].startswith("/auth/") else API_LIMIT)
    except TimeoutError:
        raise BodyTimeout(headers={"Connection": "close"}) from None
    _check_syntax(body)
    scope["state"]["body"] = body
    return _replay(body, receive)


def _has_body(scope: Scope) -> bool:
    return header(scope, b"transfer-encoding") is not None or (header(scope, b"content-length") or "0") != "0"


async def _collect(scope: Scope, receive: Receive, limit: int) -> bytes:
    if _declared(scope) > limit:
        raise PayloadTooLarge()
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise BadRequest("The request ended before its body was complete")
        parts.append(message.get("body", b""))
        size += len(message.get("body", b""))
        if size > limit:
            raise PayloadTooLarge()
        if not message.get("more_body"):
            return b"".join(parts)


def _declared(scope: Scope) -> int:
    text = header(scope, b"content-length") or ""
    return int(text) if text.isdecimal() else 0


def _check_syntax(body: bytes) -> None:
    if not body:
        return
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadRequest("Invalid JSON body") from None
    except RecursionError:
        raise BadRequest("Invalid JSON body: nested too deeply") from None
    if not isinstance(value, dict | list):
        raise BadRequest("Invalid JSON body: an object or array is expected")


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
