"""Triggers: the list, those of a container, and running one (notifications.md §11, container-api.md §5.2, §5.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from litestar import Response, Router, get, post
from litestar.openapi.spec import Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import FromPath

from drydock.api import components
from drydock.api.access import READ, UPDATE
from drydock.api.openapi import document, fields, problems, reads
from drydock.api.request import ApiRequest
from drydock.core.component import Component
from drydock.core.errors import BadRequest, NotFound
from drydock.notify.catalog import strict
from drydock.notify.room import Notifications

JSON = "application/json"
_WORD = Schema(type=OpenAPIType.STRING, min_length=1)


class TriggerMetadata(msgspec.Struct, rename="camel"):
    """What a trigger is for."""

    category: Literal["action", "notification"]


class AssociatedTrigger(msgspec.Struct, omit_defaults=True, rename="camel"):
    """A trigger that may act on a container; `configuration.threshold` is the one its labels set."""

    id: str
    type: str
    name: str
    configuration: dict[str, Any]
    metadata: TriggerMetadata
    agent: str | None = None
    resolved_state: Literal["blocked", "manual", "auto"] | None = None


class AssociatedTriggers(msgspec.Struct):
    """All triggers of a container."""

    data: Sequence[AssociatedTrigger]
    total: int


class Started(msgspec.Struct, rename="camel"):
    """The update goes on in the background; follow it by `operationId`."""

    operation_id: str


def listed(notifications: Notifications) -> list[Component]:
    """Every trigger, secrets masked."""
    return [
        Component(
            id=one.id,
            type=one.type,
            name=one.name,
            agent=one.agent,
            configuration=one.configuration,
            metadata={"category": one.category},
        )
        for one in notifications.catalog.all()
    ]


def without_addresses(notifications: Notifications) -> list[Component]:
    """The same for the debug dump, which leaves the house: where messages go stays in it."""
    return [msgspec.structs.replace(one, configuration=strict(one.configuration)) for one in listed(notifications)]


@get(
    "/{container_id:str}/triggers",
    opt=READ,
    responses=problems(404, _200=document(AssociatedTriggers, "By type, then name")),
)
async def of_container(request: ApiRequest, container_id: FromPath[str]) -> AssociatedTriggers:
    """The triggers that are associated with a container."""
    container = request.services.fleet.need(container_id)
    data = [
        AssociatedTrigger(
            id=one.id,
            type=one.type,
            name=one.name,
            configuration=one.configuration,
            metadata=TriggerMetadata(one.category),
            agent=one.agent,
            resolved_state=one.resolved_state,
        )
        for one in request.services.notifications.catalog.of_container(container)
    ]
    return AssociatedTriggers(data, len(data))


def _answer(operation_id: str | None) -> Response[bytes]:
    """202 for an update that goes on, 200 `{}` for what is done."""
    if operation_id is None:
        return Response(b"{}", media_type=JSON, status_code=200)
    return Response(msgspec.json.encode(Started(operation_id)), media_type=JSON, status_code=202)


_RUN: dict[str, Any] = {
    "opt": UPDATE,
    "status_code": 200,
    "responses": problems(
        400, 404, 409, _200=document(dict[str, Any], "Delivered"), _202=document(Started, "Update accepted")
    ),
}


@post("/{container_id:str}/triggers/{type:str}/{name:str}", **_RUN)
async def run_on(
    request: ApiRequest, container_id: FromPath[str], type: FromPath[str], name: FromPath[str]
) -> Response[bytes]:
    """Run a trigger on a container, whatever rules and labels say; waits for the delivery."""
    return _answer(await request.services.notifications.run(container_id, type, name))


@post("/{container_id:str}/triggers/{type:str}/{name:str}/{agent:str}", **_RUN)
async def run_on_through(
    request: ApiRequest,
    container_id: FromPath[str],
    type: FromPath[str],
    name: FromPath[str],
    agent: FromPath[str],
) -> Response[bytes]:
    """Run a trigger of an agent on a container."""
    return _answer(await request.services.notifications.run(container_id, type, name, agent))


_DESCRIBED = reads(body=fields("id", id=_WORD, agent=_WORD, operationId=_WORD))


@post("/{type:str}/{name:str}", operation_class=_DESCRIBED, **_RUN)
async def run_with(request: ApiRequest, type: FromPath[str], name: FromPath[str]) -> Response[bytes]:
    """Run a local trigger on the container that the body describes: `{"id": …}` and anything else."""
    return _answer(await request.services.notifications.run_with(await _described(request), type, name))


@post("/{type:str}/{name:str}/{agent:str}", operation_class=_DESCRIBED, **_RUN)
async def run_with_through(
    request: ApiRequest, type: FromPath[str], name: FromPath[str], agent: FromPath[str]
) -> Response[bytes]:
    """The same through an agent. This process knows none yet."""
    del request, type, name
    raise NotFound(f"Agent {agent} not found")


async def _described(request: ApiRequest) -> dict[str, Any]:
    """The body: an object with an `id`; `agent` and `operationId`, where given, are texts too."""
    body = msgspec.json.decode(await request.body() or b"{}")
    if not isinstance(body, dict) or not _is_text(body.get("id")):
        raise BadRequest("Invalid trigger request body", hint='Send a container with at least its "id"')
    if any(name in body and not _is_text(body[name]) for name in ("agent", "operationId")):
        raise BadRequest("Invalid trigger request body", hint="agent and operationId are non-empty texts")
    return body


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


router = components.routes(
    "triggers", lambda request: listed(request.services.notifications), run_with, run_with_through
)
of_containers = Router(
    "/api/v1/containers", route_handlers=[of_container, run_on, run_on_through], tags=["Containers", "Triggers"]
)
