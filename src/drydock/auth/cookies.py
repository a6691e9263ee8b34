"""The session cookie: its signed value and its attributes (platform.md §5). Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Literal

from drydock.core.secret import Secret

NAME = "drydock.sid"

SameSite = Literal["strict", "lax", "none"]


class Signer:
    """Signs session ids. The first secret signs; all of them verify, so that a secret can be replaced gently."""

    def __init__(self, secrets: Sequence[Secret]) -> None:
        self._keys = [secret.reveal().encode() for secret in secrets]

    def sign(self, id: str) -> str:
        """The cookie value of a session id."""
        return f"{id}.{_signature(self._keys[0], id)}"

    def unsign(self, value: str) -> str | None:
        """The session id of a cookie value; None when this server did not sign it."""
        id, dot, given = value.rpartition(".")
        if not dot or not id or not given.isascii():
            return None
        matches = [hmac.compare_digest(_signature(key, id), given) for key in self._keys]
        return id if any(matches) else None


def _signature(key: bytes, id: str) -> str:
    digest = hmac.new(key, id.encode("utf-8", "replace"), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def read_cookie(header: str | None) -> str | None:
    """The value of the session cookie in a `Cookie` header."""
    if not header or NAME not in header:
        return None
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        if name == NAME and value:
            return _unquoted(value)
    return None


def _unquoted(value: str) -> str | None:
    try:
        jar = SimpleCookie(f"{NAME}={value}")
    except CookieError:
        return None
    return jar[NAME].value if NAME in jar else None


def set_cookie(value: str, *, same_site: SameSite, secure: bool, max_age_s: int | None) -> str:
    """The `Set-Cookie` header. Without `max_age_s` the cookie ends with the browser's session."""
    parts = [f"{NAME}={value}", "Path=/", "HttpOnly", f"SameSite={same_site.capitalize()}"]
    if max_age_s is not None:
        parts.append(f"Max-Age={max_age_s}")
    if secure or same_site == "none":
        parts.append("Secure")
    return "; ".join(parts)
