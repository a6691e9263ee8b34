"""When a tag was pushed, queried from the vendors that publish it: Docker Hub and GitHub Packages (registries.md §7.3).

`SOURCES` is the explicit list; where a provider has none, the image's own build date counts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote

import msgspec
import structlog
from yarl import URL

from drydock.core.errors import RegistryError
from drydock.core.times import from_iso
from drydock.http.client import Answer
from drydock.registries import errors
from drydock.registries.instances import Route
from drydock.registries.spec import DateSource
from drydock.registries.tag_lists import next_link
from drydock.registries.transport import Account, RegistryRequest, Transport

log = structlog.get_logger("registries")

METADATA_CAP = 4 * 1024 * 1024
HUB_API = "https://hub.docker.com/v2/repositories"
GITHUB_API = "https://api.github.com"
OWNER_KINDS = ("orgs", "users")

PushDate = Callable[[Transport, Route, str, Account, int], Awaitable[str | None]]
"""ISO 8601 text for a tag of a route, or None when the vendor does not know. The number bounds a walk over pages."""


async def of_hub(transport: Transport, route: Route, tag: str, account: Account, max_pages: int) -> str | None:
    """`tag_last_pushed`, else `last_updated`. The API needs no credentials and gets none."""
    del max_pages
    url = URL(f"{HUB_API}/{route.repository}/tags/{quote(tag, safe='')}", encoded=True)
    headers = {"Accept": "application/json"}
    answer = await transport.send(RegistryRequest("GET", url, headers, METADATA_CAP, "metadata", route, account))
    if answer.status == 404:
        return None
    if answer.status != 200:
        raise errors.unexpected("hub.docker.com", f"tag {tag}", answer.status, answer.body)
    document = _decode(answer)
    if not isinstance(document, dict):
        return None
    return _instant(document.get("tag_last_pushed")) or _instant(document.get("last_updated"))


async def of_github(transport: Transport, route: Route, tag: str, account: Account, max_pages: int) -> str | None:
    """`updated_at` of the package version that carries the tag, for ghcr.io and lscr.io.

    The API needs a token even for public packages, so nothing is asked without one.
    """
    token = route.needed.options.token
    owner, _, package = route.repository.partition("/")
    if not token or not package:
        return None
    headers = {"Accept": "application/vnd.github+json", "Authorization": f"Bearer {token.reveal()}"}
    for kind in OWNER_KINDS:
        path = f"/{kind}/{quote(owner, safe='')}/packages/container/{quote(package, safe='')}/versions?per_page=100"
        url = URL(GITHUB_API + path, encoded=True)
        for _ in range(max_pages):
            request = RegistryRequest("GET", url, headers, METADATA_CAP, "metadata", route, account)
            answer = await transport.send(request)
            if answer.status == 404:
                break
            if answer.status != 200:
                what = f"package {route.repository}"
                raise errors.unexpected("api.github.com", what, answer.status, answer.body)
            date = _date_of(_decode(answer), tag)
            link = next_link(answer.all("Link"))
            if date or link is None:
                return date
            url = answer.url.join(URL(link, encoded=True))
            if url.origin() != answer.url.origin():  # the token must not go anywhere else
                log.warning("registries.github_link_untrusted", host=errors.clean(url.host))
                return None
        else:
            log.warning("registries.github_pages_capped", package=route.repository, pages=max_pages)
            return None
    return None


SOURCES: Mapping[DateSource, PushDate] = {"hub": of_hub, "github": of_github}


def _date_of(versions: Any, tag: str) -> str | None:
    for version in versions if isinstance(versions, list) else ():
        try:
            if tag in version["metadata"]["container"]["tags"]:
                return _instant(version.get("updated_at"))
        except (LookupError, TypeError, AttributeError):
            continue
    return None


def _decode(answer: Answer) -> Any:
    try:
        return msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise RegistryError(f"{answer.url.host}: invalid response") from None


def _instant(value: object) -> str | None:
    return value if isinstance(value, str) and from_iso(value) is not None else None
