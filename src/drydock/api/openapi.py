"""The OpenAPI document: information, security schemes, and helpers by which handlers describe themselves.

The document comes from the route table that the server runs (platform-api.md §16.3, container-api.md §13).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from litestar import Router
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import (
    Components,
    OpenAPIMediaType,
    OpenAPIResponse,
    Operation,
    Parameter,
    Reference,
    RequestBody,
    Schema,
    SecurityScheme,
    Server,
    Tag,
)
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType

from drydock.api.envelope import Problem

TAGS = [
    "System",
    "Authentication",
    "Containers",
    "Triggers",
    "Actions",
    "Watchers",
    "Registries",
    "Authentications",
    "Agents",
    "Notifications",
    "Audit",
    "Logs",
    "Icons",
    "Realtime",
    "Webhook",
    "Metrics",
    "Docs",
    "Portwing",
]

_SCHEMES: dict[str, SecurityScheme | Reference] = {
    "sessionAuth": SecurityScheme(type="apiKey", name="drydock.sid", security_scheme_in="cookie"),
    "webhookBearerAuth": SecurityScheme(type="http", scheme="bearer"),
    "registryWebhookSignature": SecurityScheme(type="apiKey", name="x-drydock-signature", security_scheme_in="header"),
    "metricsBearerAuth": SecurityScheme(type="http", scheme="bearer"),
}
_HIDDEN = "/-/schema"
"""Where the framework insists on serving the document too; it declares no scope, so the guard answers 404."""

Responses = dict[int, ResponseSpec]


def config(version: str) -> OpenAPIConfig:
    """Configuration of the document."""
    return OpenAPIConfig(
        title="Drydock API",
        version=version,
        servers=[Server(url="/")],
        components=Components(security_schemes=_SCHEMES),
        security=[{"sessionAuth": []}],
        tags=[Tag(name=name) for name in TAGS],
        use_handler_docstrings=True,
        render_plugins=[JsonRenderPlugin()],
        openapi_router=Router(_HIDDEN, route_handlers=[], include_in_schema=False),
    )


ANYWHERE = (400, 401, 403, 423, 429, 500, 503)
"""A NUL in path or query, not signed in, not allowed, account locked, too often, internal error, a room that does not run."""


def problems(*statuses: int, **described: ResponseSpec) -> Responses:
    """`responses=` of a handler: the error envelope for what any route may answer, and every status given."""
    found = {
        status: ResponseSpec(Problem, generate_examples=False, description=_TEXTS.get(status, "Refused"))
        for status in sorted({*ANYWHERE, *statuses})
    }
    return {**found, **{int(name.lstrip("_")): spec for name, spec in described.items()}}


def complete(found: dict[str, Any]) -> dict[str, Any]:
    """Add to every operation that may have a body what the guard in front of all of them may answer (`api.middleware`)."""
    for path in found["paths"].values():
        for method in _WITH_BODY & path.keys():
            for status in _BODY_GUARD:
                path[method]["responses"].setdefault(str(status), {"description": _TEXTS[status], "content": _PROBLEM})
    return found


_WITH_BODY = frozenset({"post", "put", "patch"})
_BODY_GUARD = (400, 408, 413, 415)
_PROBLEM = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def document(kind: Any, description: str, *, media_type: str = "application/json") -> ResponseSpec:
    """A described answer of type `kind`."""
    return ResponseSpec(kind, generate_examples=False, description=description, media_type=media_type)


_TEXTS = {
    400: "Invalid input",
    401: "Not signed in",
    403: "Switched off, or not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "The body did not arrive in time",
    409: "Conflicts with the current state",
    410: "Removed",
    413: "Too large",
    415: "Not JSON",
    422: "Cannot be done",
    426: "A WebSocket is needed",
    428: "Confirmation header missing",
    423: "The account or address is locked for a while",
    429: "Rate limit reached",
    500: "Internal error",
    501: "Not supported by this connection",
    502: "A service that was asked gave no usable answer",
    503: "Switched off or unreachable",
}


def parameter(
    name: str,
    description: str,
    *,
    kind: OpenAPIType = OpenAPIType.STRING,
    enum: Sequence[str] | None = None,
    place: str = "query",
    required: bool = False,
) -> Parameter:
    """One parameter that the handler reads by itself."""
    schema = Schema(type=kind, enum=list(enum) if enum else None)
    return Parameter(name=name, param_in=place, description=description, required=required, schema=schema)


def reads(
    *parameters: Parameter, body: RequestBody | None = None, bare: Sequence[str] = (), files: Sequence[str] = ()
) -> type[Operation]:
    """`operation_class=` of a handler that reads these parameters, or its body, by itself.

    `bare` are further media types of its 200, for clients that ask for them by `Accept`; `files` are the media types of
    which a good answer may be.
    """

    @dataclass
    class Described(Operation):
        def __post_init__(self) -> None:
            self.parameters = [*(self.parameters or []), *parameters] or None
            self.request_body = body or self.request_body
            if files:
                content = OpenAPIMediaType(Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY))
                a_file = OpenAPIResponse(description="A file", content=dict.fromkeys(files, content))
                self.responses = {**(self.responses or {}), "200": a_file}
            if bare:
                answer = (self.responses or {})["200"]
                assert isinstance(answer, OpenAPIResponse)
                answer.content = {**(answer.content or {}), **{name: OpenAPIMediaType(OBJECT) for name in bare}}

    return Described


def fields(*required: str, **properties: Schema) -> RequestBody:
    """A JSON object with these properties; the whole body may be absent when none is `required`."""
    schema = Schema(type=OpenAPIType.OBJECT, properties=dict(properties), required=list(required) or None)
    return RequestBody(content={"application/json": OpenAPIMediaType(schema)}, required=bool(required))


TEXT = Schema(type=OpenAPIType.STRING)
FLAG = Schema(type=OpenAPIType.BOOLEAN)
WHOLE = Schema(type=OpenAPIType.INTEGER)
OBJECT = Schema(type=OpenAPIType.OBJECT)
NUMBER = Schema(type=OpenAPIType.NUMBER)
TEXTS = Schema(type=OpenAPIType.ARRAY, items=TEXT)


def one_of(*values: str) -> Schema:
    """A text out of a list."""
    return Schema(type=OpenAPIType.STRING, enum=list(values))


def confirmation(token: str) -> Parameter:
    """The confirmation header of container-api.md §1.10."""
    return parameter("X-DD-Confirm-Action", "Confirms the action", enum=[token], place="header", required=True)


PAGING = (
    parameter("limit", "Rows of a page; 0 is unbounded, at most 200", kind=OpenAPIType.INTEGER),
    parameter("offset", "Rows to skip", kind=OpenAPIType.INTEGER),
)
