"""An Engine that exists only for measuring: many containers that do nothing, on a Unix socket; every request counted.

Run as a program: `python -m bench.engine SOCKET CONTAINERS REPOSITORIES REGISTRY_PORT`. `GET /-/counts` gives requests by
path since the last `POST /-/reset`; `POST /-/event/N` sends a start event of container N.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections import Counter
from typing import Any

from aiohttp import web

from bench.registry import config_of, manifest_of, sha

RUNNING = "1.0.0"


class Engine:
    """Containers `c-N` over images `team/app-(N mod repositories)`, some following their tag, some pinned."""

    def __init__(self, containers: int, repositories: int, registry_port: int) -> None:
        self.counts: Counter[str] = Counter()
        self._streams: set[asyncio.Queue[bytes]] = set()
        self._documents = [self._container(n, n % repositories, registry_port) for n in range(containers)]
        self._by_id = {document["Id"]: document for document in self._documents}
        self._images = {
            self._image_id(name): self._image(name, registry_port)
            for name in (f"team/app-{n}" for n in range(repositories))
        }

    @staticmethod
    def _image_id(name: str) -> str:
        return sha(config_of(name, RUNNING))

    def _image(self, name: str, port: int) -> dict[str, Any]:
        repository = f"127.0.0.1:{port}/{name}"
        return {
            "Id": self._image_id(name),
            "RepoTags": [f"{repository}:{RUNNING}"],
            "RepoDigests": [f"{repository}@{sha(manifest_of(name, RUNNING))}"],
            "Created": "2026-01-01T00:00:00Z",
            "Architecture": "amd64",
            "Os": "linux",
            "Config": {"Labels": {}},
        }

    def _container(self, number: int, repository: int, port: int) -> dict[str, Any]:
        name = f"team/app-{repository}"
        labels = {"dd.tag.include": r"^\d+\.\d+\.\d+$"} if repository % 5 == 0 else {}
        return {
            "Id": f"{number:064x}",
            "Name": f"/c-{number}",
            "Image": self._image_id(name),
            "Created": "2026-01-01T00:00:00Z",
            "State": {"Status": "running", "Running": True, "StartedAt": "2026-01-02T00:00:00Z"},
            "Config": {
                "Image": f"127.0.0.1:{port}/{name}:{RUNNING}",
                "Env": ["PATH=/bin", "TZ=UTC", "API_TOKEN=x", f"N={number}"],
                "Labels": {
                    "com.docker.compose.project": "bench",
                    "com.docker.compose.service": f"c-{number}",
                    **labels,
                },
            },
            "NetworkSettings": {"Ports": {"8080/tcp": [{"HostIp": "0.0.0.0", "HostPort": str(10_000 + number)}]}},
            "Mounts": [{"Name": f"data-{number}", "Destination": "/data", "RW": True}],
        }

    def _entry(self, document: dict[str, Any]) -> dict[str, Any]:
        return {
            "Id": document["Id"],
            "Names": [document["Name"]],
            "Image": document["Config"]["Image"],
            "ImageID": document["Image"],
            "Created": 1_767_225_600,
            "State": document["State"]["Status"],
            "Labels": document["Config"]["Labels"],
        }

    def application(self) -> web.Application:
        """The HTTP application."""
        app = web.Application()
        app.router.add_get("/-/counts", self._show)
        app.router.add_post("/-/reset", self._reset)
        app.router.add_post("/-/event/{number}", self._event)
        app.router.add_get("/{path:.*}", self._answer)
        return app

    async def _show(self, _request: web.Request) -> web.Response:
        return web.json_response(self.counts)

    async def _reset(self, _request: web.Request) -> web.Response:
        self.counts.clear()
        return web.json_response({})

    async def _event(self, request: web.Request) -> web.Response:
        id = f"{int(request.match_info['number']):064x}"
        event = {"Type": "container", "Action": "start", "id": id, "Actor": {"ID": id}, "timeNano": time.time_ns()}
        for stream in self._streams:
            stream.put_nowait(json.dumps(event).encode() + b"\n")
        return web.json_response({})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = re.sub(r"^/v1\.\d+", "", request.path)
        self.counts[re.sub(r"[0-9a-f:]{64,}|sha256:[0-9a-f]+", "ID", path)] += 1
        if path == "/events":
            return await self._events(request)
        if path == "/version":
            return web.json_response({"ApiVersion": "1.41", "Version": "20.10", "Components": []})
        if path == "/info":
            return web.json_response({"Name": "bench"})
        if path == "/containers/json":
            return web.json_response([self._entry(document) for document in self._documents])
        if match := re.fullmatch(r"/containers/([0-9a-f]{64})/json", path):
            return web.json_response(self._by_id[match[1]])
        if match := re.fullmatch(r"/images/(.+)/json", path):
            return web.json_response(self._images[match[1]])
        return web.json_response({"message": f"no {path}"}, status=404)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response, queue = web.StreamResponse(), asyncio.Queue[bytes]()
        await response.prepare(request)
        self._streams.add(queue)
        try:
            while True:
                await response.write(await queue.get())
        finally:
            self._streams.discard(queue)


if __name__ == "__main__":
    socket, containers, repositories, port = sys.argv[1], *(int(argument) for argument in sys.argv[2:5])
    made = Engine(containers, repositories, port)
    web.run_app(made.application(), path=socket, access_log=None, print=lambda _text: None)
