"""Outbound requests against real local endpoints: what is sent, followed, refused, and said when there is no answer."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from drydock.http.addresses import (
    NO_METADATA,
    PUBLIC_ONLY,
    OrderedResolver,
    is_metadata_address,
    is_public_address,
)
from drydock.http.client import HttpClient, HttpRequest, Proxies, TransportError
from drydock.http.settings import DnsMode
from drydock.http.tls import TlsFiles
from fakes.hook import Hook, hook


@pytest.fixture
async def endpoint() -> AsyncIterator[Hook]:
    async with hook() as made:
        yield made


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    async with HttpClient(timeout_s=0.5) as made:
        yield made


async def failure(client: HttpClient, request: HttpRequest) -> TransportError:
    with pytest.raises(TransportError) as caught:
        await client.send(request)
    return caught.value


def get(url: str) -> HttpRequest:
    return HttpRequest("GET", URL(url))


async def test_what_is_sent_and_answered(client: HttpClient, endpoint: Hook) -> None:
    sent: list[int] = []
    endpoint.answer(404, "no", {"X-A": "1"})
    request = replace(get(f"{endpoint.url}/a?b=1"), method="POST", body=b"x", sent=lambda: sent.append(1))
    answer = await client.send(request)
    (got,) = endpoint.received
    assert (got.method, got.target, got.body) == ("POST", "/a?b=1", b"x")
    assert got.headers["User-Agent"].startswith("drydock/")
    assert (answer.status, answer.body, answer.all("x-a"), sent) == (404, b"no", ["1"], [1])


async def test_a_body_over_the_cap_is_refused_cut_or_left(client: HttpClient, endpoint: Hook) -> None:
    for _ in range(2):
        endpoint.answer(200, "x" * 100)
    endpoint.answer(500, "x" * 100)
    request = replace(get(endpoint.url), cap=10)
    assert (await failure(client, request)).reason == "size"
    assert (await client.send(replace(request, cut=True))).body == b"x" * 10
    assert (await client.send(request)).body == b"x" * 10


async def test_redirects_keep_method_and_body_and_lose_credentials_elsewhere(
    client: HttpClient, endpoint: Hook
) -> None:
    async with hook() as other:
        endpoint.answer(301, headers={"Location": "/b"})
        endpoint.answer(308, headers={"Location": f"{other.url}/c"})
        headers = {"Authorization": "Bearer t0ken", "X-Kept": "1"}
        request = HttpRequest("POST", URL(f"{endpoint.url}/a"), headers, b"body", redirects=2)
        assert (await client.send(request)).status == 200
        first, second = endpoint.received
        (third,) = other.received
    assert [one.target for one in (first, second, third)] == ["/a", "/b", "/c"]
    assert {one.body for one in (first, second, third)} == {b"body"}
    assert second.headers["Authorization"] == "Bearer t0ken"
    assert "Authorization" not in third.headers
    assert third.headers["X-Kept"] == "1"


async def test_a_redirect_that_is_not_wanted_is_an_answer_and_endless_ones_end(
    client: HttpClient, endpoint: Hook
) -> None:
    for _ in range(4):
        endpoint.answer(302, headers={"Location": "/again"})
    assert (await client.send(get(endpoint.url))).status == 302
    assert (await failure(client, replace(get(endpoint.url), redirects=2))).text == "too many redirects"
    assert len(endpoint.received) == 4


@pytest.mark.parametrize("place", ["ftp://elsewhere/", "http://user@elsewhere/", "http://[", "javascript:x"])
async def test_a_redirect_to_an_unusable_address(client: HttpClient, endpoint: Hook, place: str) -> None:
    endpoint.answer(302, headers={"Location": place})
    said = await failure(client, replace(get(endpoint.url), redirects=1))
    assert (said.reason, said.text) == ("redirect", "redirect to an unusable address")


async def test_no_redirect_from_https_to_http(client: HttpClient, endpoint: Hook) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with hook(context) as secure:
        secure.answer(302, headers={"Location": endpoint.url})
        request = replace(get(secure.url), redirects=1, tls=TlsFiles(insecure=True))
        assert "https to http" in (await failure(client, request)).text
    assert endpoint.received == []


async def test_nobody_listens_or_the_name_is_unknown(client: HttpClient) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        said = await failure(client, get(f"http://127.0.0.1:{taken.getsockname()[1]}"))
    assert (said.reason, said.text, said.connected, said.transient) == (
        "refused", "connection refused", False, False,
    )  # fmt: skip
    said = await failure(client, get("http://name.invalid/"))
    assert (said.reason, said.connected) == ("dns", False)


async def test_no_answer_in_time(client: HttpClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = await failure(client, get(f"http://127.0.0.1:{silent.getsockname()[1]}"))
    assert (said.reason, said.text, said.transient, said.connected) == ("timeout", "timed out", True, True)


async def test_a_connection_that_is_cut(client: HttpClient) -> None:
    async def cut(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    app = web.Application()
    app.router.add_get("/", cut)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    said = await failure(client, get(f"http://127.0.0.1:{runner.addresses[0][1]}"))
    await runner.cleanup()
    assert (said.reason, said.connected, said.transient) == ("reset", True, True)


async def test_certificates_are_verified_and_files_are_used(client: HttpClient, tmp_path: Path) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    file = tmp_path / "ca.pem"
    async with hook(context) as endpoint:
        said = await failure(client, get(endpoint.url))
        assert (said.reason, said.text, said.connected) == ("tls", "unable to get local issuer certificate", False)
        request = replace(get(endpoint.url), tls=TlsFiles(cafile=str(file)))
        assert (await failure(client, request)).text.startswith(f"TLS files cannot be used ({file})")
        authority.cert_pem.write_to_path(str(file))
        assert (await client.send(request)).status == 200
        assert (await client.send(replace(request, tls=TlsFiles(insecure=True)))).status == 200


METADATA = [
    "169.254.169.254", "[fe80::1]", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]",
    "[::169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376",
]  # fmt: skip


@pytest.mark.parametrize("host", METADATA)
@pytest.mark.parametrize("proxied", [False, True])
async def test_metadata_services_are_refused_in_every_spelling(
    client: HttpClient, endpoint: Hook, host: str, proxied: bool
) -> None:
    request = replace(get(f"http://{host}/"), rule=NO_METADATA, proxy=endpoint.url if proxied else None)
    said = await failure(client, request)
    assert (said.reason, said.connected) == ("address", False)
    assert is_metadata_address(said.address)
    assert endpoint.received == []


async def test_other_places_pass_a_rule_directly_and_by_proxy(client: HttpClient, endpoint: Hook) -> None:
    await client.send(replace(get(f"{endpoint.url}/direct"), rule=NO_METADATA))
    await client.send(replace(get("http://127.0.0.1:9/proxied"), rule=NO_METADATA, proxy=endpoint.url))
    await client.send(replace(get("http://a.example/proxied"), rule=PUBLIC_ONLY, proxy=endpoint.url))
    assert [one.target for one in endpoint.received] == [
        "/direct", "http://127.0.0.1:9/proxied", "http://a.example/proxied",
    ]  # fmt: skip


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "box", "10.0.0.1", "[::1]", "2130706433"])
async def test_private_places_are_refused_by_the_public_rule(client: HttpClient, endpoint: Hook, host: str) -> None:
    direct = replace(get(f"http://{host}:{URL(endpoint.url).port}/"), rule=PUBLIC_ONLY)
    if host not in ("box", "[::1]"):
        assert (await failure(client, direct)).reason == "address"
    assert (await failure(client, replace(direct, proxy=endpoint.url))).text == "address is not public"
    assert endpoint.received == []


@pytest.mark.parametrize(
    ("address", "public", "metadata"),
    [
        ("8.8.8.8", True, False),
        ("2606:4700::1111", True, False),
        ("127.0.0.1", False, False),
        ("10.1.2.3", False, False),
        ("172.16.0.1", False, False),
        ("192.168.1.1", False, False),
        ("100.64.0.1", False, False),
        ("169.254.169.254", False, True),
        ("0.0.0.0", False, False),
        ("224.0.0.1", False, False),
        ("255.255.255.255", False, False),
        ("::1", False, False),
        ("::", False, False),
        ("fd00::1", False, False),
        ("fd00:ec2::254", False, True),
        ("fe80::1%eth0", False, True),
        ("ff02::1", False, False),
        ("::ffff:169.254.169.254", False, True),
        ("::169.254.169.254", False, True),
        ("::ffff:8.8.8.8", True, False),
        ("64:ff9b::7f00:1", False, False),
        ("64:ff9b::a9fe:a9fe", False, True),
        ("2002:7f00:1::", False, False),
        ("2002:a9fe:a9fe::", False, True),
        ("not an address", False, False),
    ],
)
def test_addresses(address: str, public: bool, metadata: bool) -> None:
    assert is_public_address(address) is public
    assert is_metadata_address(address) is metadata


@pytest.mark.parametrize(
    ("no_proxy", "url", "bypassed"),
    [
        ("*", "https://reg.example", True),
        ("reg.example", "https://reg.example", True),
        (".example", "https://reg.example", True),
        ("example", "https://reg.example", True),
        ("example:444", "https://reg.example", False),
        ("example:443", "https://reg.example", True),
        ("xample", "https://reg.example", False),
        ("", "https://reg.example", False),
        ("a,b", "https://reg.example", False),
    ],
)
def test_no_proxy(no_proxy: str, url: str, bypassed: bool) -> None:
    rules = Proxies.of({"HTTPS_PROXY": "http://proxy:3128", "no_proxy": no_proxy})
    assert (rules.for_url(URL(url)) is None) is bypassed


class Both(AbstractResolver):
    """A name with addresses of both families, the newer first."""

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list[ResolveResult]:
        pairs = (("::1", socket.AF_INET6), ("127.0.0.1", socket.AF_INET), ("::2", socket.AF_INET6))
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=0)
            for address, kind in pairs
        ]

    async def close(self) -> None:
        return None


@pytest.mark.parametrize(
    ("mode", "order"),
    [
        ("ipv4first", ["127.0.0.1", "::1", "::2"]),
        ("ipv6first", ["::1", "::2", "127.0.0.1"]),
        ("verbatim", ["::1", "127.0.0.1", "::2"]),
    ],
)
async def test_order_of_addresses(mode: DnsMode, order: list[str]) -> None:
    found = await OrderedResolver(mode, Both()).resolve("name", 1)
    assert [result["host"] for result in found] == order
