"""What single providers do differently, on their real names (registries.md §3.3, §3.4, §7.3)."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime

import pytest

from drydock.core.errors import RegistryAuthFailed
from drydock.http.addresses import AddressRule
from drydock.registries.ecr import signed_headers, signing_key
from drydock.registries.manifests import Platform
from drydock.registries.poll import Published
from drydock.registries.room import Registries
from lab.ecr import EcrApi
from lab.proxy import Fault, Proxy
from lab.registry import RegistryServer

LOOPBACK = AddressRule(lambda address: address == "127.0.0.1", "address is not public", public_names=True)
MakeService = Callable[..., Awaitable[Registries]]
Proxies = Callable[..., Awaitable[Proxy]]
ServerTls = Callable[..., ssl.SSLContext]
AMD64 = Platform("linux", "amd64")
SHA = "sha256:" + "a" * 64
ECR_HOST = "1234.dkr.ecr.eu-west-1.amazonaws.com"
ECR = {
    "DD_REGISTRY_ECR_MINE_ACCESSKEYID": "AKIDEXAMPLE",
    "DD_REGISTRY_ECR_MINE_SECRETACCESSKEY": "aws-secret",
    "DD_REGISTRY_ECR_MINE_REGION": "eu-west-1",
}


def answer(path: str, document: object, *, status: int = 200, **options: object) -> Fault:
    return Fault(path, status=status, body=json.dumps(document).encode(), **options)  # type: ignore[arg-type]


async def published(service: Registries, host: str, repository: str, tag: str = "1") -> Published | None:
    async with service.poll() as poll:
        return await poll.published_at(service.route(host, repository), tag, SHA)


# dates


async def test_docker_hub_tells_push_dates(proxies: Proxies, server_tls: ServerTls, make_service: MakeService) -> None:
    hub = await proxies(None, ssl=server_tls("hub.docker.com"))
    document = {"last_updated": "2026-01-01T00:00:00Z", "tag_last_pushed": "2026-01-02T00:00:00Z"}
    hub.faults = [answer("^/v2/repositories/library/nginx/tags/1$", document), Fault("", status=404)]
    variables = {"DD_REGISTRY_HUB_MINE_LOGIN": "bob", "DD_REGISTRY_HUB_MINE_TOKEN": "hub-secret"}
    service = await make_service(variables, ports={"hub.docker.com": hub.port})
    for _ in range(3):
        assert await published(service, "docker.io", "nginx") == Published("2026-01-02T00:00:00Z", trusted=True)
        assert await published(service, "docker.io", "nginx", "2") is None
    assert len(hub.seen) == 2, "known dates and known gaps are not asked again"
    assert hub.authorized() == []


async def test_a_failing_date_is_no_error(proxies: Proxies, server_tls: ServerTls, make_service: MakeService) -> None:
    hub = await proxies(None, ssl=server_tls("hub.docker.com"))
    hub.faults = [Fault("", status=500)]
    service = await make_service({}, ports={"hub.docker.com": hub.port})
    assert await published(service, "docker.io", "nginx") is None


GITHUB = {"DD_REGISTRY_GHCR_ME_USERNAME": "u", "DD_REGISTRY_GHCR_ME_TOKEN": "ghp_secret"}


def versions(*tags: str) -> list[object]:
    found = [
        {"updated_at": f"2026-03-0{n + 1}T00:00:00Z", "metadata": {"container": {"tags": [t]}}}
        for n, t in enumerate(tags)
    ]
    return [{"metadata": None}, {"odd": 1}, *found]


async def test_github_tells_push_dates_page_by_page(
    proxies: Proxies, server_tls: ServerTls, make_service: MakeService
) -> None:
    github = await proxies(None, ssl=server_tls("api.github.com"))
    github.faults = [
        Fault("^/orgs/", status=404),
        answer("page=2", versions("x", "1")),
        answer(
            "^/users/acme/packages/container/team%2Fapp/versions",
            versions("y"),
            headers={"Link": '<?page=2>; rel="next"'},
        ),
    ]
    service = await make_service(GITHUB, ports={"api.github.com": github.port})
    assert await published(service, "ghcr.io", "acme/team/app") == Published("2026-03-02T00:00:00Z", trusted=True)
    assert set(github.authorized()) == {"Bearer ghp_secret"}
    assert github.seen[0].query == "per_page=100"


async def test_github_links_elsewhere_are_not_followed(
    proxies: Proxies, server_tls: ServerTls, make_service: MakeService
) -> None:
    github, trap = await proxies(None, ssl=server_tls("api.github.com")), await proxies(None)
    github.faults = [answer("", versions("y"), headers={"Link": f'<{trap.url}/>; rel="next"'})]
    service = await make_service(GITHUB, ports={"api.github.com": github.port})
    assert await published(service, "ghcr.io", "acme/app") is None
    assert trap.seen == []


async def test_github_is_not_asked_without_a_token(
    proxies: Proxies, server_tls: ServerTls, make_service: MakeService
) -> None:
    github = await proxies(None, ssl=server_tls("api.github.com"))
    service = await make_service({}, ports={"api.github.com": github.port})
    assert await published(service, "ghcr.io", "acme/app") is None
    assert github.seen == []


# Google


async def test_google_lists_tell_digests_and_dates(
    proxies: Proxies, server_tls: ServerTls, make_service: MakeService
) -> None:
    host = "europe-west1-docker.pkg.dev"
    google = await proxies(None, ssl=server_tls(host))
    entry = {"tag": ["1", "latest"], "timeUploadedMs": "1772496000000", "timeCreatedMs": "1"}
    google.faults = [answer("/tags/list", {"tags": ["1", "latest"], "manifest": {SHA: entry, "bad": 1}})]
    service = await make_service({}, ports={host: google.port})
    route = service.route(host, "acme/repo/app")
    async with service.poll() as poll:
        assert await poll.head_digest(route, "latest") == SHA
        assert (await poll.tags(route)).names == ("1", "latest")
        assert await poll.published_at(route, "1", SHA) == Published("2026-03-03T00:00:00.000Z", trusted=True)
    assert [(seen.kind, seen.query) for seen in google.seen] == [("tags", "")]


# ECR


@pytest.fixture
async def ecr_api(server_tls: ServerTls) -> AsyncIterator[EcrApi]:
    api = await EcrApi().start(ssl=server_tls("api.ecr.eu-west-1.amazonaws.com"))
    yield api
    await api.stop()


@pytest.fixture
async def ecr(registry: RegistryServer, proxies: Proxies, server_tls: ServerTls) -> Proxy:
    return await proxies(registry.url, ssl=server_tls(ECR_HOST, "public.ecr.aws"))


def ecr_ports(api: EcrApi, front: Proxy) -> dict[str, int]:
    return {"api.ecr.eu-west-1.amazonaws.com": api.port, ECR_HOST: front.port, "public.ecr.aws": front.port}


async def test_private_ecr(ecr_api: EcrApi, ecr: Proxy, pushed: Mapping[str, str], make_service: MakeService) -> None:
    service = await make_service(ECR, ports=ecr_ports(ecr_api, ecr))
    async with service.poll() as poll:
        route = service.route(ECR_HOST, "demo/app")
        await poll.tags(route)
        await poll.head_digest(route, "latest")
    pull = await service.pull_auth(ECR_HOST, "demo/app")
    assert pull is not None
    assert (pull.username, pull.password.reveal()) == ("AWS", "ecr-password")
    assert set(ecr.authorized()) == {"Basic " + base64.b64encode(b"AWS:ecr-password").decode()}
    assert len(ecr_api.asked) == 1
    assert ecr_api.asked[0]["x-amz-target"].endswith(".GetAuthorizationToken")
    assert "aws-secret" not in json.dumps(ecr_api.asked)


async def test_an_ecr_token_is_renewed_before_it_expires(
    ecr_api: EcrApi, ecr: Proxy, make_service: MakeService, clock: object
) -> None:
    service = await make_service(ECR, ports=ecr_ports(ecr_api, ecr))
    await service.pull_auth(ECR_HOST, "demo/app")
    clock.advance(12 * 3600 - 240)
    await service.pull_auth(ECR_HOST, "demo/app")
    assert len(ecr_api.asked) == 2


async def test_an_emulators_date_in_the_past(ecr_api: EcrApi, ecr: Proxy, make_service: MakeService) -> None:
    ecr_api.expires_in = -300_000_000
    service = await make_service(ECR, ports=ecr_ports(ecr_api, ecr))
    for _ in range(3):
        await service.pull_auth(ECR_HOST, "demo/app")
    assert len(ecr_api.asked) == 1


@pytest.mark.parametrize(
    ("token", "error", "message"),
    [
        ("", None, "ECR authorization token is missing"),
        (base64.b64encode(b"nocolon").decode(), None, "ECR authorization token is malformed"),
        (
            None,
            ("UnrecognizedClientException", "The security token is invalid."),
            "UnrecognizedClientException The security",
        ),
    ],
)
async def test_ecr_errors(
    ecr_api: EcrApi,
    ecr: Proxy,
    make_service: MakeService,
    token: str | None,
    error: tuple[str, str] | None,
    message: str,
) -> None:
    ecr_api.token, ecr_api.error = token, error
    service = await make_service(ECR, ports=ecr_ports(ecr_api, ecr))
    with pytest.raises(RegistryAuthFailed, match=message):
        await service.pull_auth(ECR_HOST, "demo/app")


async def test_the_public_gallery_never_sees_the_private_token(
    ecr_api: EcrApi, ecr: Proxy, pushed: Mapping[str, str], make_service: MakeService
) -> None:
    ecr.faults = [answer("^/token/", {"token": "gallery"})]
    service = await make_service(ECR, ports=ecr_ports(ecr_api, ecr))
    async with service.poll() as poll:
        for repository in ("demo/app", "demo/multi"):
            await poll.tags(service.route("public.ecr.aws", repository))
    assert await service.pull_auth("public.ecr.aws", "demo/app") is None
    assert set(ecr.authorized()) == {"Bearer gallery"}
    assert [seen.query for seen in ecr.seen if seen.path == "/token/"] == [""]
    assert ecr_api.asked == []


def test_signature_version_4() -> None:
    """The derived key of the AWS documentation's example, and the form of the header."""
    key = signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830", "us-east-1", "iam")
    assert key.hex() == "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    headers = signed_headers("api.ecr.eu-west-1.amazonaws.com", "eu-west-1", "AKID", "secret", b"{}", now)
    assert headers["x-amz-date"] == "20260102T030405Z"
    assert headers["Authorization"].startswith(
        "AWS4-HMAC-SHA256 Credential=AKID/20260102/eu-west-1/ecr/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature="
    )


