"""Tag lists: pages, opaque cursors, limits, validators (registries.md §4.2, §3.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from yarl import URL

from drydock.core.errors import RegistryError
from drydock.core.times import to_iso
from drydock.registries import faults
from drydock.registries.cache import DiskCache
from drydock.registries.client import Client, HostFacts, failed
from drydock.registries.headers import next_link
from drydock.registries.hosts import authority, is_digest, is_tag
from drydock.registries.routing import Route
from drydock.registries.transport import Ask, Call
from drydock.registries.wire import Answer

PAGE_CAP = 32 * 1024 * 1024
MOST_PAGES = 500
MOST_TAGS = 500_000
BIG = 1024 * 1024
"""A page larger than this is parsed outside the event loop."""
MANY = 5_000
WITHOUT_N = (".pkg.dev", "gcr.io")


@dataclass(frozen=True)
class TagList:
    """The tags of a repository, unique, in no order. `digests` and `pushed` (ISO 8601) by tag where the list has them."""

    names: tuple[str, ...]
    digests: Mapping[str, str] | None = None
    pushed: Mapping[str, str] | None = None


class _Pages:
    """What the pages read so far add up to."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        self.digests: dict[str, str] = {}
        self.pushed: dict[str, str] = {}

    def add(self, page: dict[str, Any]) -> None:
        tags = page.get("tags")
        if tags is not None and not isinstance(tags, list):
            raise RegistryError("invalid response: tags is not a list")
        self.names.update((tag, None) for tag in tags or () if is_tag(tag))
        if isinstance(page.get("manifest"), dict):
            self._google(page["manifest"])

    def _google(self, manifests: dict[str, Any]) -> None:
        """GCR and Artifact Registry list digest and upload time of each tag."""
        for digest, entry in manifests.items():
            if not is_digest(digest) or not isinstance(entry, dict):
                continue
            for tag in entry.get("tag") or ():
                if is_tag(tag):
                    self.digests[tag] = digest
                    self._pushed(tag, entry.get("timeUploadedMs"))

    def _pushed(self, tag: str, text: object) -> None:
        if isinstance(text, str) and text.isascii() and text.isdigit() and 0 < int(text) < 1 << 43:
            self.pushed[tag] = to_iso(int(text))

    def result(self) -> TagList:
        return TagList(tuple(self.names), self.digests or None, self.pushed or None)


class Lister:
    """Reads whole tag lists; a failure on any page fails the list."""

    def __init__(self, client: Client, cache: DiskCache) -> None:
        self._client = client
        self._cache = cache

    async def tags(self, route: Route, call: Call) -> TagList:
        """All tags of the route's repository. Raises `RegistryError` and its children."""
        facts = self._client.facts(call.instance, authority(URL(route.api_base)))
        pages = _Pages()
        url: URL | None = self._first(route, call, facts)
        seen: set[URL] = set()
        while url is not None:
            _check_limits(route, url, seen, pages)
            seen.add(url)
            answer, page = await self._page(url, route, call, facts, first=len(seen) == 1)
            await _add(pages, page)
            url = _next(answer, route, url)
        return pages.result()

    async def kept(self, route: Route, call: Call, max_age: float, now_ms: int) -> TagList | None:
        """The list that `keep` stored, if it is at most `max_age` seconds old."""
        found = await self._cache.get("tags", _key(route, call))
        if found is None or not 0 <= now_ms - int(found[0]) <= max_age * 1000:
            return None
        return msgspec.json.decode(found[1], type=TagList)

    async def keep(self, route: Route, call: Call, tags: TagList, now_ms: int) -> None:
        """Store a list for `kept`."""
        await self._cache.put("tags", _key(route, call), msgspec.json.encode(tags), str(now_ms))

    def _first(self, route: Route, call: Call, facts: HostFacts) -> URL:
        size = facts.page_size.get("n", call.instance.provider.page_size)
        if call.own_host.endswith(WITHOUT_N):
            size = None
        url = f"{route.api_base}/{route.name}/tags/list"
        return URL(f"{url}?n={size}" if size else url, encoded=True)

    async def _page(
        self, url: URL, route: Route, call: Call, facts: HostFacts, *, first: bool
    ) -> tuple[Answer, dict[str, Any]]:
        key = _key(route, call)
        kept = await self._cache.get("list", key) if first else None
        answer = await self._get(url, route, call, kept[0] if kept else "")
        if answer.status == 304 and kept is not None:
            return answer, await _parse(kept[1], route)
        if first and _wants_other_size(answer):
            facts.page_size["n"] = 100 if answer.status == 405 else None
            answer = await self._get(self._first(route, call, facts), route, call, "")
        if answer.status != 200:
            raise failed(answer, route, "tag list")
        if first:
            await self._keep(key, answer, known=kept is not None)
        return answer, await _parse(answer.body, route)

    async def _get(self, url: URL, route: Route, call: Call, validator: str) -> Answer:
        headers = {"Accept": "application/json"}
        if validator:
            name, _, value = validator.partition(":")
            headers[name] = value
        return await self._client.request(Ask("GET", url, headers, PAGE_CAP, "tags"), call, route.name)

    async def _keep(self, key: str, answer: Answer, *, known: bool) -> None:
        """Keep a list of one page with its validator, if the registry gave one."""
        etag, modified = answer.headers.get("ETag"), answer.headers.get("Last-Modified")
        if (etag or modified) and next_link(answer.all("Link")) is None:
            validator = f"If-None-Match:{etag}" if etag else f"If-Modified-Since:{modified}"
            await self._cache.put("list", key, answer.body, validator)
        elif known:
            await self._cache.drop("list", key)


