"""A reverse proxy in front of a registry that counts every request and misbehaves on demand.

Faults are tried in order, the first that matches path and method is used up once. `seen` is what tests assert on.
A dropped connection may be repeated silently by the HTTP client: answer 503 where requests are counted.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl as tls_library
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

HOP = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "content-encoding", "content-length", "host", "date", "server"}
)


@dataclass
class Fault:
    """What happens to matching requests instead of, or after, passing them on.

    `status` answers at once; `drop` breaks the connection, `cut` after so many bytes of the body; `page` pages tag
    lists with a `Link` made by `link(path, size, last)`; `remove` takes headers away; `rewrite` changes the body.
    """

    path: str
    method: str = "GET|HEAD"
    times: int = 1 << 30
    delay: float = 0.0
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    drop: bool = False
    cut: int = -1
    page: int = 0
    link: Callable[[str, int, str], str] | None = None
    remove: tuple[str, ...] = ()
    rewrite: Callable[[bytes], bytes] | None = None


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    query: str
    headers: dict[str, str]

    @property
    def kind(self) -> str:
        """What it asked for: tags, head, manifest, blob, token or other."""
        if self.path.endswith("/tags/list"):
            return "tags"
        if "/manifests/" in self.path:
            return "head" if self.method == "HEAD" else "manifest"
        return "blob" if "/blobs/" in self.path else "token" if "token" in self.path else "other"


class Proxy:
    """Passes requests on to `upstream` (a base URL, or None: only faults answer)."""

    def __init__(self, upstream: str | None = None) -> None:
        self.upstream = upstream
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.port = 0
        self.busy = 0
        self.busiest = 0

    async def start(self, ssl: tls_library.SSLContext | None = None, address: str = "127.0.0.1") -> Proxy:
        """Listen on a free port of `address`."""
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{tail:.*}", self._handle)
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, address, 0, ssl_context=ssl).start()
        self.port = self._runner.addresses[0][1]
        self.host = f"{address}:{self.port}"
        self.url = f"{'https' if ssl else 'http'}://{self.host}"
        return self

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()
        await self._session.close()

    def count(self) -> Counter[str]:
        """Requests so far by kind."""
        return Counter(seen.kind for seen in self.seen)

    def authorized(self) -> list[str]:
        """Every Authorization header that arrived."""
        return [seen.headers["Authorization"] for seen in self.seen if "Authorization" in seen.headers]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(Seen(request.method, request.path, request.rel_url.raw_query_string, dict(request.headers)))
        fault = self._fault(request)
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            if fault.delay:
                await asyncio.sleep(fault.delay)
            return await self._answer(request, fault)
        finally:
            self.busy -= 1

    async def _answer(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        if fault.drop and request.transport is not None:
            request.transport.abort()
            return web.Response()
        if fault.status or self.upstream is None:
            return web.Response(status=fault.status or 404, headers=fault.headers, body=fault.body)
        status, body, headers = await self._pass_on(request, fault)
        headers = {name: value for name, value in headers.items() if name not in fault.remove} | fault.headers
        if fault.page and status == 200 and request.path.endswith("/tags/list"):
            body = _paged(request, fault, body, headers)
        if fault.rewrite is not None:
            body = fault.rewrite(body)
        if fault.cut >= 0:
            return await _break_off(request, status, headers, body, fault.cut)
        return web.Response(status=status, body=body, headers=headers)

    def _fault(self, request: web.Request) -> Fault:
        for fault in self.faults:
            if (
                fault.times > 0
                and re.fullmatch(fault.method, request.method)
                and re.search(fault.path, request.path_qs)
            ):
                fault.times -= 1
                return fault
        return Fault("")

    async def _pass_on(self, request: web.Request, fault: Fault) -> tuple[int, bytes, dict[str, str]]:
        assert self.upstream is not None
        all_of = request.headers.getall  # an Engine sends one Accept header per media type
        headers = {k: ", ".join(all_of(k)) for k in request.headers if k.lower() not in HOP} | {"Host": request.host}
        query = {k: v for k, v in request.query.items() if not (fault.page and k in ("n", "last", "cursor"))}
        data = await request.read() or None
        url = self.upstream + request.path
        async with self._session.request(
            request.method, url, params=query, headers=headers, data=data, allow_redirects=False
        ) as answer:
            kept = {k: v for k, v in answer.headers.items() if k.lower() not in HOP}
            if request.method == "HEAD":
                kept["Content-Length"] = answer.headers.get("Content-Length", "0")
            return answer.status, await answer.read(), kept


def _paged(request: web.Request, fault: Fault, body: bytes, headers: dict[str, str]) -> bytes:
    document: dict[str, Any] = json.loads(body)
    size = min(fault.page, int(request.query.get("n", fault.page)))
    after = request.query.get("last", request.query.get("cursor", "")).removeprefix("opaque-")
    rest = [tag for tag in sorted(document["tags"] or []) if tag > after]
    document["tags"] = rest[:size]
    if len(rest) > size:
        make = fault.link or (lambda path, count, last: f'<{path}?n={count}&last={last}>; rel="next"')
        headers["Link"] = make(request.path, size, rest[size - 1])
    return json.dumps(document).encode()


async def _break_off(
    request: web.Request, status: int, headers: dict[str, str], body: bytes, cut: int
) -> web.StreamResponse:
    response = web.StreamResponse(status=status, headers=headers | {"Content-Length": str(len(body))})
    await response.prepare(request)
    await response.write(body[:cut])
    if request.transport is not None:
        request.transport.abort()
    return response
