"""Requests over a real socket to a scripted HTTP server: pin, redirects, refusals, TLS, lost connections."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trustme
from aiohttp import web

from drydock.core.errors import EngineConflict, EngineError, EngineNotFound, EngineNotSupported, EngineUnreachable
from drydock.core.secret import Secret
from drydock.docker.client import EngineClient
from drydock.docker.connect import connect, resolve
from drydock.docker.settings import EngineSettings
from drydock.docker.transport import Transport
from lab.registry import free_port

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Answers by path; keeps what it was asked."""

    def __init__(self, answers: dict[str, Handler | web.Response]) -> None:
        self.answers, self.seen = answers, list[web.Request]()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        answer = self.answers.get(request.path)
        if callable(answer):
            return await answer(request)
        if answer is None:
            return web.json_response({"message": f"nothing at {request.path}"}, status=404)
        return web.Response(status=answer.status, body=answer.body, headers={**answer.headers})

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.seen]


@contextlib.asynccontextmanager
async def served(
    answers: dict[str, Handler | web.Response], site: Callable[[web.AppRunner], web.BaseSite]
) -> AsyncIterator[Server]:
    server = Server(answers)
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", server.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await site(runner).start()
    yield server
    await runner.cleanup()


@pytest.fixture
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("s") / "e.sock")


@contextlib.asynccontextmanager
async def on_socket(
    path: str, answers: dict[str, Handler | web.Response]
) -> AsyncIterator[tuple[Server, EngineClient]]:
    async with served(answers, lambda runner: web.UnixSite(runner, path)) as server:
        client = connect(resolve(EngineSettings(socket=path)))
        yield server, client
        await client.close()


VERSION = web.json_response({"ApiVersion": "1.41"})
EMPTY = web.json_response([])


async def test_the_engines_version_is_pinned(path: str) -> None:
    async with on_socket(path, {"/version": VERSION, "/v1.41/containers/json": EMPTY}) as (server, client):
        assert await client.list_containers() == []
        await client.list_containers()
        assert server.paths == ["/version", "/v1.41/containers/json", "/v1.41/containers/json"]


async def test_version_renews_the_pin(path: str) -> None:
    answers: dict[str, Handler | web.Response] = {
        "/version": VERSION,
        "/v1.41/version": web.json_response({"ApiVersion": "1.44"}),
    }
    async with on_socket(path, {**answers, "/v1.44/containers/json": EMPTY}) as (server, client):
        await client.version()
        await client.list_containers()
        assert server.paths[-1] == "/v1.44/containers/json"


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(status=403),
        web.Response(text="hello"),
        web.json_response([]),
        web.json_response({"ApiVersion": 1.41}),
        web.json_response({"ApiVersion": "1.41/../x"}),
        web.Response(status=301, headers={"Location": "/elsewhere"}),
        web.json_response({"Fill": "x" * 70_000, "ApiVersion": "1.41"}),
    ],
)
async def test_without_a_usable_version_nothing_is_pinned(path: str, answer: web.Response) -> None:
    async with on_socket(path, {"/version": answer, "/containers/json": EMPTY}) as (server, client):
        assert await client.list_containers() == []
        await client.list_containers()
        assert server.paths.count("/version") == 1


async def test_the_probe_follows_one_redirect(path: str) -> None:
    moved = web.Response(status=301, headers={"Location": "/moved"})
    async with on_socket(path, {"/version": moved, "/moved": VERSION, "/v1.41/info": web.json_response({})}) as (
        _,
        client,
    ):
        assert await client.info() == {}


async def test_a_redirect_of_a_call_is_refused(path: str) -> None:
    moved = web.Response(status=307, headers={"Location": "http://localhost/other"})
    async with on_socket(path, {"/version": VERSION, "/v1.41/info": moved, "/other": VERSION}) as (server, client):
        with pytest.raises(EngineError, match="redirect"):
            await client.info()
        assert "/other" not in server.paths


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (404, '{"message":"No such container: x"}', EngineNotFound),
        (404, "page not found", EngineNotSupported),
        (409, '{"message":"in use"}', EngineConflict),
        (500, '{"cause":"x","message":"name \\"a\\" is already in use","response":500}', EngineConflict),
        (500, '{"message":"boom"}', EngineError),
        (403, "forbidden by the proxy", EngineError),
        (501, "", EngineNotSupported),
    ],
)
async def test_refusals(path: str, status: int, body: str, error: type[EngineError]) -> None:
    refused = web.Response(status=status, text=body)
    async with on_socket(path, {"/version": VERSION, "/v1.41/containers/x/json": refused}) as (_, client):
        with pytest.raises(error) as caught:
            await client.inspect_container("x")
        assert type(caught.value) is error
        assert caught.value.engine_status == status


