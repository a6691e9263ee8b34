"""Messages over HTTP against a real local endpoint: what is repeated, what is followed, what is said when it fails."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator

import pytest
import trustme
from aiohttp import web
from yarl import URL

from drydock import __version__
from drydock.core.secret import Secret
from drydock.http.addresses import NO_METADATA
from drydock.http.client import HttpClient, HttpRequest
from drydock.notify.model import DeliveryFailed, Message, Tools
from drydock.notify.providers.ntfy import NtfyOptions
from drydock.notify.sending import HttpChannel, json_request, pieces, send
from fakes.hook import Hook, hook
from kit.clock import SkippingClock


@pytest.fixture
async def endpoint() -> AsyncIterator[Hook]:
    async with hook() as made:
        yield made


@pytest.fixture
async def tools() -> AsyncIterator[Tools]:
    async with HttpClient(timeout_s=0.5) as http:
        yield Tools(http, SkippingClock(), {})


async def failure(tools: Tools, request: HttpRequest) -> str:
    with pytest.raises(DeliveryFailed) as caught:
        await send(request, tools)
    return caught.value.message


def guarded(url: str, proxy: str | None = None) -> HttpRequest:
    return HttpRequest("POST", URL(url), rule=NO_METADATA, proxy=proxy)


async def test_what_is_sent(tools: Tools, endpoint: Hook) -> None:
    await send(json_request(f"{endpoint.url}/a?b=1", {"ä": 1, "none": None}, {"X-One": "1"}), tools)
    (got,) = endpoint.received
    assert (got.method, got.target, got.body) == ("POST", "/a?b=1", '{"ä":1}'.encode())
    assert got.headers["User-Agent"] == f"drydock/{__version__}"
    assert got.headers["X-One"] == "1"


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_service_is_asked_again(tools: Tools, endpoint: Hook, status: int) -> None:
    endpoint.answer(status, headers={"Retry-After": "2"})
    endpoint.answer(status)
    await send(json_request(endpoint.url, {}), tools)
    assert len(endpoint.received) == 3


@pytest.mark.parametrize("status", [400, 401, 404, 500, 502, 504])
async def test_what_may_have_been_accepted_is_not_sent_twice(tools: Tools, endpoint: Hook, status: int) -> None:
    endpoint.answer(status, "why")
    assert await failure(tools, json_request(endpoint.url, {})) == f"HTTP {status} from 127.0.0.1: why"
    assert len(endpoint.received) == 1


async def test_a_service_that_stays_busy_is_a_failure(tools: Tools, endpoint: Hook) -> None:
    for _ in range(3):
        endpoint.answer(429, "slow down")
    assert await failure(tools, json_request(endpoint.url, {})) == "HTTP 429 from 127.0.0.1: slow down"
    assert len(endpoint.received) == 3


async def test_nobody_there(tools: Tools) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        said = await failure(tools, json_request(url, {}))
    assert said.startswith("Could not reach 127.0.0.1: ")


async def test_no_answer_in_time(tools: Tools) -> None:
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
        said = await failure(tools, json_request(f"http://127.0.0.1:{runner.addresses[0][1]}/", {}))
        assert said == "No answer from 127.0.0.1 within 0.5 s"
    finally:
        release.set()
        await runner.cleanup()


async def test_a_certificate_of_an_unknown_authority_is_refused_and_named(tools: Tools) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with hook(context) as endpoint:
        said = await failure(tools, json_request(endpoint.url, {}))
    assert said == "No trusted TLS connection to 127.0.0.1: unable to get local issuer certificate"
    assert endpoint.received == []


async def test_redirects_keep_method_and_body_and_lose_credentials_elsewhere(tools: Tools, endpoint: Hook) -> None:
    async with hook() as other:
        endpoint.answer(301, headers={"Location": "/b"})
        endpoint.answer(308, headers={"Location": f"{other.url}/c"})
        await send(json_request(f"{endpoint.url}/a", {"x": 1}, {"Authorization": "Bearer t0ken", "X-Kept": "1"}), tools)
        first, second = endpoint.received
        (third,) = other.received
    assert [one.target for one in (first, second, third)] == ["/a", "/b", "/c"]
    assert {one.body for one in (first, second, third)} == {b'{"x":1}'}
    assert second.headers["Authorization"] == "Bearer t0ken"
    assert "Authorization" not in third.headers
    assert third.headers["X-Kept"] == "1"


async def test_endless_redirects_end(tools: Tools, endpoint: Hook) -> None:
    for _ in range(20):
        endpoint.answer(302, headers={"Location": "/again"})
    assert await failure(tools, json_request(endpoint.url, {})) == "Could not send to 127.0.0.1: too many redirects"
    assert len(endpoint.received) == 6


async def test_secrets_are_not_repeated(tools: Tools, endpoint: Hook) -> None:
    options = NtfyOptions(auth_token=Secret("s3cret"))
    channel = HttpChannel(options, lambda _options, _message: [json_request(endpoint.url, {})], tools)
    endpoint.answer(400, "bad token s3cret, Authorization: Bearer abcdefgh\nnext")
    with pytest.raises(DeliveryFailed) as caught:
        await channel.send(Message(rule="update-available", title=None, body="", containers=()))
    assert caught.value.message == "HTTP 400 from 127.0.0.1: bad token [REDACTED], Authorization: *** next"


async def test_metadata_services_are_refused_with_the_way_out(tools: Tools) -> None:
    assert await failure(tools, guarded("http://[::ffff:a9fe:a9fe]/")) == (
        "Refused to send to ::ffff:a9fe:a9fe (::ffff:a9fe:a9fe): link-local and metadata addresses are blocked; "
        "set allowmetadata=true if this is intended"
    )


async def test_metadata_services_are_refused_behind_a_proxy_too(tools: Tools, endpoint: Hook) -> None:
    assert (await failure(tools, guarded("http://2852039166/", endpoint.url))).startswith("Refused to send to ")
    assert endpoint.received == []


async def test_a_guarded_request_reaches_its_own_network_and_uses_a_proxy(tools: Tools, endpoint: Hook) -> None:
    await send(guarded(f"{endpoint.url}/direct"), tools)
    await send(guarded("http://127.0.0.1:9/proxied", endpoint.url), tools)
    assert [one.target for one in endpoint.received] == ["/direct", "http://127.0.0.1:9/proxied"]


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
