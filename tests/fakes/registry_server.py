"""A registry over HTTP that has every tag of `TAGS` for every repository; it may ask for a user name and password.

For the whole product on its own (`contract/whole.py`); what registries really do is tested against `docker-registry`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

TAGS = ("1.0.0", "1.1.0", "1.2.0")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = json.dumps({"architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z", "config": {}}).encode()


def digest(data: bytes) -> str:
    """Content digest."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


@asynccontextmanager
async def registry_server(user: str | None = None, password: str = "") -> AsyncIterator[str]:
    """Serve on a free port of loopback until the end of the block; gives `host:port`."""
    login = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode() if user else None

    @web.middleware
    async def door(request: web.Request, handler: object) -> web.StreamResponse:
        if login is not None and request.headers.get("Authorization") != login:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="registry"'})
        return await handler(request)  # type: ignore[operator,no-any-return]  # aiohttp's own handler type

    made = web.Application(middlewares=[door])
    made.router.add_get("/v2/", _empty)
    made.router.add_get("/v2/{name:.+}/tags/list", _tags)
    made.router.add_get("/v2/{name:.+}/manifests/{reference}", _manifest)
    made.router.add_get("/v2/{name:.+}/blobs/{reference}", _blob)
    runner = web.AppRunner(made, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def _empty(request: web.Request) -> web.Response:
    return web.json_response({})


async def _tags(request: web.Request) -> web.Response:
    return web.json_response({"name": request.match_info["name"], "tags": list(TAGS)})


async def _manifest(request: web.Request) -> web.Response:
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "size": 1, "digest": digest(b"layer")}
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "size": len(CONFIG),
            "digest": digest(CONFIG),
        },
        "layers": [layer],
    }
    body = json.dumps(document).encode()
    headers = {"Content-Type": MANIFEST, "Docker-Content-Digest": digest(body)}
    return web.Response(body=body, headers=headers)


async def _blob(request: web.Request) -> web.Response:
    return web.Response(body=CONFIG)
