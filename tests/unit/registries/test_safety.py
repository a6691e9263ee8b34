"""Where requests and credentials may go: redirects, private addresses, secrets in logs, TLS (registries.md §5.6, §6.5–6.7)."""

from __future__ import annotations

import io
import json
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import pytest
import structlog
import trustme

from drydock.core.errors import RegistryAuthFailed, RegistryError, RegistryNetworkError, RegistryNotFound
from drydock.http.addresses import AddressRule
from drydock.http.client import Proxies as ProxyRules
from drydock.registries.manifests import Platform
from drydock.registries.room import Registries
from lab.images import Pusher
from lab.proxy import Fault, Proxy
from lab.registry import RegistryServer

AMD64 = Platform("linux", "amd64")
LOOPBACK = AddressRule(lambda address: address == "127.0.0.1", "address is not public", public_names=True)
MakeService = Callable[..., Awaitable[Registries]]
Proxies = Callable[..., Awaitable[Proxy]]
ALICE = {"LOGIN": "alice", "PASSWORD": "s3cret"}


def custom(proxy: Proxy, **keys: str) -> dict[str, str]:
    return {"DD_REGISTRY_CUSTOM_LAB_URL": proxy.url} | {f"DD_REGISTRY_CUSTOM_LAB_{k}": v for k, v in keys.items()}


@pytest.fixture
def team(private_images: Pusher) -> str:
    return private_images.push("team/app", "1", created="2026-04-04T04:04:04Z")


async def test_a_blob_redirect_is_followed_without_credentials(
    private_registry: RegistryServer, registry: RegistryServer, proxies: Proxies, make_service: MakeService, team: str
) -> None:
    front = await proxies(private_registry.url)
    content = private_blob(private_registry, team)
    storage = await proxies(None)
    storage.faults = [Fault("/signed", status=200, body=content)]
    front.faults = [Fault("/blobs/", status=307, headers={"Location": f"{storage.url}/signed?X=%2Fa"})]
    service = await make_service(custom(front, **ALICE), allow_private_realms=True)
    async with service.poll() as poll:
        resolved = await poll.resolve(service.route(front.host, "team/app"), team, AMD64)
    assert resolved.created == "2026-04-04T04:04:04Z"
    assert storage.authorized() == []
    assert storage.seen[0].query == "X=%2Fa"
    assert len(set(front.authorized())) == 1


def private_blob(server: RegistryServer, digest: str) -> bytes:
    headers = {"Authorization": "Basic YWxpY2U6czNjcmV0"}
    pusher = Pusher(server.host, server.connection, headers)
    accept = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    manifest = json.loads(pusher.request("GET", f"/v2/team/app/manifests/{digest}", headers=accept)[2])
    return pusher.request("GET", f"/v2/team/app/blobs/{manifest['config']['digest']}")[2]


async def test_content_behind_a_redirect_is_hash_checked(
    private_registry: RegistryServer, proxies: Proxies, make_service: MakeService, team: str
) -> None:
    front, storage = await proxies(private_registry.url), await proxies(None)
    storage.faults = [Fault("", status=200, body=b'{"created": "2030-01-01T00:00:00Z"}')]
    front.faults = [Fault("/blobs/", status=307, headers={"Location": f"{storage.url}/x"})]
    service = await make_service(custom(front, **ALICE), allow_private_realms=True)
    async with service.poll() as poll:
        assert (await poll.resolve(service.route(front.host, "team/app"), team, AMD64)).created is None


async def test_a_redirect_to_a_private_address_is_refused(
    proxy: Proxy, proxies: Proxies, pushed: Mapping[str, str], make_service: MakeService
) -> None:
    inside = await proxies(None)
    proxy.faults = [Fault("/tags/list", status=302, headers={"Location": f"{inside.url}/metadata"})]
    service = await make_service(custom(proxy))
    async with service.poll() as poll:
        with pytest.raises(RegistryNetworkError, match=r"not (allowed|public)"):
            await poll.tags(service.route(proxy.host, "demo/app"))
    assert inside.seen == []


async def test_redirects_end(proxy: Proxy, make_service: MakeService) -> None:
    proxy.faults = [Fault("", status=302, headers={"Location": "/v2/again"})]
    service = await make_service(custom(proxy))
    async with service.poll() as poll:
        with pytest.raises(RegistryError, match="more than 5 redirects"):
            await poll.tags(service.route(proxy.host, "demo/app"))
    assert len(proxy.seen) == 6


async def test_no_redirect_from_https_to_http(
    proxies: Proxies, registry: RegistryServer, server_tls: Callable[..., ssl.SSLContext], make_service: MakeService
) -> None:
    front, plain = await proxies(registry.url, ssl=server_tls("127.0.0.1")), await proxies(None)
    front.faults = [Fault("", status=302, headers={"Location": f"{plain.url}/v2/"})]
    service = await make_service(custom(front), allow_private_realms=True)
    async with service.poll() as poll:
        with pytest.raises(RegistryNetworkError, match="https to http"):
            await poll.tags(service.route(front.host, "demo/app"))
    assert plain.seen == []


