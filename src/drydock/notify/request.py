"""An HTTP request as providers describe it: data only, nothing is sent here."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from drydock.core.secret import Secret

JSON = "application/json"


@dataclass(frozen=True, kw_only=True)
class Request:
    """`guarded`: refuse link-local and cloud metadata addresses. `redirects` 0: a redirect is an error."""

    url: str = field(repr=False)
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    redirects: int = 5
    proxy: str | None = field(default=None, repr=False)
    guarded: bool = False


def json_request(url: str, document: Any, headers: Mapping[str, str] | None = None, **more: Any) -> Request:
    """A POST of a JSON document; keys without a value are left out of an object."""
    if isinstance(document, dict):
        document = {key: value for key, value in document.items() if value is not None}
    body = msgspec.json.encode(document)
    return Request(url=url, body=body, headers={"Content-Type": JSON, **(headers or {})}, **more)


def bearer(token: Secret) -> dict[str, str]:
    """The header of a token."""
    return {"Authorization": f"Bearer {token.reveal()}"}


def basic(user: str, password: Secret) -> dict[str, str]:
    """The header of a user name and a password."""
    pair = f"{user}:{password.reveal()}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
