"""Pages of tag lists: cursors, foreign links, loops, limits, validators (registries.md §4.2, §3.4)."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from drydock.core.errors import RegistryError
from drydock.registries.instances import Route
from drydock.registries.room import Registries
from lab.proxy import Fault, Proxy


def route_to(service: Registries, proxy: Proxy) -> Route:
    return service.route(proxy.host, "demo/app")


LINKS = {
    "relative": lambda path, n, last: f'<{path}?n={n}&last={last}>; rel="next"',
    "absolute": lambda path, n, last: f'<https://elsewhere.example{path}?n={n}&last={last}>; rel="next"',
    "opaque": lambda path, n, last: f"<{path}?cursor=opaque-{last}>; title=x; rel=next",
    "repeated": lambda path, n, last: f'<{path}?last=0&n={n}&last={last}>; rel="next"',
    "second element": lambda path, n, last: f'</v2/>; rel="first", <{path}?last={last}>; rel="prev next"',
}


@pytest.mark.parametrize("kind", LINKS)
async def test_all_pages_are_read(service: Registries, proxy: Proxy, pushed: Mapping[str, str], kind: str) -> None:
    proxy.faults = [Fault("/tags/list", page=1, link=LINKS[kind])]
    async with service.poll() as poll:
        assert sorted((await poll.tags(route_to(service, proxy))).names) == ["1.0", "1.1", "latest"]
    assert proxy.count() == {"tags": 3}


async def test_a_link_that_is_not_next_ends_the_list(
    service: Registries, proxy: Proxy, pushed: Mapping[str, str]
) -> None:
    proxy.faults = [Fault("/tags/list", headers={"Link": '</v2/>; rel="prev"'})]
    async with service.poll() as poll:
        await poll.tags(route_to(service, proxy))
    assert proxy.count() == {"tags": 1}


async def test_a_loop_is_an_error(service: Registries, proxy: Proxy, pushed: Mapping[str, str]) -> None:
    proxy.faults = [Fault("/tags/list", headers={"Link": '</v2/demo/app/tags/list?n=1>; rel="next"'})]
    async with service.poll() as poll:
        with pytest.raises(RegistryError, match="links back"):
            await poll.tags(route_to(service, proxy))
    assert proxy.count() == {"tags": 2}


async def test_an_error_on_page_two_fails_the_list(
    service: Registries, proxy: Proxy, pushed: Mapping[str, str]
) -> None:
    proxy.faults = [Fault("last=", status=404), Fault("/tags/list", page=1)]
    async with service.poll() as poll:
        with pytest.raises(RegistryError):
            await poll.tags(route_to(service, proxy))


@pytest.mark.parametrize(
    ("status", "body", "query"),
    [
        (400, {"errors": [{"code": "PAGINATION_NUMBER_INVALID"}]}, ""),
        (405, {"errors": [{"code": "UNSUPPORTED", "message": "must have value less than or equal to 1000"}]}, "n=100"),
    ],
)
async def test_page_size_refused(
    service: Registries,
    proxy: Proxy,
    pushed: Mapping[str, str],
    status: int,
    body: dict[str, object],
    query: str,
) -> None:
    proxy.faults = [Fault("n=1000", status=status, body=json.dumps(body).encode())]
    async with service.poll() as poll:
        assert len((await poll.tags(route_to(service, proxy))).names) == 3
    async with service.poll(not_before=float("inf")) as poll:
        await poll.tags(route_to(service, proxy))
    assert [seen.query for seen in proxy.seen] == ["n=1000", query, query]


async def test_validators_are_used(service: Registries, proxy: Proxy, pushed: Mapping[str, str]) -> None:
    proxy.faults = [
        Fault("/tags/list", times=1, headers={"ETag": '"v1"'}),
        Fault("/tags/list", status=304),
    ]
    for _ in range(2):
        async with service.poll(not_before=float("inf")) as poll:
            assert len((await poll.tags(route_to(service, proxy))).names) == 3
    assert "If-None-Match" not in proxy.seen[0].headers
    assert proxy.seen[1].headers["If-None-Match"] == '"v1"'
