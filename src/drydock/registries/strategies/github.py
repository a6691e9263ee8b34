"""Push dates from GitHub Packages, for ghcr.io and lscr.io (registries.md §7.3).

The API needs a token even for public packages, so nothing is asked without one.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import structlog
from yarl import URL

from drydock.registries import faults
from drydock.registries.headers import next_link
from drydock.registries.hosts import origin
from drydock.registries.routing import Route
from drydock.registries.strategies.dates import METADATA_CAP, Send, decode, valid
from drydock.registries.transport import Ask, Call
from drydock.registries.wire import Answer

log = structlog.get_logger("registries")
API = "https://api.github.com"
OWNER_KINDS = ("orgs", "users")


async def push_date(send: Send, route: Route, tag: str, call: Call, max_pages: int) -> str | None:
    """`updated_at` of the package version that carries the tag."""
    token = call.instance.get("token")
    owner, _, package = route.repository.partition("/")
    if not token or not package:
        return None
    headers = {"Accept": "application/vnd.github+json", "Authorization": f"Bearer {token}"}
    for kind in OWNER_KINDS:
        path = f"/{kind}/{quote(owner, safe='')}/packages/container/{quote(package, safe='')}/versions?per_page=100"
        url: URL | None = URL(API + path, encoded=True)
        for _ in range(max_pages):
            assert url is not None, "the loop ends with the last page"
            answer = await send(Ask("GET", url, headers, METADATA_CAP, "metadata"), call)
            if answer.status == 404:
                break
            if answer.status != 200:
                raise faults.unexpected("api.github.com", f"package {route.repository}", answer.status, answer.body)
            date = _find(decode(answer), tag)
            url = _next(answer)
            if date or url is None:
                return date
        else:
            log.warning("registries.github_pages_capped", package=route.repository, pages=max_pages)
            return None
    return None


def _find(versions: Any, tag: str) -> str | None:
    for version in versions if isinstance(versions, list) else ():
        try:
            if tag in version["metadata"]["container"]["tags"]:
                return valid(version.get("updated_at"))
        except (LookupError, TypeError, AttributeError):
            continue
    return None


def _next(answer: Answer) -> URL | None:
    """The next page on the same server; a link elsewhere ends the walk."""
    link = next_link(answer.all("Link"))
    if link is None:
        return None
    target = answer.url.join(URL(link, encoded=True))
    if origin(target) == origin(answer.url):
        return target
    log.warning("registries.github_link_untrusted", host=faults.clean(target.host))
    return None
