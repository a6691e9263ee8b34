"""Every refusal in one shape: `{"error": text, "details"?: {…}}` (container-api.md §1.6, platform-api.md §1.3).

The status, text and extra fields come from the class of `core.errors`; Litestar's own exceptions are translated.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from litestar import Litestar, MediaType, Request, Response
from litestar.exceptions import HTTPException, ValidationException

from drydock.api.tombstone import Removed, legacy_key, unversioned
from drydock.core import errors
from drydock.core.scrub import printable

log = structlog.get_logger("api")

JSON_TYPE = "application/json; charset=utf-8"
_SLASH_IN_REFERENCE = re.compile(r"/api/containers/.+/stats")
"""A container reference with a slash in it (dockhand-stats.md §2): the router finds no route for it."""


class Problem(msgspec.Struct, omit_defaults=True):
    """The error body as OpenAPI describes it."""

    error: str
    details: dict[str, Any] = {}


def body(error: errors.DrydockError) -> dict[str, Any]:
    """The JSON body of an error: message, siblings, and details (with the hint) when there is more to say."""
    details = {**error.details, **({"hint": error.hint} if error.hint else {})}
    return {"error": error.message, **error.siblings, **({"details": details} if details else {})}


def translate(exc: Exception, path: str) -> errors.DrydockError:
    """Turn any exception into one of the tree (`core.errors`). Unexpected ones become a bare 500; their text stays in the log."""
    if isinstance(exc, errors.DrydockError):
        return exc
    if isinstance(exc, HTTPException) and exc.status_code < 500:
        return _translate_http(exc, path)
    log.error("api.unexpected_error", path=path, exc_info=exc)
    return errors.DrydockError()


def _translate_http(exc: HTTPException, path: str) -> errors.DrydockError:
    if isinstance(exc, ValidationException):
        log.info("api.invalid_request", path=path, reason=printable(f"{exc.detail} {exc.extra}", 500))
        return errors.BadRequest()
    if exc.status_code == 404 and _SLASH_IN_REFERENCE.fullmatch(path):
        return errors.BadRequest("Invalid container ID")
    if exc.status_code == 404 and unversioned(path):
        return Removed()
    kind = _BY_STATUS.get(exc.status_code)
    if kind is errors.NotFound:
        return errors.NotFound("Route not found")
    if kind is None:
        return _Plain.of(exc.status_code)
    return kind(headers=dict(exc.headers or {}))


class _Plain(errors.DrydockError):
    """A status without its own class; the text is the reason phrase."""

    @classmethod
    def of(cls, status: int) -> _Plain:
        made = cls(HTTPStatus(status).phrase)
        made.status = status  # type: ignore[misc]  # the one class whose status is data
        return made


_BY_STATUS: dict[int, type[errors.DrydockError]] = {
    kind.status: kind
    for kind in (
        errors.BadRequest,
        errors.Unauthorized,
        errors.Forbidden,
        errors.NotFound,
        errors.MethodNotAllowed,
        errors.PayloadTooLarge,
        errors.UnsupportedMediaType,
        errors.TooManyRequests,
    )
}


def count_removed(app: Litestar, scope: Any, error: errors.DrydockError) -> None:
    """Count a hit on a path of the removed API."""
    if isinstance(error, Removed):
        key = legacy_key(scope["path"], (route.path_format for route in app.routes))
        scope["state"]["services"].legacy.count("api", key)


def handle(request: Request[Any, Any, Any], exc: Exception) -> Response[Any]:
    """Litestar's exception handler for everything."""
    path = request.scope["path"]
    error = translate(exc, path)
    count_removed(request.app, request.scope, error)
    return Response(
        content=msgspec.json.encode(body(error)),
        status_code=error.status,
        headers=error.headers,
        media_type=MediaType.JSON,
    )
