"""Settings of the instance and preferences of a user (platform-api.md §5)."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response, Router, get, patch, put
from litestar.openapi.spec import Schema
from litestar.openapi.spec.enums import OpenAPIType

from drydock.api.access import ADMIN, READ
from drydock.api.openapi import FLAG, OBJECT, WHOLE, document, fields, problems, reads
from drydock.api.request import ApiRequest
from drydock.core.errors import BadRequest, Conflict, Forbidden
from drydock.preferences.room import API_VERSION, InstanceSettings, UserPreferences

MODES = ("notify", "manual", "auto")
PUT_RETIRED = {"Deprecation": "@1772236800", "Sunset": "Fri, 01 Jan 2027 00:00:00 GMT"}
_FLAGS = {True: True, False: False, "true": True, "false": False}


@get("/settings", opt=READ, responses=problems(_200=document(InstanceSettings, "In force")))
async def settings(request: ApiRequest) -> InstanceSettings:
    """The settings of this instance."""
    return await request.services.preferences.settings()


_BODY = reads(body=fields(internetlessMode=FLAG, updateMode=Schema(type=OpenAPIType.STRING, enum=list(MODES))))


@patch(
    "/settings",
    opt=ADMIN,
    operation_class=_BODY,
    responses=problems(400, 413, 415, _200=document(InstanceSettings, "In force now")),
)
async def change(request: ApiRequest) -> InstanceSettings:
    """Change some settings."""
    return await _change(request)


@put(
    "/settings",
    opt=ADMIN,
    operation_class=_BODY,
    deprecated=True,
    responses=problems(400, 413, 415, _200=document(InstanceSettings, "In force now")),
)
async def replace(request: ApiRequest) -> Response[InstanceSettings]:
    """The same under its old method; use PATCH."""
    return Response(await _change(request), headers=PUT_RETIRED)


async def _change(request: ApiRequest) -> InstanceSettings:
    fields = _fields(await request.document())
    changed = await request.services.preferences.change(**fields)
    details = ", ".join(f"{name}={value}" for name, value in msgspec.to_builtins(changed).items())
    await request.note("settings-changed", "success", details=details)
    return changed


def _fields(body: dict[str, Any]) -> dict[str, Any]:
    """The known keys, validated; unknown ones are ignored, but one known one must be there."""
    found: dict[str, Any] = {}
    if "internetlessMode" in body:
        value = body["internetlessMode"]
        if not isinstance(value, bool | str) or value not in _FLAGS:
            raise BadRequest()
        found["internetless_mode"] = _FLAGS[value]
    if "updateMode" in body:
        if body["updateMode"] not in MODES:
            raise BadRequest()
        found["update_mode"] = body["updateMode"]
    if not found:
        raise BadRequest()
    return found


@get("/preferences", opt=READ, responses=problems(_200=document(UserPreferences, "Your own preferences")))
async def preferences(request: ApiRequest) -> UserPreferences:
    """What one's interface keeps on the server."""
    return await request.services.preferences.of(_person(request))


@patch(
    "/preferences",
    opt=READ,
    operation_class=reads(
        body=fields(
            "apiVersion",
            "schemaVersion",
            "preferences",
            apiVersion=Schema(type=OpenAPIType.INTEGER, const=API_VERSION),
            schemaVersion=WHOLE,
            preferences=OBJECT,
        )
    ),
    responses=problems(400, 409, 413, 415, _200=document(UserPreferences, "Kept")),
)
async def keep(request: ApiRequest) -> UserPreferences:
    """Replace one's preferences as a whole; the last write wins."""
    user, body = _person(request), await request.document()
    if body.get("apiVersion") != API_VERSION or isinstance(body.get("apiVersion"), bool):
        raise Conflict("PREFERENCES_API_VERSION_MISMATCH", siblings={"supportedApiVersion": API_VERSION})
    schema, blob = body.get("schemaVersion"), body.get("preferences")
    if not isinstance(schema, int) or isinstance(schema, bool) or not isinstance(blob, dict):
        raise BadRequest()
    kept = await request.services.preferences.replace(user, schema, blob)
    request.services.live.events.send("dd:preferences-updated", {})
    return kept


def _person(request: ApiRequest) -> str:
    caller = request.caller
    if not caller.signed_in or not caller.name or caller.kind == "key":
        raise Forbidden("Sync is not available in anonymous mode")
    return caller.name


router = Router("/api/v1", route_handlers=[settings, change, replace, preferences, keep], tags=["System"])
