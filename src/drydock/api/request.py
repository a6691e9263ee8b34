"""The request as handlers see it: strict JSON, query, caller and services at hand."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request
from litestar.exceptions import ValidationException

from drydock.api.access import caller_of, services_of
from drydock.api.network import client_address
from drydock.api.query import Query
from drydock.api.services import Services
from drydock.auth.caller import Caller
from drydock.core.errors import BadRequest
from drydock.updates.room import Updates


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