async def test_an_answer_that_is_no_json(path: str) -> None:
    async with on_socket(path, {"/version": VERSION, "/v1.41/info": web.Response(text="<html>")}) as (_, client):
        with pytest.raises(EngineError, match="not JSON"):
            await client.info()


@pytest.mark.parametrize("ref", ["", ".", "..", "a/b?c#d", "../../info", "x/json?"])
async def test_no_reference_leaves_its_place_in_the_path(path: str, ref: str) -> None:
    async with on_socket(path, {"/version": VERSION}) as (server, client):
        with pytest.raises(EngineNotFound):
            await client.inspect_container(ref)
        with pytest.raises(EngineNotFound):
            await client.inspect_image(ref)
        asked = [request.raw_path for request in server.seen if "version" not in request.raw_path]
        assert all(".." not in raw.replace("..%2F", "") and "?" not in raw and "#" not in raw for raw in asked)


async def test_a_missing_socket_says_what_to_do(path: str) -> None:
    client = connect(resolve(EngineSettings(socket=path)))
    with pytest.raises(EngineUnreachable) as caught:
        await client.info()
    assert path in caught.value.message
    assert "Mount the Docker socket" in str(caught.value.hint)
    await client.close()


async def test_an_engine_that_hangs_is_given_up(path: str) -> None:
    async def hang(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with served({"/version": VERSION, "/v1.41/info": hang}, lambda runner: web.UnixSite(runner, path)):
        transport = Transport(base="http://localhost", label=path, socket=path)
        with pytest.raises(EngineUnreachable, match=r"did not answer within 0\.2 s"):
            await transport.json("GET", "/info", limit=0.2)
        await transport.close()


async def test_a_stream_cut_by_the_engine_is_unreachable(path: str) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"Action":"start"}\n')
        assert request.transport
        request.transport.abort()
        return response

    async with on_socket(path, {"/version": VERSION, "/v1.41/events": cut}) as (_, client):
        stream = client.events(filters={})
        assert await anext(stream) == {"Action": "start"}
        with pytest.raises(EngineUnreachable, match="lost"):
            await anext(stream)


async def test_streams_never_exhaust_the_pool(path: str) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"x")
        await asyncio.Event().wait()
        return response

    async with on_socket(
        path, {"/version": VERSION, "/v1.41/containers/x/logs": endless, "/v1.41/containers/json": EMPTY}
    ) as (
        _,
        client,
    ):
        streams = [client.logs("x", follow=True) for _ in range(130)]
        assert await asyncio.gather(*(anext(stream) for stream in streams)) == [b""] * 130  # "the Engine answered"
        assert await asyncio.gather(*(anext(stream) for stream in streams)) == [b"x"] * 130
        assert await asyncio.wait_for(client.list_containers(), 10) == []
        await asyncio.gather(*(stream.aclose() for stream in streams))  # type: ignore[attr-defined]


async def test_tls_with_client_certificate_and_credentials(tmp_path: pathlib.Path) -> None:
    ca, files = trustme.CA(), {}
    server_pair, client_pair = ca.issue_cert("127.0.0.1"), ca.issue_cert("client@example.org")
    for name, blob in {
        "ca": ca.cert_pem,
        "cert": client_pair.cert_chain_pems[0],
        "key": client_pair.private_key_pem,
    }.items():
        files[f"{name}file"] = str(tmp_path / name)
        blob.write_to_path(tmp_path / name)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.verify_mode = ssl.CERT_REQUIRED
    server_pair.configure_cert(context)
    ca.configure_trust(context)
    port = free_port()

    def site(runner: web.AppRunner) -> web.BaseSite:
        return web.TCPSite(runner, "127.0.0.1", port, ssl_context=context)

    async with served({"/version": VERSION, "/v1.41/info": web.json_response({"Name": "n"})}, site) as server:
        auth = {"auth_user": "u", "auth_password": Secret("p")}
        client = connect(resolve(EngineSettings(host="127.0.0.1", port=port, **auth, **files)))
        assert (await client.info())["Name"] == "n"
        assert {request.headers["Authorization"] for request in server.seen} == {"Basic dTpw"}
        await client.close()
        stranger = connect(resolve(EngineSettings(host="127.0.0.1", port=port, protocol="https")))
        with pytest.raises(EngineUnreachable, match="secure") as caught:
            await stranger.info()
        assert "CAFILE" in str(caught.value.hint)
        await stranger.close()
