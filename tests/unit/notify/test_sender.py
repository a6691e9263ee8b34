"""Messages over HTTP against a real local endpoint: what is repeated, what is followed, what is said when it fails."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator

import pytest
import trustme
from aiohttp import web

from drydock.notify.addresses import is_blocked
from drydock.notify.channels import pieces
from drydock.notify.model import DeliveryFailed
from drydock.notify.request import Request, json_request
from drydock.notify.sender import Sender, open_sender
from fakes.hook import Hook, hook
from kit.clock import SkippingClock


@pytest.fixture
async def endpoint() -> AsyncIterator[Hook]:
    async with hook() as made:
        yield made


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    async with open_sender("9.9", SkippingClock(), timeout_s=0.5, proxy=lambda _: None) as made:
        yield made


async def failure(sender: Sender, request: Request, *secrets: str) -> str:
    with pytest.raises(DeliveryFailed) as caught:
        await sender.send(request, secrets)
    return caught.value.message


async def test_what_is_sent(sender: Sender, endpoint: Hook) -> None:
    await sender.send(json_request(f"{endpoint.url}/a?b=1", {"ä": 1, "none": None}, {"X-One": "1"}))
    (got,) = endpoint.received
    assert (got.method, got.target, got.body) == ("POST", "/a?b=1", '{"ä":1}'.encode())
    assert got.headers["User-Agent"] == "drydock/9.9"
    assert got.headers["X-One"] == "1"


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_service_is_asked_again(sender: Sender, endpoint: Hook, status: int) -> None:
    endpoint.answer(status, headers={"Retry-After": "2"})
    endpoint.answer(status)
    await sender.send(json_request(endpoint.url, {}))
    assert len(endpoint.received) == 3


@pytest.mark.parametrize("status", [400, 401, 404, 500, 502, 504])
async def test_what_may_have_been_accepted_is_not_sent_twice(sender: Sender, endpoint: Hook, status: int) -> None:
    endpoint.answer(status, "why")
    assert await failure(sender, json_request(endpoint.url, {})) == f"HTTP {status} from 127.0.0.1: why"
    assert len(endpoint.received) == 1


async def test_a_service_that_stays_busy_is_a_failure(sender: Sender, endpoint: Hook) -> None:
    for _ in range(3):
        endpoint.answer(429, "slow down")
    assert await failure(sender, json_request(endpoint.url, {})) == "HTTP 429 from 127.0.0.1: slow down"
    assert len(endpoint.received) == 3


async def test_nobody_there(sender: Sender) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        said = await failure(sender, json_request(url, {}))
    assert said.startswith("Could not reach 127.0.0.1: ")


async def test_no_answer_in_time(sender: Sender) -> None:
    release = asyncio.Event()

    async def hold(_: web.Request) -> web.Response:
        await release.wait()
        return web.Response()

    app = web.Application()
    app.router.add_post("/", hold)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        said = await failure(sender, json_request(f"http://127.0.0.1:{runner.addresses[0][1]}/", {}))
        assert said == "No answer from 127.0.0.1 within 0.5 s"
    finally:
        release.set()
        await runner.cleanup()


async def test_a_certificate_of_an_unknown_authority_is_refused_and_named(sender: Sender) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with hook(context) as endpoint:
        said = await failure(sender, json_request(endpoint.url, {}))
    assert said == "No trusted TLS connection to 127.0.0.1: unable to get local issuer certificate"
    assert endpoint.received == []


async def test_redirects_keep_method_and_body_and_lose_credentials_elsewhere(sender: Sender, endpoint: Hook) -> None:
    async with hook() as other:
        endpoint.answer(301, headers={"Location": "/b"})
        endpoint.answer(308, headers={"Location": f"{other.url}/c"})
        await sender.send(json_request(f"{endpoint.url}/a", {"x": 1}, {"Authorization": "Bearer t0ken", "X-Kept": "1"}))
        first, second = endpoint.received
        (third,) = other.received
    assert [one.target for one in (first, second, third)] == ["/a", "/b", "/c"]
    assert {one.body for one in (first, second, third)} == {b'{"x":1}'}
    assert second.headers["Authorization"] == "Bearer t0ken"
    assert "Authorization" not in third.headers
    assert third.headers["X-Kept"] == "1"


async def test_endless_redirects_end(sender: Sender, endpoint: Hook) -> None:
    for _ in range(20):
        endpoint.answer(302, headers={"Location": "/again"})
    assert await failure(sender, json_request(endpoint.url, {})) == "Too many redirects from 127.0.0.1"
    assert len(endpoint.received) == 6


async def test_secrets_are_not_repeated(sender: Sender, endpoint: Hook) -> None:
    endpoint.answer(400, "bad token s3cret, Authorization: Bearer abcdefgh\nnext")
    said = await failure(sender, json_request(endpoint.url, {}), "s3cret")
    assert said == "HTTP 400 from 127.0.0.1: bad token [REDACTED], Authorization: *** next"


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest",
        "http://[fe80::1]/",
        "http://[fd00:ec2::254]/",
        "http://[::ffff:169.254.169.254]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://[0:0:0:0:0:FFFF:A9FE:A9FE]/",
        "http://[::169.254.169.254]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://2852039166/",
        "http://0xa9fea9fe/",
        "http://0251.0376.0251.0376/",
    ],
)
async def test_metadata_services_are_refused_in_every_spelling(sender: Sender, url: str) -> None:
    said = await failure(sender, Request(url=url, guarded=True))
    assert said.startswith("Refused to send to ")
    assert "allowmetadata=true" in said


async def test_metadata_services_are_refused_behind_a_proxy_too(sender: Sender, endpoint: Hook) -> None:
    request = Request(url="http://2852039166/", guarded=True, proxy=endpoint.url)
    assert (await failure(sender, request)).startswith("Refused to send to ")
    assert endpoint.received == []


async def test_a_guarded_request_reaches_its_own_network_and_uses_a_proxy(sender: Sender, endpoint: Hook) -> None:
    await sender.send(Request(url=f"{endpoint.url}/direct", guarded=True))
    await sender.send(Request(url="http://127.0.0.1:9/proxied", guarded=True, proxy=endpoint.url))
    assert [one.target for one in endpoint.received] == ["/direct", "http://127.0.0.1:9/proxied"]


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "192.168.1.1", "8.8.8.8", "::1", "fd00::1", "no address"])
def test_other_addresses_are_allowed(address: str) -> None:
    assert not is_blocked(address)


@pytest.mark.parametrize(
    ("text", "limit", "parts"),
    [
        ("", 4, [""]),
        ("abcd", 4, ["abcd"]),
        ("abcde", 4, ["abcd", "e"]),
        ("ab\ncd\nef", 6, ["ab\ncd", "ef"]),
        ("äöü", 4, ["äö", "ü"]),
        ("ab\n", 2, ["ab", "\n"]),
    ],
)
def test_long_texts_come_in_pieces(text: str, limit: int, parts: list[str]) -> None:
    assert pieces(text, limit) == parts
