"""Whom release notes are asked of: GitHub, or a server that speaks the same API, and Docker Hub's descriptions. Reads only."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from yarl import URL

from drydock.core.model import ReleaseNotes
from drydock.core.secret import Secret
from drydock.core.times import from_iso, to_iso
from drydock.http.client import HttpClient, HttpRequest, TransportError
from drydock.release_notes.source import Source, mentioned

T = TypeVar("T")
PER_PAGE = 100
MOST_PAGES = 10
LARGEST_ANSWER = 10 * 1024 * 1024
ANSWER_S = 15.0
MOST_REDIRECTS = 5


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
        """As the API shows it."""
        published = from_iso(self.published_at)
        return ReleaseNotes(
            title=self.name or self.tag_name,
            body=self.body or "",
            url=self.html_url,
            published_at=to_iso(published) if published is not None else "",
            provider="github",
        )


class GitHub:
    """Releases of repositories on `host`. `url` is the base of its API; `token` is sent for trusted sources only."""

    host = "github.com"

    def __init__(self, http: HttpClient, url: str, token: Secret | None = None) -> None:
        self._http = http
        self._url = URL(url.rstrip("/"))
        self._token = token

    async def release(self, source: Source, tag: str) -> Release | None:
        """The release of a tag, or of the same tag with or without a leading `v`. Raises `Unreachable`."""
        other = tag[1:] if tag[:1] in "vV" and tag[1:2].isdigit() else f"v{tag}"
        for one in (tag, other):
            found = await self._get(source, self._releases(source) / "tags" / one)
            if found is not None:
                return convert(found, Release)
        return None

    async def releases(self, source: Source) -> list[Release]:
        """All releases, newest first, at most 1,000. Raises `Unreachable`."""
        found: list[Release] = []
        for page in range(1, MOST_PAGES + 1):
            query = {"per_page": str(PER_PAGE), "page": str(page)}
            answer = await self._get(source, self._releases(source).with_query(query))
            batch = convert(answer or [], list[Release])
            found += [release for release in batch if not release.draft]
            if len(batch) < PER_PAGE:
                break
        return found

    def _releases(self, source: Source) -> URL:
        return self._url / "repos" / source.owner / source.repository / "releases"

    async def _get(self, source: Source, url: URL) -> Any:
        headers = {"Accept": "application/vnd.github+json"}
        if self._token and source.trusted:
            headers["Authorization"] = f"Bearer {self._token.reveal()}"
        return await fetch(self._http, url, headers)


class HubDescriptions:
    """Finds the source of a Docker Hub image in its description: the one GitHub repository it links to."""

    def __init__(self, http: HttpClient, url: str) -> None:
        self._http = http
        self._url = URL(url)

    async def source(self, repository: str) -> Source | None:
        """Raises `Unreachable`."""
        url = self._url / "v2" / "repositories" / repository / ""
        found = await fetch(self._http, url, {"Accept": "application/json"})
        if not isinstance(found, dict):
            return None
        return mentioned(f"{found.get('description') or ''}\n{found.get('full_description') or ''}")


async def fetch(http: HttpClient, url: URL, headers: dict[str, str]) -> Any:
    """GET a JSON document; None for 404. Raises `Unreachable`."""
    request = HttpRequest(
        "GET", url, headers, cap=LARGEST_ANSWER, timeout_s=ANSWER_S,
        redirects=0 if "Authorization" in headers else MOST_REDIRECTS,
    )  # fmt: skip
    try:
        answer = await http.send(request)
    except TransportError as error:
        raise Unreachable(error.text) from error
    if answer.status == 404:
        return None
    if answer.status != 200:
        raise Unreachable(f"HTTP {answer.status}")
    try:
        return msgspec.json.decode(answer.body)
    except msgspec.DecodeError as error:
        raise Unreachable("the answer is not JSON") from error


def convert(value: Any, kind: type[T]) -> T:
    """`value` as `kind`. Raises `Unreachable`."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise Unreachable("an unexpected answer") from error
