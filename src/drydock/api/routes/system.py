"""`/api/v1/app`, `/server`, `/store` and the OpenAPI document (platform-api.md §4.1, §4.2, §4.5, §16.3)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from litestar import Response, Router, get

from drydock.api.access import PUBLIC, READ
from drydock.api.envelope import JSON_TYPE
from drydock.api.network import PROXY_ADVICE
from drydock.api.openapi import complete, document, problems
from drydock.api.request import ApiRequest
from drydock.api.settings import PublicSettings, ServerSettings
from drydock.config.load import Settings
from drydock.fleet.counters import ContainerCounts, SecurityCounts
from drydock.metrics.settings import MetricsAccessSettings
from drydock.store.settings import StoreSettings


class App(msgspec.Struct):
    """What is running."""

    name: str
    version: str


@get("/app", opt=READ, tags=["System"], responses=problems(_200=document(App, "Name and version")))
async def app(request: ApiRequest) -> App:
    """Name and version of the product."""
    return App("drydock", request.services.settings[PublicSettings].version)


@get("/server", opt=READ, tags=["System"], responses=problems())
async def server(request: ApiRequest) -> dict[str, Any]:
    """The effective server configuration, without secrets, and which old names are still in use."""
    services = request.services
    return {
        "configuration": _configuration(services.settings),
        "compatibility": {
            "legacyInputs": services.legacy.listed(),
            "curlHealthcheckOverride": await services.curl_healthcheck(),
            **(
                {"untrustedProxy": {"detected": True, "advice": PROXY_ADVICE}}
                if services.proxies.untrusted_seen
                else {}
            ),
        },
    }


def _configuration(settings: Settings) -> dict[str, Any]:
    server, metrics = settings[ServerSettings], settings[MetricsAccessSettings]
    return {
        "enabled": server.enabled,
        "port": server.port,
        "cors": {
            "enabled": server.allowed_origin is not None,
            "methods": server.cors_methods,
            **({"origin": server.allowed_origin} if server.allowed_origin else {}),
        },
        "compression": {"enabled": server.compression, "threshold": server.compression_threshold},
        "ui": {"enabled": server.ui},
        "feature": {"delete": server.delete, "containeractions": server.container_actions},
        "cookie": {"samesite": server.cookie_samesite},
        "trustproxy": server.trust_proxy,
        "session": {"maxconcurrentsessions": server.max_sessions},
        "tls": {"enabled": server.tls},
        "webhook": {"enabled": False},
        "metrics": {"auth": metrics.metrics_auth, "tokenConfigured": metrics.metrics_token is not None},
    }


class UpdateCounts(msgspec.Struct):
    """Available updates by what changes."""

    major: int = 0
    minor: int = 0
    patch: int = 0
    prerelease: int = 0
    digest: int = 0
    unknown: int = 0


class Glance(msgspec.Struct, kw_only=True, rename="camel"):
    """Everything a small dashboard shows."""

    containers: ContainerCounts
    updates: UpdateCounts
    security: SecurityCounts
    agents: dict[str, int]
    last_watch_at: str | None


@get("/summary", opt=READ, tags=["System"], responses=problems(_200=document(Glance, "The numbers")))
async def glance(request: ApiRequest) -> Glance:
    """One small answer for dashboards: containers, updates, findings, agents, and when was looked last."""
    services = request.services
    counted = services.fleet.summary()
    updates = Counter(
        (view.update_kind.semver_diff if view.update_kind.kind == "tag" else view.update_kind.kind) or "unknown"
        for view in services.fleet.views()
        if view.update_available and view.update_kind
    )
    runs = [item.metadata.get("lastRunAt") for item in services.watching.components() if item.metadata]
    return Glance(
        containers=counted.containers,
        updates=UpdateCounts(**{str(name): count for name, count in updates.items()}),
        security=counted.security,
        agents={"total": 0, "connected": 0},
        last_watch_at=max((run for run in runs if run), default=None),
    )


@get("/store", opt=READ, tags=["System"], responses=problems())
async def store(request: ApiRequest) -> dict[str, dict[str, str]]:
    """Where the records are kept."""
    settings = request.services.settings[StoreSettings]
    return {"configuration": {"path": settings.path, "file": settings.file}}


@get("/openapi.json", opt=PUBLIC, tags=["Docs"], security=[{}], media_type=JSON_TYPE)
async def openapi_document(request: ApiRequest) -> Response[dict[str, Any]]:
    """This document."""
    state = request.app.state
    if "openapi" not in state:  # encoded at the first request
        state["openapi"] = msgspec.json.encode(complete(request.app.openapi_schema.to_schema()))
    return Response(state["openapi"])


router = Router("/api/v1", route_handlers=[app, server, store, glance, openapi_document])
