"""Releases from GitHub, or from a server that speaks the same API. Reads only; best effort."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aiohttp
import msgspec
import structlog
from yarl import URL

from drydock.core.model import ReleaseNotes
from drydock.core.secret import Secret
from drydock.core.times import from_iso, to_iso
from drydock.release_notes.source import Source

log = structlog.get_logger("notes")

PER_PAGE = 100
MOST_PAGES = 10
LARGEST_ANSWER = 10 * 1024 * 1024
SECONDS = 15.0
Proxy = Callable[[URL], str | None]


class Unreachable(Exception):
    """The provider gave no usable answer: not the same as having no such release."""


class Release(msgspec.Struct, frozen=True):
    """A release as the provider describes it."""

    tag_name: str
    name: str | None = None
    body: str | None = None
    html_url: str = ""
    published_at: str | None = None
    draft: bool = False

    def notes(self) -> ReleaseNotes:
        """As our API shows it."""
        published = from_iso(self.published_at)
        return ReleaseNotes(
            title=self.name or self.tag_name,
            body=self.body or "",
            url=self.html_url,
            published_at=to_iso(published) if published is not None else "",
            provider="github",
        )


class GitHub:
    """One provider. `url` is the base of its API; `token` is sent for trusted sources only."""

    host = "github.com"

    def __init__(
        self, session: aiohttp.ClientSession, url: str, token: Secret | None = None, proxy: Proxy | None = None
    ) -> None:
        self._session = session
        self._url = URL(url.rstrip("/"))
        self._token = token
        self._proxy = proxy

    def serves(self, source: Source) -> bool:
        """The repository lives here."""
        return source.host == self.host

    async def release(self, source: Source, tag: str) -> Release | None:
        """The release of a tag; None when there is none. Raises `Unreachable`."""
        found = await self._get(source, self._repository(source) / "releases" / "tags" / tag)
        return None if found is None else _convert(found, Release)

    async def releases(self, source: Source) -> list[Release]:
        """All releases, newest first, at most 1,000. Raises `Unreachable`."""
        found: list[Release] = []
        for page in range(1, MOST_PAGES + 1):
            query = {"per_page": str(PER_PAGE), "page": str(page)}
            answer = await self._get(source, (self._repository(source) / "releases").with_query(query))
            batch = _convert(answer or [], list[Release])
            found += [release for release in batch if not release.draft]
            if len(batch) < PER_PAGE:
                break
        return found

    def _repository(self, source: Source) -> URL:
        return self._url / "repos" / source.owner / source.repository

    async def _get(self, source: Source, url: URL) -> Any:
        """The decoded answer, None for 404."""
        headers = {"Accept": "application/vnd.github+json", "User-Agent": "drydock"}
        if self._token and source.trusted:
            headers["Authorization"] = f"Bearer {self._token.reveal()}"
        return await fetch(self._session, url, headers, self._proxy)


async def fetch(session: aiohttp.ClientSession, url: URL, headers: dict[str, str], proxy: Proxy | None = None) -> Any:
    """GET a JSON document; None for 404. Redirects are not followed with a token. Raises `Unreachable`."""
    try:
        async with session.get(
            url,
            headers=headers,
            proxy=proxy(url) if proxy else None,
            timeout=aiohttp.ClientTimeout(total=SECONDS),
            allow_redirects="Authorization" not in headers,
        ) as answer:
            if answer.status == 404:
                return None
            if answer.status != 200:
                raise Unreachable(f"HTTP {answer.status}")
            return msgspec.json.decode(await _read(answer))
    except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
        raise Unreachable(type(error).__name__) from error


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for chunk in answer.content.iter_chunked(64 * 1024):
        size += len(chunk)
        if size > LARGEST_ANSWER:
            raise Unreachable("the answer is too large")
        parts.append(chunk)
    return b"".join(parts)


def _convert(value: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise Unreachable("an answer of another shape") from error