async def _add(pages: _Pages, page: dict[str, Any]) -> None:
    """Take a page in; a long one outside the event loop."""
    tags = page.get("tags")
    if isinstance(tags, list) and len(tags) > MANY:
        await asyncio.to_thread(pages.add, page)
    else:
        pages.add(page)


def _key(route: Route, call: Call) -> str:
    return f"{call.instance.credential_id}|{route.host}|{route.repository}"


async def _parse(body: bytes, route: Route) -> dict[str, Any]:
    try:
        decode = msgspec.json.decode
        page = await asyncio.to_thread(decode, body) if len(body) > BIG else decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        page = None
    if not isinstance(page, dict):
        raise RegistryError(f"{route.host}: invalid response to the tag list of {route.repository}")
    return page


def _next(answer: Answer, route: Route, current: URL) -> URL | None:
    """The next page: path and query of the link as they are, on the server of the API and on no other."""
    target = next_link(answer.all("Link"))
    if target is None:
        return None
    try:
        link = current.join(URL(target, encoded=True))
        query = _last_only(link.raw_query_string)
        base = URL(route.api_base)
        prefix = base.raw_path.removesuffix("/v2").rstrip("/")
        path = link.raw_path if link.raw_path.startswith(f"{prefix}/") else f"{prefix}{link.raw_path}"
        return URL(f"{base.origin()}{path}" + (f"?{query}" if query else ""), encoded=True)
    except ValueError:
        raise RegistryError(f"{route.host}: unusable link to the next page of {route.repository}") from None


def _last_only(query: str) -> str:
    """The query as it came, but with only the final `last` if it holds several."""
    parts = query.split("&")
    cursors = [index for index, part in enumerate(parts) if part.startswith("last=")]
    return "&".join(part for index, part in enumerate(parts) if index not in cursors[:-1])


def _check_limits(route: Route, url: URL, seen: set[URL], pages: _Pages) -> None:
    if url in seen:
        raise RegistryError(f"{route.host}: the tag list of {route.repository} links back to a page already read")
    if len(seen) >= MOST_PAGES or len(pages.names) > MOST_TAGS:
        raise RegistryError(f"{route.host}: the tag list of {route.repository} is longer than {MOST_PAGES} pages")


def _wants_other_size(answer: Answer) -> bool:
    if answer.status == 400:
        return faults.registry_says(answer.body)[0] == "PAGINATION_NUMBER_INVALID"
    return answer.status == 405 and b"1000" in answer.body