# redirected registries


async def test_a_registry_that_redirects_to_another_with_its_own_tokens(
    registry: RegistryServer,
    pushed: Mapping[str, str],
    proxies: Proxies,
    server_tls: ServerTls,
    make_service: MakeService,
) -> None:
    """As registry.k8s.io: the other registry is asked anonymously, with its own token."""
    front, back = (
        await proxies(None, ssl=server_tls("front.example")),
        await proxies(registry.url, ssl=server_tls("back.example")),
    )
    front.faults = [
        Fault(f"^/v2/demo/app/{rest}", status=307, headers={"Location": f"https://back.example/v2/demo/app/{rest}"})
        for rest in ("tags/list", "manifests/latest")
    ]
    challenge = {"WWW-Authenticate": 'Bearer realm="https://back.example/token",service="back"'}
    back.faults = [answer("^/token", {"token": "anonymous-token"}), Fault("", status=401, headers=challenge, times=1)]
    ports = {"front.example": front.port, "back.example": back.port}
    service = await make_service({}, ports=ports, engine={"rule": LOOPBACK})
    async with service.poll() as poll:
        route = service.route("front.example", "demo/app")
        assert len((await poll.tags(route)).names) == 3
        assert await poll.head_digest(route, "latest") == pushed["demo/app"]
    assert front.authorized() == []
    assert set(back.authorized()) == {"Bearer anonymous-token"}
    assert [seen.kind for seen in back.seen] == ["tags", "token", "tags", "head"]


async def test_lscr_may_redirect_to_ghcr_with_its_token(
    registry: RegistryServer,
    pushed: Mapping[str, str],
    proxies: Proxies,
    server_tls: ServerTls,
    make_service: MakeService,
) -> None:
    front, back = await proxies(None, ssl=server_tls("lscr.io")), await proxies(registry.url, ssl=server_tls("ghcr.io"))
    front.faults = [Fault("", status=307, headers={"Location": "https://ghcr.io/v2/demo/app/tags/list"})]
    back.faults = [answer("^/token", {"token": "shared"})]
    service = await make_service({}, ports={"lscr.io": front.port, "ghcr.io": back.port})
    async with service.poll() as poll:
        await poll.tags(service.route("lscr.io", "demo/app"))
    assert set(front.authorized()) | set(back.authorized()) == {"Bearer shared"}
