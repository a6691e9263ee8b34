"""Push dates from Docker Hub's tag API; it needs no credentials and gets none (registries.md §7.3)."""

from __future__ import annotations

from urllib.parse import quote

from yarl import URL

from drydock.registries import faults
from drydock.registries.routing import Route
from drydock.registries.strategies.dates import METADATA_CAP, Send, decode, valid
from drydock.registries.transport import Ask, Call

API = "https://hub.docker.com/v2/repositories"


async def push_date(send: Send, route: Route, tag: str, call: Call, max_pages: int) -> str | None:
    """`tag_last_pushed`, else `last_updated`, of one tag."""
    del max_pages
    url = URL(f"{API}/{route.repository}/tags/{quote(tag, safe='')}", encoded=True)
    answer = await send(Ask("GET", url, {"Accept": "application/json"}, METADATA_CAP, "metadata"), call)
    if answer.status == 404:
        return None
    if answer.status != 200:
        raise faults.unexpected("hub.docker.com", f"tag {tag}", answer.status, answer.body)
    document = decode(answer)
    if not isinstance(document, dict):
        return None
    return valid(document.get("tag_last_pushed")) or valid(document.get("last_updated"))
