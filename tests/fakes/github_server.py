"""A local server that speaks the part of the GitHub API that release notes need."""

from __future__ import annotations

from typing import Any

from aiohttp import web


class GitHubServer:
    """`releases[owner/repo]` is what it knows; `seen` what it was asked, with the Authorization header."""

    def __init__(self) -> None:
        self.releases: dict[str, list[dict[str, Any]]] = {}
        self.descriptions: dict[str, str] = {}
        self.seen: list[tuple[str, str | None]] = []
        self.status = 0
        self.body: bytes | None = None

    async def start(self) -> GitHubServer:
        """Listen on a free port of loopback; `url` is the base of its API."""
        app = web.Application()
        app.router.add_get("/repos/{owner}/{repo}/releases/tags/{tag}", self._tag)
        app.router.add_get("/repos/{owner}/{repo}/releases", self._list)
        app.router.add_get("/v2/repositories/{owner}/{repo}/", self._hub)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def stop(self) -> None:
        await self._runner.cleanup()

    def add(self, repository: str, *tags: str, **fields: Any) -> None:
        """Publish releases, the last one newest."""
        known = self.releases.setdefault(repository, [])
        for tag in tags:
            release = {
                "tag_name": tag,
                "name": f"Release {tag}",
                "body": f"What is new in {tag}",
                "html_url": f"https://github.com/{repository}/releases/tag/{tag}",
                "published_at": "2026-02-01T10:00:00Z",
                "draft": False,
            }
            known.insert(0, {**release, **fields})

    def _broken(self, request: web.Request) -> web.Response | None:
        self.seen.append((request.path_qs, request.headers.get("Authorization")))
        if self.body is not None:
            return web.Response(body=self.body, content_type="application/json")
        return web.Response(status=self.status) if self.status else None

    def _known(self, request: web.Request) -> list[dict[str, Any]]:
        return self.releases.get(f"{request.match_info['owner']}/{request.match_info['repo']}", [])

    async def _tag(self, request: web.Request) -> web.Response:
        if broken := self._broken(request):
            return broken
        found = next((one for one in self._known(request) if one["tag_name"] == request.match_info["tag"]), None)
        return web.json_response(found) if found else web.json_response({"message": "Not Found"}, status=404)

    async def _list(self, request: web.Request) -> web.Response:
        if broken := self._broken(request):
            return broken
        size, page = int(request.query["per_page"]), int(request.query["page"])
        return web.json_response(self._known(request)[(page - 1) * size : page * size])

    async def _hub(self, request: web.Request) -> web.Response:
        if broken := self._broken(request):
            return broken
        name = f"{request.match_info['owner']}/{request.match_info['repo']}"
        return web.json_response({"full_description": self.descriptions.get(name, "")})
