"""Container logs over HTTP and WebSocket: checklist J and K (container-api.md §9)."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from drydock.api.settings import ServerSettings
from drydock.auth.caller import ALL_SCOPES
from drydock.clock import SystemClock
from drydock.core.errors import EngineError, EngineUnreachable
from drydock.logs.room import Logs
from fakes.hosts import one_host
from fakes.printing import PrintedLog
from fakes.scripted_engine import ScriptedEngine, Watched, container
from kit.api_site import HeaderAccess, Site, serve_site, services
from kit.clock import NEW_YEAR_MS, ManualClock
from kit.configured import configured
from kit.wait import until

ID, EXITED, NOBODY = "a" * 64, "e" * 64, "0" * 64
BASE = "/api/v1/containers"


class Scene:
    """A server over a scripted Engine whose container has printed some lines."""

    def __init__(self) -> None:
        self.engine = ScriptedEngine()
        self.log = self.engine.logs_of[ID] = PrintedLog()
        self.engine.logs_of[EXITED] = PrintedLog()
        self.watched = Watched(
            container(ID, name="web/1"), container(EXITED, name="old", status="exited"), container("l", watcher="gone")
        )
        self.logs = Logs(self.watched, one_host(self.engine), SystemClock())
        self.site: Site

    def fill(self, lines: int) -> None:
        for number in range(lines):
            self.log.print(f"line {number}", "stderr" if number % 2 else "stdout")

    async def text(self, query: str = "", ref: str = ID, **headers: str) -> str:
        async with self.site.get(f"{BASE}/{ref}/logs{query}", headers=headers) as answer:
            assert answer.status == 200
            return await answer.text()

    def stream(self, query: str = "", ref: str = ID, **options: Any) -> Any:
        return self.site.socket(f"{BASE}/{ref}/logs/stream{query}", **options)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    async with serve_site(services(fleet=scene.watched, logs=scene.logs)) as scene.site:
        yield scene
    await until(lambda: not +scene.engine.open, "every Engine call closed")
    assert scene.logs.open_streams() == 0


async def received(socket: aiohttp.ClientWebSocketResponse, count: int) -> list[dict[str, str]]:
    return [json.loads((await socket.receive(5)).data) for _ in range(count)]


async def until_closed(socket: aiohttp.ClientWebSocketResponse) -> tuple[list[dict[str, str]], int | None]:
    found = []
    async for message in socket:
        found.append(json.loads(message.data))
    return found, socket.close_code


# J. logs over HTTP


@pytest.mark.rows("C-176", "C-177", "C-187")
async def test_download(scene: Scene) -> None:
    scene.fill(3)
    async with scene.site.get(f"{BASE}/{ID}/logs") as answer:
        lines = (await answer.text()).splitlines()
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
        assert answer.headers["Content-Disposition"] == 'attachment; filename="web_1-logs.txt"'
        assert answer.headers["Vary"] == "Accept-Encoding"
    assert [line.split(" ", 1)[1] for line in lines] == ["line 0", "line 1", "line 2"]
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z ", line) for line in lines)


@pytest.mark.rows("C-178", "C-179")
async def test_gzip_only_on_request(scene: Scene) -> None:
    scene.fill(500)
    plain = await scene.text()
    for offer in ("gzip", "br, gzip;q=0.5", "*"):
        async with scene.site.get(f"{BASE}/{ID}/logs", headers={"Accept-Encoding": offer}) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert answer.headers["Content-Disposition"].endswith('-logs.txt"')
            assert gzip.decompress(await answer.read()).decode() == plain
    for offer in ("identity", "gzip;q=0", "br", "*;q=0"):
        async with scene.site.get(f"{BASE}/{ID}/logs", headers={"Accept-Encoding": offer}) as answer:
            assert "Content-Encoding" not in answer.headers
            assert await answer.text() == plain


@pytest.mark.rows("C-180", "C-181", "C-182", "C-183", "C-186", "C-188", "C-189", "C-318")
async def test_parameters(scene: Scene) -> None:
    scene.fill(1500)
    everything = [f"line {number}" for number in range(1500)]

    async def lines(query: str) -> list[str]:
        return (await scene.text(f"{query}{'&' if '?' in query else '?'}timestamps=false")).splitlines()

    assert await lines("") == everything[-1000:]
    assert await lines("?tail=1000&stdout=true&stderr=true") == everything[-1000:]
    assert await lines("?tail=5") == everything[-5:]
    assert await lines("?tail=nonsense&since=0") == everything[-1000:]
    assert await lines("?tail=99999") == everything
    assert await lines("?tail=0") == await lines("?tail=-1") == []
    assert await lines("?stdout=false&tail=3") == ["line 1495", "line 1497", "line 1499"]
    assert await lines("?stderr=false&tail=2&stdout=perhaps") == ["line 1496", "line 1498"]
    assert await lines("?stderr=false&stdout=false") == []


@pytest.mark.rows("C-184", "C-185")
async def test_since(scene: Scene) -> None:
    scene.log.print("old")
    scene.log.print("new", seconds=60)
    for since in ("1000000060", "2001-09-09T01:47:40Z", "2001-09-09T01:47:40.9", "2001-09-09T03:47:40%2B02:00"):
        assert (await scene.text(f"?timestamps=false&since={since}")).splitlines() == ["new"], since
    for since in ("0", "-1", "soon", "99999999999999999999", ""):
        assert (await scene.text(f"?timestamps=false&since={since}")).splitlines() == ["old", "new"], since


@pytest.mark.rows("C-191")
async def test_failures(scene: Scene) -> None:
    async def problem(ref: str) -> tuple[int, str]:
        status, body = await scene.site.json(f"{BASE}/{ref}/logs")
        return status, body["error"]

    assert await problem(NOBODY) == (404, "Container not found")
    for bad in ("..%2f", "%2e%2e", "a%00", "%25", "a%5Cb"):
        assert (await problem(bad))[0] == 404, bad
    assert await problem("l") == (500, "Watcher gone is not running")
    scene.log.fail(EngineError("cannot read"))
    scene.engine.logs_of.pop(ID)
    assert (await problem(ID))[0] == 500
    assert await scene.text(ref=EXITED) == ""


async def test_too_large(scene: Scene) -> None:
    for _ in range(17):
        scene.log.print(b"x" * 1024 * 1024)
    status, body = await scene.site.json(f"{BASE}/{ID}/logs")
    assert status == 413
    assert "tail" in body["details"]["hint"]


# K. logs over WebSocket


@pytest.mark.rows("C-192", "C-193", "C-194", "C-195", "C-196", "C-202", "C-320", "C-321")
async def test_live_stream(scene: Scene) -> None:
    scene.log.print("out")
    scene.log.print("err", "stderr")
    async with scene.stream("?follow=true&tail=100") as socket, scene.stream() as other:
        assert await received(socket, 2) == [
            {"type": "stdout", "ts": "2001-09-09T01:46:40.000001000Z", "line": "out"},
            {"type": "stderr", "ts": "2001-09-09T01:46:40.000002000Z", "line": "err"},
        ]
        await received(other, 2)
        scene.log.print("\x1b[32mgreen\x1b[0m \r")
        for each in (socket, other):
            assert await received(each, 1) == [
                {"type": "stdout", "ts": "2001-09-09T01:46:40.000003000Z", "line": "\x1b[32mgreen\x1b[0m "}
            ]


@pytest.mark.rows("C-197")
async def test_frames_cut_anywhere(scene: Scene) -> None:
    async def cut(options: dict[str, Any]) -> AsyncIterator[bytes]:
        if not options.get("follow"):
            return
        for number in range(3):
            payload = f"2026-01-01T00:00:00.00000000{number + 1}Z ü {number}\n".encode()
            for byte in b"\2\0\0\0" + len(payload).to_bytes(4) + payload:
                yield bytes([byte])

    scene.engine.logs_of[ID] = cut
    async with scene.stream() as socket:
        found, code = await until_closed(socket)
    assert ([each["line"] for each in found], code) == (["ü 0", "ü 1", "ü 2"], 1000)
    assert {each["type"] for each in found} == {"stderr"}


@pytest.mark.rows("C-198", "C-199", "C-200", "C-201", "C-203")
async def test_one_shot_parameters(scene: Scene) -> None:
    scene.fill(300)
    everything = [f"line {number}" for number in range(300)]

    async def lines(query: str) -> list[str]:
        async with scene.stream(f"?follow=false{query}") as socket:
            found, code = await until_closed(socket)
        assert code == 1000
        return [each["line"] for each in found]

    assert await lines("") == everything[-100:]
    assert await lines("&tail=5") == everything[-5:]
    assert await lines("&tail=-5") == await lines("&tail=x") == everything[-100:]
    assert await lines("&tail=2&stdout=false") == ["line 297", "line 299"]
    assert await lines("&tail=2&stderr=false") == ["line 296", "line 298"]
    assert await lines("&since=4000000000") == await lines("&tail=0") == []
    assert await lines("&since=2001-09-09T01:46:40Z&tail=99999") == everything


@pytest.mark.rows("C-204", "C-205", "C-206")
async def test_close_codes(scene: Scene) -> None:
    scene.log.print("last")
    async with scene.stream() as socket:
        await received(socket, 1)
        scene.log.finish()
        assert await until_closed(socket) == ([], 1000)
    for ref, code in ((EXITED, 4001), (NOBODY, 4004), ("..%2f", 4004), ("%00", 4004)):
        for follow in ("true", "false"):
            async with scene.stream(f"?follow={follow}", ref) as socket:
                assert await until_closed(socket) == ([], code), ref


@pytest.mark.rows("C-207")
async def test_engine_failures_close_with_1011(scene: Scene) -> None:
    scene.log.print("one")
    async with scene.stream() as socket, scene.stream("?stdout=false&tail=0") as other:
        await received(socket, 1)
        await until(lambda: scene.engine.calls["inspect"] == 2, "both look")
        scene.log.fail(EngineUnreachable("gone " + "ü" * 200))
        assert (await until_closed(socket))[1] == 1011
        assert (await until_closed(other))[1] == 1011
    async with scene.stream(ref="l") as socket:
        assert await until_closed(socket) == ([], 1011)


@pytest.mark.rows("C-319")
async def test_leaving_closes_the_engines_stream(scene: Scene) -> None:
    scene.log.print("one")
    async with scene.stream() as socket:
        await received(socket, 1)
        assert scene.engine.open["logs:follow"] == 1
        await socket.close()
        assert socket.close_code == 1000
    await until(lambda: not scene.engine.open["logs:follow"], "Engine stream closed", 1)
    async with scene.stream() as socket:
        await received(socket, 1)
        assert socket._response.connection is not None
        socket._response.connection.transport.abort()  # type: ignore[union-attr]  # the client's cable is cut
        await until(lambda: not scene.engine.open["logs:follow"], "Engine stream closed", 1)


async def test_a_viewer_that_does_not_read_gets_1013(scene: Scene) -> None:
    host, _, port = scene.site.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=2**12)
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # a selector transport
    writer.write(
        f"GET {BASE}/{ID}/logs/stream?tail=0 HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    await until(lambda: scene.engine.open["logs:follow"], "stream")
    async with scene.stream("?tail=0") as healthy:
        await until(lambda: scene.engine.calls["inspect"] == 2, "both look")
        task = asyncio.create_task(received(healthy, 8000))
        for number in range(8000):
            scene.log.print(f"{number} " + "x" * 1000)
            if number % 20 == 0:
                await asyncio.sleep(0)
        assert len(await task) == 8000
    await until(lambda: not scene.engine.open["logs:follow"], "stalled viewer dropped")
    writer.transport.resume_reading()  # type: ignore[attr-defined]  # a selector transport
    data = b""
    while b"\x03\xf5The viewer is too slow" not in data:
        chunk = await asyncio.wait_for(reader.read(2**16), 5)
        assert chunk, "ended without a close frame"
        data = data[-200:] + chunk
    writer.close()


@pytest.mark.rows("C-208", "C-209")
async def test_only_a_session_cookie_opens_the_stream() -> None:
    scene = Scene()
    scene.log.print("one")
    access = HeaderAccess(ann=ALL_SCOPES, lim=frozenset({"watch"}))
    async with serve_site(services(fleet=scene.watched, logs=scene.logs, access=access)) as scene.site:
        async with scene.stream(headers={"Cookie": "who=ann"}) as socket:
            await received(socket, 1)
        refused = [
            ({}, 401),
            ({"Cookie": "who=eve"}, 401),
            ({"Authorization": "Basic ann"}, 401),
            ({"Cookie": "who=lim"}, 403),
            ({"Cookie": "who=ann", "Origin": "http://elsewhere.example"}, 403),
            ({"Origin": "http://elsewhere.example"}, 403),
            ({"Cookie": "who=ann", "Origin": "null"}, 403),
        ]
        for headers, status in refused:
            with pytest.raises(aiohttp.WSServerHandshakeError) as failure:
                await scene.stream(headers=headers)
            assert failure.value.status == status, headers
            assert failure.value.headers is not None
            assert failure.value.headers["Connection"] == "close"
        async with scene.stream(headers={"Cookie": "who=ann", "Origin": scene.site.url}) as socket:
            await received(socket, 1)
        assert (await scene.site.json(f"{BASE}/{ID}/logs"))[0] == 401


@pytest.mark.rows("C-210", "C-211")
async def test_upgrade_budget() -> None:
    scene, clock = Scene(), ManualClock(NEW_YEAR_MS)
    access = HeaderAccess(ann=ALL_SCOPES, bob=ALL_SCOPES)
    settings = configured(ServerSettings(identity_keying=True))
    made = services(fleet=scene.watched, logs=scene.logs, access=access, clock=clock, settings=settings)

    async def attempt(name: str) -> int:
        try:
            async with scene.stream(ref=NOBODY, headers={"Cookie": f"who={name}"}):
                return 101
        except aiohttp.WSServerHandshakeError as refusal:
            return refusal.status

    async with serve_site(made) as scene.site:
        assert {await attempt("ann") for _ in range(1000)} == {101}
        assert await attempt("ann") == 429
        assert await attempt("bob") == 101
        await clock.pass_time(900)
        assert await attempt("ann") == 101


async def test_not_an_upgrade(scene: Scene) -> None:
    status, body = await scene.site.json(f"{BASE}/{ID}/logs/stream")
    assert (status, body) == (426, {"error": "Use a WebSocket"})


async def test_shutdown_closes_viewers_with_1001() -> None:
    scene = Scene()
    scene.log.print("one")
    async with serve_site(services(fleet=scene.watched, logs=scene.logs)) as scene.site, scene.stream() as socket:
        await received(socket, 1)
        scene.site.services.live.streams.close()
        assert await until_closed(socket) == ([], 1001)


async def test_a_thousand_connections_leave_nothing_behind(scene: Scene) -> None:
    scene.log.print("one")
    async with scene.stream() as socket:
        await received(socket, 1)
    tasks = len(asyncio.all_tasks())
    for number in range(999):
        async with scene.stream("?tail=1") as socket:
            if number % 2:
                await received(socket, 1)
    await until(lambda: len(asyncio.all_tasks()) <= tasks, "no task left")
    await until(lambda: not +scene.engine.open, "every Engine stream closed")
    await until(lambda: not scene.site.services.live.streams.current(), "no stream counted")
