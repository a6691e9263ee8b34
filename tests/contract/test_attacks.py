"""Attacks that fail, one test each: at the door, on the wire, in requests, and through the browser of somebody else.

What the other suites show already (session fixation, origins, scopes, replayed OpenID Connect answers) stays there:
test_auth.py, test_auth_keys.py, test_auth_oidc.py, test_auth_sockets.py.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import websockets

from contract.product import PASSWORD, Product, serve_product, user
from drydock.api.http_protocol import HEAD_BYTES, BoundedProtocol
from kit.containers import container

TOKEN = "a-token-of-16-chars"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Product]:
    async with serve_product(tmp_path, **user("admin"), **user("pat", role="viewer")) as made:
        yield made


async def raw(server: Product, *parts: bytes, close: bool = False) -> bytes:
    """What the server answers to these bytes until it closes the connection, or stays silent after an answer."""
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    answer = b""
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        async with asyncio.timeout(20):
            while chunk := await reader.read(65_536):
                answer += chunk
                if not close and b"\r\n\r\n" in answer:
                    break
    except ConnectionError:
        pass  # closed while we still wrote: what was answered counts
    finally:
        writer.close()
    return answer


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


# ── guessing ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_guessing_a_metrics_token_is_counted_and_told(tmp_path: Path) -> None:
    async with serve_product(tmp_path, DD_SERVER_METRICS_TOKEN=TOKEN, **user("admin")) as server:
        codes = [
            (await server.client().get("/metrics", headers={"Authorization": f"Bearer guess-{n}"})).status_code
            for n in range(26)
        ]
        assert codes == [401] * 24 + [423, 423]
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert (await server.client().get("/metrics", headers=right)).status_code == 200
        assert (await server.client().get("/metrics")).status_code == 401
        assert len(await server.audit("auth-login")) == 25


async def test_the_same_wrong_token_again_is_no_further_guess(server: Product) -> None:
    """A dashboard with an expired key must not lock its owner out of the same address."""
    headers = {"Authorization": f"Bearer dd_{'a' * 10}_{'k' * 43}"}
    codes = {(await server.client().get("/api/v1/app", headers=headers)).status_code for _ in range(60)}
    assert codes == {401}
    assert (await server.client().post("/auth/login", auth=("admin", PASSWORD))).status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/log/stream", "/api/v1/containers/x/logs/stream"])
async def test_guessing_through_an_upgrade_is_counted_or_ignored(server: Product, path: str) -> None:
    """The server log takes a password; container logs take the cookie alone, so that no password is looked at."""
    url = server.url.replace("http", "ws") + path
    codes = []
    for number in range(6):
        token = base64.b64encode(f"admin:guess{number}".encode()).decode()
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with websockets.connect(url, additional_headers={"Authorization": f"Basic {token}"}):
                pass
        codes.append(refused.value.response.status_code)
    counted = path == "/api/v1/log/stream"
    assert codes == ([401] * 4 + [423, 423] if counted else [401] * 6)
    after = await server.client().post("/auth/login", auth=("admin", PASSWORD))
    assert after.status_code == (423 if counted else 200)


async def test_guessing_through_the_event_stream_is_counted(server: Product) -> None:
    codes = []
    for number in range(6):
        answer = await server.client().get("/api/v1/events/ui", auth=("admin", f"guess{number}"))
        codes.append(answer.status_code)
    assert codes == [401] * 4 + [423, 423]


@pytest.mark.parametrize("path", ["//auth/login", "/auth//login", "/auth/login/", "/%61uth/login", "/auth/%6cogin"])
async def test_odd_spellings_of_the_login_route_have_the_same_budget(server: Product, path: str) -> None:
    """Whatever is routed to a sign-in handler is limited and counted as sign-in."""
    answer = status_and_headers(
        await raw(server, f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
    )
    assert answer[0] in (401, 404, 405)
    assert answer[0] == 404 or answer[1].get("ratelimit-limit") == "100"


def status_and_headers(answer: bytes) -> tuple[int, dict[str, str]]:
    head, *lines = answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    return int(head.split(" ")[1]), {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


@pytest.mark.parametrize("variant", ["ADMIN", " admin", "admin\t", "Admin", "ａdmin"])
async def test_spellings_of_the_name_do_not_dodge_the_lock(server: Product, variant: str) -> None:
    for number in range(5):
        await server.client().post("/auth/login", json={"username": variant, "password": f"guess{number}"})
    assert (await server.client().post("/auth/login", auth=("admin", PASSWORD))).status_code == 423


# ── where a request comes from ──────────────────────────────────────────────────────────────────────────────────────


async def guesses_from(server: Product, forwarded: list[list[str]]) -> int:
    """25 guesses at 25 accounts with these `X-Forwarded-For` lines; what the 26th gets."""
    for number, lines in enumerate(forwarded):
        headers = [("X-Forwarded-For", line) for line in lines]
        await server.client().get("/auth/user", auth=(f"user{number}", "x"), headers=headers)
    last = [("X-Forwarded-For", line) for line in forwarded[0]]
    return (await server.client().get("/auth/user", auth=("admin", PASSWORD), headers=last)).status_code


async def test_a_forwarding_line_of_ones_own_does_not_hide_the_one_of_the_proxy(tmp_path: Path) -> None:
    """Some proxies add a header line instead of extending the client's: the proxy's comes last and counts."""
    async with serve_product(tmp_path, DD_SERVER_TRUSTPROXY="1", **user("admin")) as server:
        assert await guesses_from(server, [[f"10.1.1.{n}", "203.0.113.9"] for n in range(25)]) == 423


async def test_the_port_that_a_proxy_adds_makes_no_new_client(tmp_path: Path) -> None:
    async with serve_product(tmp_path, DD_SERVER_TRUSTPROXY="1", **user("admin")) as server:
        assert await guesses_from(server, [[f"203.0.113.9:{4000 + n}"] for n in range(25)]) == 423


async def test_words_instead_of_an_address_make_no_new_client(tmp_path: Path) -> None:
    async with serve_product(tmp_path, DD_SERVER_TRUSTPROXY="1", **user("admin")) as server:
        assert await guesses_from(server, [[f"client-{n}"] for n in range(25)]) == 423


# ── other people's browsers ─────────────────────────────────────────────────────────────────────────────────────────


async def test_a_page_elsewhere_cannot_act_on_an_open_instance(tmp_path: Path) -> None:
    """Anonymous mode has no cookie that could be missing: what the browser says of the page tells it from a script."""
    headers = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    async with serve_product(tmp_path, DD_ANONYMOUS_AUTH_CONFIRM="true") as server:
        client = server.client()
        assert (await client.post("/api/v1/containers/watch", headers=headers)).status_code == 403
        assert (await client.post("/api/v1/containers/watch")).status_code in (200, 500)
        own = {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}
        assert (await client.post("/api/v1/containers/watch", headers=own)).status_code in (200, 500)


async def test_the_page_that_cors_allows_may_act_on_an_open_instance(tmp_path: Path) -> None:
    home = "https://home.example"
    environ = {"DD_SERVER_CORS_ENABLED": "true", "DD_SERVER_CORS_ORIGIN": home, "DD_ANONYMOUS_AUTH_CONFIRM": "true"}
    async with serve_product(tmp_path, **environ) as server:
        headers = {"Origin": home, "Sec-Fetch-Site": "cross-site"}
        client = server.client()
        assert (await client.patch("/api/v1/settings", json={"updateMode": "notify"}, headers=headers)).is_success
        headers["Origin"] = "https://evil.example"
        refused = await client.patch("/api/v1/settings", json={"updateMode": "notify"}, headers=headers)
        assert refused.status_code == 403
        assert refused.headers["access-control-allow-origin"] == home


async def test_cors_never_shares_cookies(tmp_path: Path) -> None:
    environ = {"DD_SERVER_CORS_ENABLED": "true", "DD_SERVER_CORS_ORIGIN": "https://home.example"}
    async with serve_product(tmp_path, **environ, **user("admin")) as server:
        client = await server.signed_in()
        for origin in ("https://home.example", "https://evil.example"):
            answer = await client.get("/api/v1/containers", headers={"Origin": origin})
            assert answer.headers["access-control-allow-origin"] == "https://home.example"
            assert "access-control-allow-credentials" not in answer.headers
        refused = await client.post("/api/v1/containers/watch", headers={"Origin": "https://home.example"})
        assert refused.status_code == 403
        asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        preflight = await client.options("/api/v1/containers/watch", headers=asked)
        assert preflight.headers["access-control-allow-origin"] == "https://home.example"


async def test_forms_cannot_carry_a_body(server: Product) -> None:
    client = await server.signed_in()
    for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", ""):
        answer = await client.patch(
            "/api/v1/settings", content=b'{"updateMode":"auto"}', headers={"Content-Type": kind}
        )
        assert answer.status_code == 415, kind


async def test_a_method_in_a_header_changes_nothing(server: Product) -> None:
    await server.seed(container(1))
    client = await server.signed_in()
    for name in ("X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"):
        headers = {name: "DELETE", "X-DD-Confirm-Action": "container-delete"}
        assert (await client.get(f"/api/v1/containers/{container(1).id}?_method=DELETE", headers=headers)).is_success
    assert (await client.get("/api/v1/containers")).json()["total"] == 1


async def test_a_forged_host_names_nothing_in_answers(server: Product) -> None:
    """No answer repeats the host of a request: no link, no redirect, no cookie domain."""
    client = await server.signed_in()
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
    for path in ("/api/v1/audit", "/api/v1/containers?limit=1", "/auth/status", "/api/v1/server", "/nothing"):
        answer = await client.get(path, headers=headers)
        assert "evil.example" not in answer.text + str(answer.headers)
    answer = await server.client().post("/auth/login", auth=("admin", PASSWORD), headers=headers)
    assert "evil.example" not in str(answer.headers)


# ── odd requests ────────────────────────────────────────────────────────────────────────────────────────────────────

ESCAPES = [
    "/api/v1/containers/..%2f..%2f..%2fetc%2fpasswd",
    "/..%2f..%2fetc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/assets/..%5c..%5cetc%5cpasswd",
    "/assets/%2e%2e/%2e%2e/pyproject.toml",
    "//etc/passwd",
    "/api/v1/watchers/..%2f..%2f/local",
    "/api/v1/icons/..%2f..%2f/etc%2fpasswd",
    "/index.html%00.png",
]


@pytest.mark.parametrize("path", ESCAPES)
async def test_paths_lead_nowhere(server: Product, path: str) -> None:
    client = await server.signed_in()
    cookie = f"drydock.sid={client.cookies['drydock.sid']}"
    answer = await raw(server, f"GET {path} HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\n\r\n".encode())
    assert status(answer) in (200, 400, 404)
    assert b"root:" not in answer
    assert b"[project]" not in answer


@pytest.mark.parametrize(
    "place", ["/api/v1/update-operations/a%00b", "/api/v1/audit?container=%00", "/auth/%00", "/%00"]
)
async def test_a_nul_is_refused(server: Product, place: str) -> None:
    client = await server.signed_in()
    answer = await client.get(place)
    assert (answer.status_code, answer.json()) == (400, {"error": "Invalid request parameters"})


@pytest.mark.parametrize("place", ["/api/v1/containers/%ff", "/api/v1/containers/%", "/api/v1/audit?container=%ff%zz"])
async def test_broken_percent_signs_are_no_fault_of_ours(server: Product, place: str) -> None:
    client = await server.signed_in()
    cookie = f"drydock.sid={client.cookies['drydock.sid']}"
    answer = await raw(server, f"GET {place} HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\n\r\n".encode())
    assert status(answer) in (400, 404)


BODIES: list[tuple[bytes, int]] = [
    (b"[" * 100_000 + b"]" * 100_000, 400),
    (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, 400),
    (b'{"updateMode":NaN}', 400),
    (b'{"updateMode":Infinity}', 400),
    (b'{"updateMode":1e999999}', 400),
    (b'{"updateMode":' + b"9" * 5000 + b"}", 400),
    (b'{"updateMode":"auto","updateMode":"never"}', 400),
    (b'{"updateMode":"never","updateMode":"auto"}', 200),
    (b'{"updateMode":"auto"}\x00', 400),
    (b'\xef\xbb\xbf{"updateMode":"auto"}', 400),
    (b'{"updateMode":"\xff"}', 400),
    (b'{"updateMode":"\\ud800"}', 400),
    (b"5", 400),
    (b'"auto"', 400),
    (b"[]", 400),
    (b'{"updateMode":"auto"} trailing', 400),
]


@pytest.mark.parametrize(("body", "expected"), BODIES)
async def test_bodies_that_are_traps(server: Product, body: bytes, expected: int) -> None:
    """Guard and handler read a body alike: of equal keys the last counts for both."""
    client = await server.signed_in()
    answer = await client.patch("/api/v1/settings", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == expected, answer.text
    assert (await client.get("/health")).status_code == 200


async def test_deep_documents_that_are_kept_can_be_read_again(server: Product) -> None:
    client = await server.signed_in()
    for depth in (100, 400, 900):
        blob: Any = {}
        for _ in range(depth):
            blob = {"a": blob}
        body = f'{{"apiVersion":1,"schemaVersion":1,"preferences":{nested(depth)}}}'
        headers = {"Content-Type": "application/json"}
        answer = await client.patch("/api/v1/preferences", content=body, headers=headers)
        assert answer.status_code in (200, 400)
        assert (await client.get("/api/v1/preferences")).status_code == 200
        assert (await client.get("/api/v1/debug/dump")).status_code == 200


def nested(depth: int) -> str:
    return '{"a":' * depth + "{}" + "}" * depth


async def test_compressed_bodies_are_not_unpacked(server: Product) -> None:
    client = await server.signed_in()
    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < 64 * 1024
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = await client.patch("/api/v1/settings", content=bomb, headers=headers)
    assert answer.status_code == 400


@pytest.mark.parametrize(("path", "size"), [("/auth/login", 65 * 1024), ("/api/v1/settings", 257 * 1024)])
async def test_large_bodies_are_refused_before_anybody_is_asked(server: Product, path: str, size: int) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await server.client().patch(path, content=b" " * size, headers=headers)
    assert (answer.status_code, answer.json()) == (413, {"error": "Request body too large"})

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(size // 1024 + 1):
            yield b" " * 1024

    answer = await server.client().patch(path, content=chunks(), headers=headers)
    assert answer.status_code == 413


async def test_headers_of_an_answer_cannot_be_written_from_outside(server: Product) -> None:
    await server.seed(container(1, name='a"\r\nSet-Cookie: x=1'))
    client = await server.signed_in()
    for path in (
        f"/api/v1/containers/{container(1).id}/sbom?raw=true",
        f"/api/v1/containers/{container(1).id}/logs",
        "/api/v1/containers?limit=1&a=%0d%0aSet-Cookie:%20x=1",
        "/%0d%0aSet-Cookie:%20x=1",
    ):
        answer = await client.get(path)
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("name", ["status=(a%2B)%2B%24", "sort=%28a%7Ca%29*b", "kind=((((((((((a*)*)*)*)*)*)*)*)*)*)"])
async def test_words_of_a_query_are_never_patterns(server: Product, name: str) -> None:
    """No parameter is compiled: what looks like a pattern is compared as text."""
    await server.seed(container(1, name="a" * 60))
    client = await server.signed_in()
    async with asyncio.timeout(10):
        answer = await client.get(f"/api/v1/containers?{name}")
    assert answer.status_code in (200, 400)


LAST_IDS = ["x", "a:1", "a:99999999999999999999", "x\ty", ":" * 4000, "🙂".encode().decode("latin-1"), "a:-1", "a:1\\n"]


@pytest.mark.parametrize("last", LAST_IDS)
async def test_a_last_event_id_is_never_repeated(server: Product, last: str) -> None:
    client = await server.signed_in()
    headers = {"Last-Event-ID": last.encode("latin-1")}
    async with client.stream("GET", "/api/v1/events/ui", headers=headers) as answer, asyncio.timeout(10):
        assert answer.status_code == 200
        lines = answer.aiter_lines()
        first = [await anext(lines) for _ in range(2)]
    ids = [line.removeprefix("id: ") for line in first if line.startswith("id:")]
    assert all(id.startswith(server.services.live.events.boot_id) for id in ids)


async def test_a_redirect_leads_home_only(server: Product) -> None:
    """Nothing in a request says where to go after signing in."""
    for query in ("next=https://evil.example", "redirect=//evil.example", "returnTo=https:evil.example"):
        answer = await server.client().post(f"/auth/login?{query}", auth=("admin", PASSWORD))
        assert (answer.status_code, answer.headers.get("location")) == (200, None)
    html = {"Accept": "text/html"}
    answer = await server.client().get("/auth/oidc/corp/cb?next=https://evil.example", headers=html)
    assert "evil" not in answer.headers.get("location", "")


# ── the wire ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_head_without_end_is_cut_off(server: Product) -> None:
    start = b"GET /health HTTP/1.1\r\nHost: x\r\nX-A: "
    assert status(await raw(server, start, *[b"a" * 16_384] * 64)) == 431


async def test_many_headers_are_cut_off(server: Product) -> None:
    lines = b"".join(b"X-%d: %s\r\n" % (n, b"a" * 100) for n in range(HEAD_BYTES // 100))
    answer = await raw(server, b"GET /health HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n", close=True)
    assert status(answer) == 431
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"error": "Request Header Fields Too Large"}


async def test_a_long_path_is_cut_off(server: Product) -> None:
    assert status(await raw(server, b"GET /" + b"a" * HEAD_BYTES + b" HTTP/1.1\r\nHost: x\r\n\r\n")) == 431


async def test_large_heads_within_the_bound_pass(server: Product) -> None:
    head = b"GET /health HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * (HEAD_BYTES // 2) + b"\r\n\r\n"
    assert status(await raw(server, head)) == 200


class Hasty(BoundedProtocol):
    """As the product's, with less patience."""

    head_s = 0.3


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b"GET /health HTTP/1.1\r\nHost: x\r\nX-A: b"],
        [b"\r\n"],
        [b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /he"],
    ],
    ids=["silence", "half a head", "noise", "half a second request"],
)
async def test_a_slow_head_ends_the_connection(tmp_path: Path, parts: list[bytes]) -> None:
    async with serve_product(tmp_path, protocol=Hasty, **user("admin")) as server:
        assert b"408 Request Timeout" in await raw(server, *parts, close=True)


async def test_a_slow_answer_is_not_taken_for_a_slow_head(tmp_path: Path) -> None:
    async with serve_product(tmp_path, protocol=Hasty, **user("admin")) as server:
        client = await server.signed_in()
        async with client.stream("GET", "/api/v1/events/ui") as answer, asyncio.timeout(10):
            lines = answer.aiter_lines()
            await anext(lines)
            await asyncio.sleep(Hasty.head_s * 3)
            server.services.live.events.send("dd:test", {})
            while "dd:test" not in await anext(lines):
                pass


async def test_what_is_no_request_gets_our_envelope(server: Product) -> None:
    answer = await raw(server, b"\x16\x03\x01\x02\x00\r\n\r\n", close=True)
    assert status(answer) == 400
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"error": "Bad Request"}


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"Transfer-Encoding: xchunked\r\n\r\nhello",
        b"Content-Length: +5\r\n\r\nhello",
    ],
)
async def test_requests_with_two_lengths_are_refused(server: Product, lines: bytes) -> None:
    """What a proxy and we could read differently would let a second request hide in the first."""
    head = b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    assert status(await raw(server, head + lines)) == 400