@pytest.mark.parametrize(
    "realm",
    [
        "http://127.0.0.2:{port}/token",
        "http://169.254.169.254/token",
        "http://[::ffff:169.254.169.254]/t",
        "file:///etc/x",
    ],
)
async def test_realms_on_private_addresses(
    proxy: Proxy, proxies: Proxies, make_service: MakeService, realm: str
) -> None:
    inside = await proxies(None)
    challenge = f'Bearer realm="{realm.format(port=inside.port)}"'
    proxy.faults = [Fault("", status=401, headers={"WWW-Authenticate": challenge})]
    service = await make_service(custom(proxy))
    async with service.poll() as poll:
        with pytest.raises(RegistryAuthFailed):
            await poll.tags(service.route(proxy.host, "demo/app"))
    assert inside.seen == []


async def test_a_name_that_turns_private_is_refused(
    proxy: Proxy, server_tls: Callable[..., ssl.SSLContext], proxies: Proxies, make_service: MakeService
) -> None:
    """The address is judged at the socket, so what the name said before does not matter."""
    trap = await proxies(None, ssl=server_tls("tokens.example"))
    challenge = 'Bearer realm="https://tokens.example/token"'
    proxy.faults = [Fault("", status=401, headers={"WWW-Authenticate": challenge})]
    service = await make_service(custom(proxy), ports={"tokens.example": trap.port})
    async with service.poll() as poll:
        with pytest.raises(RegistryNetworkError, match="not public"):
            await poll.tags(service.route(proxy.host, "demo/app"))
    assert trap.seen == []


async def test_auto_serves_public_hosts_only(
    proxies: Proxies,
    registry: RegistryServer,
    pushed: Mapping[str, str],
    server_tls: Callable[..., ssl.SSLContext],
    make_service: MakeService,
) -> None:
    front = await proxies(registry.url, ssl=server_tls("registry.example"))
    ports = {"registry.example": front.port}
    strict = await make_service({}, ports=ports)
    async with strict.poll() as poll:
        with pytest.raises(RegistryNotFound, match=r"registry\.example") as caught:
            await poll.tags(strict.route("registry.example", "demo/app"))
    assert "DD_REGISTRY_CUSTOM" in str(caught.value.hint)
    assert front.seen == []
    lenient = await make_service({}, ports=ports, engine={"rule": LOOPBACK})
    route = lenient.route("registry.example", "demo/app")
    assert route.instance_id == "auto.public"
    async with lenient.poll() as poll:
        assert len((await poll.tags(route)).names) == 3


@pytest.fixture
def debug_log() -> Iterator[io.StringIO]:
    """Everything logged, at the lowest level."""
    text = io.StringIO()
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(text), cache_logger_on_first_use=False)
    yield text
    structlog.configure(**before)


async def test_no_secret_in_any_log(
    private_registry: RegistryServer, proxies: Proxies, make_service: MakeService, team: str, debug_log: io.StringIO
) -> None:
    front = await proxies(private_registry.url)
    service = await make_service(
        custom(front, **ALICE) | {"DD_REGISTRY_GHCR_ME_USERNAME": "u", "DD_REGISTRY_GHCR_ME_TOKEN": "ghp_x"}
    )
    front.faults = [Fault("/tags/list", status=503, times=1)]
    async with service.poll() as poll:
        route = service.route(front.host, "team/app")
        await poll.tags(route)
        await poll.resolve(route, await poll.head_digest(route, "1"), AMD64)
    wrong = await make_service(custom(front, LOGIN="alice", PASSWORD="wr0ng-secret"))
    async with wrong.poll() as poll:
        with pytest.raises(RegistryAuthFailed) as caught:
            await poll.tags(wrong.route(front.host, "team/app"))
    logged = debug_log.getvalue()
    assert "registry.request" in logged
    for secret in ("s3cret", "wr0ng-secret", "ghp_x", "YWxpY2U6", "Authorization", "Basic "):
        assert secret not in logged
        assert secret not in str(caught.value)


# TLS


@pytest.fixture
def private_ca(tmp_path: Path) -> tuple[trustme.CA, Path]:
    ca = trustme.CA()
    path = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return ca, path


def tls_of(ca: trustme.CA, name: str = "127.0.0.1", **options: object) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name, **options).configure_cert(context)  # type: ignore[arg-type]
    return context


async def tags_over(service: Registries, front: Proxy) -> int:
    async with service.poll() as poll:
        return len((await poll.tags(service.route(front.host, "demo/app"))).names)


