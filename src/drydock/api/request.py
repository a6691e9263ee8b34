"""The request as handlers see it: strict JSON, query, caller, services and the audit log at hand; and how lists are paged.

The query string and the pages follow container-api.md §1.11 and §1.12 for every list alike.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl, urlencode

import msgspec
from litestar import Request
from litestar.exceptions import ValidationException

from drydock.api.access import caller_of, services_of
from drydock.api.network import client_address
from drydock.api.services import Services
from drydock.auth.caller import Caller
from drydock.core.audit import AuditStatus
from drydock.core.errors import BadRequest
from drydock.core.model import Container
from drydock.updates.room import Updates

T = TypeVar("T")

_INTEGER = re.compile(r"\s*([+-]?\d+)")
_DIGITS = 18
"""Longer numbers are cut: they are clamped anyway."""


class Query:
    """Parameters in their original order; the first value of a repeated one counts, trimmed."""

    def __init__(self, raw: bytes) -> None:
        self.items = parse_qsl(raw.decode("latin-1"), keep_blank_values=True, errors="replace") if raw else []

    def text(self, name: str) -> str | None:
        """The first value, trimmed; None when absent."""
        return next((value.strip() for key, value in self.items if key == name), None)

    def every(self, name: str) -> list[str]:
        """All values of a repeated parameter."""
        return [value for key, value in self.items if key == name]

    def flag(self, name: str, default: bool = False) -> bool:
        """Exactly `true` or `false`; anything else is the default."""
        return {"true": True, "false": False}.get(self.text(name) or "", default)

    def integer(self, name: str, default: int) -> int:
        """Optional sign and leading digits (`25x` is 25); no digits is the default."""
        match = _INTEGER.match(self.text(name) or "")
        return int(match[1][:_DIGITS]) if match else default


class Page(NamedTuple):
    """Effective limit (0 = unbounded) and offset."""

    limit: int
    offset: int

    def cut(self, rows: Sequence[T]) -> Sequence[T]:
        """The rows of this page."""
        return rows[self.offset : self.offset + self.limit] if self.limit else rows[self.offset :]


LARGEST_PAGE = 200


def page(query: Query, *, default: int = 0, least: int = 0) -> Page:
    """Read `limit` (clamped to `least`…200) and `offset`; never refuses."""
    limit = min(max(query.integer("limit", default), least), LARGEST_PAGE)
    return Page(limit, max(query.integer("offset", 0), 0))


def links(path: str, query: Query, cut: Page, returned: int, total: int) -> dict[str, str]:
    """`_links` of a page: `self`, and `next` when rows remain. All other parameters are kept, first value each."""
    kept: dict[str, str] = {}
    for key, value in query.items:
        if key not in ("limit", "offset") and "[" not in key:
            kept.setdefault(key, value)
    found = {"self": f"{path}?{urlencode({**kept, 'limit': cut.limit, 'offset': cut.offset})}"}
    if cut.offset + returned < total:
        following = cut.offset + max(returned, cut.limit)
        found["next"] = f"{path}?{urlencode({**kept, 'limit': cut.limit, 'offset': following})}"
    return found


class ApiRequest(Request[Any, Any, Any]):
    """Bodies are decoded once and strictly: `"5"` is no integer, `1` is no boolean."""

    async def json(self) -> Any:
        field = self.route_handler.parsed_data_field
        try:
            return msgspec.json.decode(await self.body() or b"{}", type=field.annotation if field else object)
        except msgspec.DecodeError as error:
            raise ValidationException(str(error)) from error

    async def document(self) -> dict[str, Any]:
        """The body as an object; no body is `{}`. `BadRequest` for an array."""
        value = msgspec.json.decode(await self.body() or b"{}")
        if not isinstance(value, dict):
            raise BadRequest("The request body must be a JSON object")
        return value

    @property
    def services(self) -> Services:
        return services_of(self)

    @property
    def updates(self) -> Updates:
        return self.services.updates

    @property
    def caller(self) -> Caller:
        return caller_of(self)

    @property
    def params(self) -> Query:
        return Query(self.scope["query_string"])

    @property
    def address(self) -> str:
        """The client's address, proxies considered."""
        return client_address(self.scope, self.services.proxies)

    async def note(self, action: str, status: AuditStatus, container: Container | None = None, **facts: Any) -> None:
        """Write an audit entry with the caller, its address and its API key; `facts` are fields of the entry."""
        await self.services.audit.note(
            action,
            status,
            container=container,
            user=self.caller.name,
            ip=self.address,
            key=self.caller.key,
            **facts,
        )
