"""Tag lists: pages, opaque cursors, limits, validators (registries.md §4.2, §3.4)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from yarl import URL

from drydock.core.errors import RegistryError
from drydock.core.reference import is_digest, is_tag
from drydock.core.times import to_iso
from drydock.http.client import Answer
from drydock.registries import errors
from drydock.registries.cache import DiskCache
from drydock.registries.client import Client, failed
from drydock.registries.instances import Route
from drydock.registries.transport import Account, RegistryRequest

PAGE_CAP = 32 * 1024 * 1024
MOST_PAGES = 500
MOST_TAGS = 500_000
BIG = 1024 * 1024
"""A page larger than this is parsed outside the event loop."""
MANY = 5_000
WITHOUT_N = (".pkg.dev", "gcr.io")

_LINK = re.compile(r"<([^<>]*)>([^<]*)")
_REL = re.compile(r'(?:^|;)\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,"]+))', re.IGNORECASE)


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
        # GCR and Artifact Registry list digest and upload time of each tag
        manifests = page.get("manifest")
        for digest, entry in manifests.items() if isinstance(manifests, dict) else ():
            if not is_digest(digest) or not isinstance(entry, dict):
                continue
            text, pushed = entry.get("timeUploadedMs"), None
            # 2**43 ms is the year 2248: a larger number is no upload time and would overflow a date
            if isinstance(text, str) and text.isascii() and text.isdigit() and 0 < int(text) < 1 << 43:
                pushed = to_iso(int(text))
            for tag in entry.get("tag") or ():
                if is_tag(tag):
                    self.digests[tag] = digest
                    if pushed is not None:
                        self.pushed[tag] = pushed


class TagLists:
    """Reads whole tag lists; a failure on any page fails the list."""

    def __init__(self, client: Client, cache: DiskCache) -> None:
        self._client = client
        self._cache = cache

    async def read(self, route: Route, account: Account) -> TagList:
        """All tags of the route's repository. Raises `RegistryError` and its children."""
        pages = _Pages()
        url: URL | None = self._first_url(route)
        seen: set[URL] = set()
        while url is not None:
            if url in seen:
                raise RegistryError(
                    f"{route.host}: the tag list of {route.repository} links back to a page already read"
                )
            if len(seen) >= MOST_PAGES or len(pages.names) > MOST_TAGS:
                raise RegistryError(
                    f"{route.host}: the tag list of {route.repository} is longer than {MOST_PAGES} pages"
                )
            seen.add(url)
            answer, body = await self._page(url, route, account, first=len(seen) == 1)
            try:
                decode = msgspec.json.decode
                page = await asyncio.to_thread(decode, body) if len(body) > BIG else decode(body)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                page = None
            if not isinstance(page, dict):
                raise RegistryError(f"{route.host}: invalid response to the tag list of {route.repository}")
            if isinstance(page.get("tags"), list) and len(page["tags"]) > MANY:
                await asyncio.to_thread(pages.add, page)  # so many names take more than a few milliseconds
            else:
                pages.add(page)
            url = _next(answer, route, url)
        return TagList(tuple(pages.names), pages.digests or None, pages.pushed or None)

    async def kept(self, route: Route, max_age: float, now_ms: int) -> TagList | None:
        """The list that `keep` stored, if it is at most `max_age` seconds old."""
        found = await self._cache.get("tags", "|".join(route.key))
        if found is None or not 0 <= now_ms - int(found[0]) <= max_age * 1000:
            return None
        return msgspec.json.decode(found[1], type=TagList)

    async def keep(self, route: Route, tags: TagList, now_ms: int) -> None:
        """Store a list for `kept`."""
        await self._cache.put("tags", "|".join(route.key), msgspec.json.encode(tags), str(now_ms))

    def _first_url(self, route: Route) -> URL:
        """With the largest page that the server takes; Google's take no number at all."""
        facts = self._client.facts(route.needed, route.authority)
        size = facts.page_size.get("n", route.needed.provider.page_size)
        plain = not size or route.authority.endswith(WITHOUT_N)
        return route.url("tags/list" if plain else f"tags/list?n={size}")

    async def _page(self, url: URL, route: Route, account: Account, *, first: bool) -> tuple[Answer, bytes]:
        """One page and its body, which is the kept one where the server says that it did not change."""
        key = "|".join(route.key)
        kept = await self._cache.get("list", key) if first else None
        headers = {"Accept": "application/json"}
        request = RegistryRequest("GET", url, headers, PAGE_CAP, "tags", route, account)
        validator = dict([kept[0].split(":", 1)]) if kept else {}
        answer = await self._client.request(replace(request, headers=headers | validator))
        if answer.status == 304 and kept is not None:
            return answer, kept[1]
        # some servers refuse the number and say which one they take
        refused = answer.status == 400 and errors.registry_says(answer.body)[0] == "PAGINATION_NUMBER_INVALID"
        if first and (refused or (answer.status == 405 and b"1000" in answer.body)):
            facts = self._client.facts(route.needed, route.authority)
            facts.page_size["n"] = 100 if answer.status == 405 else None
            answer = await self._client.request(replace(request, url=self._first_url(route)))
        if answer.status != 200:
            raise failed(answer, request, "tag list")
        if first:
            # a list of one page is kept with its validator, if the registry gave one
            etag, modified = answer.headers.get("ETag"), answer.headers.get("Last-Modified")
            if (etag or modified) and next_link(answer.all("Link")) is None:
                text = f"If-None-Match:{etag}" if etag else f"If-Modified-Since:{modified}"
                await self._cache.put("list", key, answer.body, text)
            elif kept is not None:
                await self._cache.drop("list", key)
        return answer, answer.body


def next_link(values: Iterable[object]) -> str | None:
    """Target of the first link whose rel contains `next`; parameters in any order, several headers or elements."""
    for value in values:
        for match in _LINK.finditer(value if isinstance(value, str) else ""):
            rel = _REL.search(match[2])
            if rel and "next" in (rel[1] or rel[2] or "").lower().split():
                return match[1].strip()
    return None


def _next(answer: Answer, route: Route, current: URL) -> URL | None:
    """The next page: path and query of the link as they are, on the server of the API and on no other."""
    target = next_link(answer.all("Link"))
    if target is None:
        return None
    try:
        link = current.join(URL(target, encoded=True))
        # the query as it came, but with only the final `last` if it holds several
        parts = link.raw_query_string.split("&")
        cursors = [index for index, part in enumerate(parts) if part.startswith("last=")]
        query = "&".join(part for index, part in enumerate(parts) if index not in cursors[:-1])
        base = URL(route.api_base)
        prefix = base.raw_path.removesuffix("/v2").rstrip("/")
        path = link.raw_path if link.raw_path.startswith(f"{prefix}/") else f"{prefix}{link.raw_path}"
        return URL(f"{base.origin()}{path}" + (f"?{query}" if query else ""), encoded=True)
    except ValueError:
        raise RegistryError(f"{route.host}: unusable link to the next page of {route.repository}") from None
