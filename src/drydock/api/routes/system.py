"""`/api/v1/app`, `/server`, `/store` and the OpenAPI document (platform-api.md §4.1, §4.2, §4.5, §16.3)."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response, Router, get

from drydock.api.access import PUBLIC, READ
from drydock.api.envelope import JSON_TYPE
from drydock.api.network import PROXY_ADVICE
from drydock.api.openapi import complete, document, problems
from drydock.api.request import ApiRequest
from drydock.api.services import LegacyInputs
from drydock.api.settings import ServerSettings


class App(msgspec.Struct):
    """What is running."""

    name: str
    version: str


@get("/app", opt=READ, tags=["System"], responses=problems(_200=document(App, "Name and version")))
async def app(request: ApiRequest) -> App:
    """Name and version of the product."""
    return App("drydock", request.services.settings.version)


@get("/server", opt=READ, tags=["System"], responses=problems())
async def server(request: ApiRequest) -> dict[str, Any]:
    """The effective server configuration, without secrets, and which old names are still in use."""
    services = request.services
    return {
        "configuration": _configuration(services.settings),
        "compatibility": {
            "legacyInputs": _legacy(services.legacy),
            "curlHealthcheckOverride": {"detected": False},
            **({"untrustedProxy": {"detected": True, "advice": PROXY_ADVICE}} if services.untrusted_proxy else {}),
        },
    }


def _configuration(settings: ServerSettings) -> dict[str, Any]:
    return {
        "enabled": settings.enabled,
        "port": settings.port,
        "cors": {
            "enabled": settings.cors_origin is not None,
            "methods": settings.cors_methods,
            **({"origin": settings.cors_origin} if settings.cors_origin else {}),
        },
        "compression": {"enabled": settings.compression, "threshold": settings.compression_threshold},
        "ui": {"enabled": settings.ui},
        "feature": {"delete": settings.delete, "containeractions": settings.container_actions},
        "cookie": {"samesite": settings.cookie_samesite},
        "trustproxy": settings.trust_proxy,
        "session": {"maxconcurrentsessions": settings.max_sessions},
        "tls": {"enabled": settings.tls},
        "webhook": {"enabled": settings.webhooks},
        "metrics": {"auth": settings.metrics_auth, "tokenConfigured": settings.metrics_token_configured},
    }


def _legacy(inputs: LegacyInputs) -> dict[str, Any]:
    sources = {
        source: {"total": inputs.totals.get(source, 0), "keys": sorted(getattr(inputs, source))}
        for source in ("env", "label", "api")
    }
    return {"total": sum(inputs.totals.values()), **sources}


@get("/store", opt=READ, tags=["System"], responses=problems())
async def store(request: ApiRequest) -> dict[str, dict[str, str]]:
    """Where the records are kept."""
    settings = request.services.settings
    return {"configuration": {"path": settings.store_path, "file": settings.store_file}}


@get("/openapi.json", opt=PUBLIC, tags=["Docs"], security=[{}], media_type=JSON_TYPE)
async def openapi_document(request: ApiRequest) -> Response[dict[str, Any]]:
    """This document."""
    return Response(_encoded(request))


def _encoded(request: ApiRequest) -> Any:
    """The document as bytes, made at the first request."""
    state = request.app.state
    if "openapi" not in state:
        state["openapi"] = msgspec.json.encode(complete(request.app.openapi_schema.to_schema()))
    return state["openapi"]


router = Router("/api/v1", route_handlers=[app, server, store, openapi_document])
