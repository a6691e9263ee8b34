"""A registry that exists only for measuring: any number of repositories, a fixed delay, every request counted.

Run as a program: `python -m bench.registry PORT REPOSITORIES DELAY_MS`. `GET /-/counts` gives requests by kind since the
last `POST /-/reset`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections import Counter

from aiohttp import web

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
TAGS = ("1.0.0", "1.0.1", "1.1.0", "2.0.0", "latest")


def sha(data: bytes) -> str:
    """Digest of `data`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def config_of(repository: str, tag: str) -> bytes:
    """The image configuration of one tag."""
    created = f"2026-0{1 + TAGS.index(tag)}-01T00:00:00Z"
    document = {"architecture": "amd64", "os": "linux", "created": created, "config": {"Labels": {"r": repository}}}
    return json.dumps(document).encode()


def manifest_of(repository: str, tag: str) -> bytes:
    """The manifest of one tag."""
    config = config_of(repository, tag)
    entry = {"mediaType": CONFIG, "size": len(config), "digest": sha(config)}
    return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": entry, "layers": []}).encode()


class Registry:
    """Answers tag lists, manifests and blobs of `repositories` repositories named `team/app-N`."""

    def __init__(self, repositories: int, delay_s: float) -> None:
        self.counts: Counter[str] = Counter()
        self._delay_s = delay_s
        names = [f"team/app-{number}" for number in range(repositories)]
        self._manifests = {(name, tag): manifest_of(name, tag) for name in names for tag in TAGS}
        self._by_digest = {sha(m): m for m in self._manifests.values()}
        self._blobs = {sha(c): c for name in names for tag in TAGS if (c := config_of(name, tag))}

    def application(self) -> web.Application:
        """The HTTP application."""
        app = web.Application()
        app.router.add_get("/-/counts", self._show)
        app.router.add_post("/-/reset", self._reset)
        app.router.add_get("/v2/{name:.+}/tags/list", self._tags)
        app.router.add_route("*", "/v2/{name:.+}/manifests/{reference}", self._manifest)
        app.router.add_get("/v2/{name:.+}/blobs/{digest}", self._blob)
        return app

    async def _show(self, _request: web.Request) -> web.Response:
        return web.json_response(self.counts)

    async def _reset(self, _request: web.Request) -> web.Response:
        self.counts.clear()
        return web.json_response({})

    async def _tags(self, request: web.Request) -> web.Response:
        await self._count("tags")
        return web.json_response({"name": request.match_info["name"], "tags": list(TAGS)})

    async def _manifest(self, request: web.Request) -> web.Response:
        await self._count("head" if request.method == "HEAD" else "manifest")
        name, reference = request.match_info["name"], request.match_info["reference"]
        body = self._by_digest.get(reference) or self._manifests.get((name, reference))
        if body is None:
            return web.json_response({"errors": [{"code": "MANIFEST_UNKNOWN"}]}, status=404)
        return web.Response(body=body, content_type=MANIFEST, headers={"Docker-Content-Digest": sha(body)})

    async def _blob(self, request: web.Request) -> web.Response:
        await self._count("blob")
        return web.Response(body=self._blobs[request.match_info["digest"]])

    async def _count(self, kind: str) -> None:
        self.counts[kind] += 1
        await asyncio.sleep(self._delay_s)


if __name__ == "__main__":
    port, repositories, delay_ms = (int(argument) for argument in sys.argv[1:4])
    made = Registry(repositories, delay_ms / 1000)
    web.run_app(made.application(), host="127.0.0.1", port=port, access_log=None, print=lambda _text: None)