async def test_a_private_authority(
    proxies: Proxies,
    registry: RegistryServer,
    pushed: Mapping[str, str],
    private_ca: tuple[trustme.CA, Path],
    make_service: MakeService,
) -> None:
    front = await proxies(registry.url, ssl=tls_of(private_ca[0]))
    with pytest.raises(RegistryNetworkError, match="certificate") as caught:
        await tags_over(await make_service(custom(front)), front)
    assert "CAFILE" in str(caught.value.hint)
    assert await tags_over(await make_service(custom(front, CAFILE=str(private_ca[1]))), front) == 3
    assert await tags_over(await make_service(custom(front, INSECURE="TRUE")), front) == 3


async def test_a_private_authority_is_added_to_the_systems_roots(
    proxies: Proxies,
    registry: RegistryServer,
    pushed: Mapping[str, str],
    private_ca: tuple[trustme.CA, Path],
    server_tls: Callable[..., ssl.SSLContext],
    make_service: MakeService,
) -> None:
    front = await proxies(registry.url, ssl=server_tls("127.0.0.1"))
    assert await tags_over(await make_service(custom(front, CAFILE=str(private_ca[1]))), front) == 3


async def test_a_wrong_name_and_an_expired_certificate(
    proxies: Proxies, registry: RegistryServer, private_ca: tuple[trustme.CA, Path], make_service: MakeService
) -> None:
    import datetime

    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    for context in (tls_of(private_ca[0], "other.example"), tls_of(private_ca[0], not_after=past)):
        front = await proxies(registry.url, ssl=context)
        with pytest.raises(RegistryNetworkError, match="certificate"):
            await tags_over(await make_service(custom(front, CAFILE=str(private_ca[1]))), front)


async def test_a_client_certificate(
    proxies: Proxies,
    registry: RegistryServer,
    pushed: Mapping[str, str],
    private_ca: tuple[trustme.CA, Path],
    make_service: MakeService,
    tmp_path: Path,
) -> None:
    context = tls_of(private_ca[0])
    context.verify_mode = ssl.CERT_REQUIRED
    private_ca[0].configure_trust(context)
    front = await proxies(registry.url, ssl=context)
    client = private_ca[0].issue_cert("client.example")
    client.cert_chain_pems[0].write_to_path(str(tmp_path / "c.pem"))
    client.private_key_pem.write_to_path(str(tmp_path / "c.key"))
    with pytest.raises(RegistryNetworkError):
        await tags_over(await make_service(custom(front, CAFILE=str(private_ca[1]))), front)
    keys = {"CAFILE": str(private_ca[1]), "CLIENTCERT": str(tmp_path / "c.pem"), "CLIENTKEY": str(tmp_path / "c.key")}
    assert await tags_over(await make_service(custom(front, **keys)), front) == 3


# outgoing proxies


async def test_a_proxy_makes_the_connection(proxy: Proxy, pushed: Mapping[str, str], make_service: MakeService) -> None:
    variables = {"DD_REGISTRY_CUSTOM_LAB_URL": "http://reg.internal:5000"}
    rules = ProxyRules.of({"http_proxy": proxy.url})
    service = await make_service(variables, http={"proxies": rules})
    async with service.poll() as poll:
        assert len((await poll.tags(service.route("reg.internal:5000", "demo/app"))).names) == 3
    around = ProxyRules.of({"HTTP_PROXY": proxy.url, "NO_PROXY": ".internal"})
    bypass = await make_service(variables, http={"proxies": around})
    async with bypass.poll() as poll:
        with pytest.raises(RegistryNetworkError, match="unknown host"):
            await poll.tags(bypass.route("reg.internal:5000", "demo/app"))


async def test_behind_a_proxy_addresses_are_judged_by_their_text(proxy: Proxy, make_service: MakeService) -> None:
    variables = {"DD_REGISTRY_CUSTOM_LAB_URL": "http://reg.internal:5000"}
    service = await make_service(variables, http={"proxies": ProxyRules(http=proxy.url)})
    proxy.faults = [Fault("", status=302, headers={"Location": "http://169.254.169.254/latest"})]
    async with service.poll() as poll:
        with pytest.raises(RegistryNetworkError, match="not public"):
            await poll.tags(service.route("reg.internal:5000", "demo/app"))
    assert len(proxy.seen) == 1


async def test_a_redirect_back_home_brings_no_credentials(
    private_registry: RegistryServer, proxies: Proxies, make_service: MakeService, team: str
) -> None:
    front, other = await proxies(private_registry.url), await proxies(None)
    front.faults = [Fault("/tags/list", status=302, headers={"Location": f"{other.url}/x"})]
    other.faults = [Fault("", status=302, headers={"Location": f"{front.url}/v2/team/app/manifests/1"})]
    service = await make_service(custom(front, **ALICE), allow_private_realms=True)
    async with service.poll() as poll:
        with pytest.raises(RegistryAuthFailed):
            await poll.tags(service.route(front.host, "team/app"))
    assert ["Authorization" in seen.headers for seen in front.seen] == [True, False]
    assert other.authorized() == []
