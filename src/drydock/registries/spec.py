"""The providers: one row each (registries.md §3), in the order of the explicit list `PROVIDERS`.

A row says which keys a type takes, which hosts it claims, how it signs in, how it pages and where its dates come from.
What cannot be a column is code in `strategies/`. Nothing here does I/O.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from drydock.registries import options

PULL_SCOPE = "repository:{name}:pull"


@dataclass(frozen=True)
class Pace:
    """Start values of one host's limiter: requests a second, burst, requests at a time."""

    rate: float
    burst: int
    concurrency: int


PUBLIC = Pace(5, 10, 4)
PRIVATE = Pace(500, 500, 16)
"""A self-hosted registry is limited by concurrency only, until it answers 429."""
DOCKER = Pace(2, 10, 4)
GITHUB_PACKAGES = Pace(2, 10, 2)

HOST_PACE = {
    "ghcr.io": GITHUB_PACKAGES,
    "pkg-containers.githubusercontent.com": GITHUB_PACKAGES,
    "docker.io": DOCKER,
    "auth.docker.io": DOCKER,
    "production.cloudflare.docker.com": DOCKER,
    "api.github.com": Pace(1, 3, 1),
}

DateSource = Literal["image", "hub", "github"]


@dataclass(frozen=True)
class Provider:
    """One registry type.

    `hosts`: patterns of the whole canonical host; empty = the authority of the configured URL. `base`: API base with
    `{host}`; empty = `{url}/v2`. `token_url`: where a token is fetched before the first request (`token_for` says for
    whom); without it the challenge decides. `realms`: patterns of foreign token hosts that may see the credentials,
    `{region}` is the image host's region. `relatives`: hosts between which a redirect keeps the Authorization
    header. `page_size`: tags requested per page, None = the server decides. `lists_digests`: the tag list has digests.
    """

    type: str
    shape: options.Shape
    credentials: options.Rule = options.none
    hosts: tuple[str, ...] = ()
    base: str = ""
    url: str | None = None
    authurl: str | None = None
    basic: bool = False
    token_url: str | None = None
    token_for: Literal["all", "credentialed"] = "all"
    service: str | None = None
    scope: str = PULL_SCOPE
    shared_token: bool = False
    realms: tuple[str, ...] = ()
    relatives: frozenset[str] = field(default_factory=frozenset)
    seed: bool = False
    page_size: int | None = 1000
    lists_digests: bool = False
    dates: DateSource = "image"
    pace: Pace = PUBLIC


def _host(name: str) -> tuple[str, ...]:
    escaped = name.replace(".", r"\.")
    return (rf"(?:[a-z0-9-]+\.)*{escaped}",)


def _self_hosted(type_: str) -> Provider:
    return Provider(
        type=type_, shape=options.SELF_HOSTED, credentials=options.login, basic=True, base="{url}/v2", pace=PRIVATE
    )


HTTPS_BASE = "https://{host}/v2"
_GHCR_FAMILY = frozenset({"ghcr.io", "lscr.io"})

PROVIDERS: tuple[Provider, ...] = (
    Provider(
        type="hub",
        shape=options.TOKEN,
        credentials=options.docker,
        hosts=_host("docker.io"),
        base="https://registry-1.docker.io/v2",
        token_url="https://auth.docker.io/token",
        service="registry.docker.io",
        realms=(r"auth\.docker\.io", r"dhi\.io"),
        seed=True,
        page_size=None,
        dates="hub",
        pace=DOCKER,
    ),
    Provider(
        type="dhi",
        shape=options.TOKEN,
        credentials=options.docker,
        hosts=_host("dhi.io"),
        base="https://dhi.io/v2",
        token_url="https://dhi.io/token",
        service="registry.docker.io",
        realms=(r"auth\.docker\.io", r"dhi\.io"),
        seed=True,
    ),
    Provider(
        type="ghcr",
        shape=options.USER_TOKEN,
        credentials=options.user_token,
        hosts=_host("ghcr.io"),
        base=HTTPS_BASE,
        token_url="https://ghcr.io/token",
        service="ghcr.io",
        shared_token=True,
        realms=(r"ghcr\.io",),
        relatives=_GHCR_FAMILY,
        seed=True,
        dates="github",
        pace=GITHUB_PACKAGES,
    ),
    Provider(
        type="lscr",
        shape=options.USER_TOKEN,
        credentials=options.user_token,
        hosts=_host("lscr.io"),
        base="https://lscr.io/v2",
        token_url="https://ghcr.io/token",
        service="ghcr.io",
        shared_token=True,
        realms=(r"ghcr\.io",),
        relatives=_GHCR_FAMILY,
        seed=True,
        dates="github",
        pace=GITHUB_PACKAGES,
    ),
    Provider(
        type="ecr",
        shape=options.ECR,
        hosts=(
            r"[a-z0-9-]+\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?",
            r"[a-z0-9-]+\.dkr-ecr\.[a-z0-9-]+\.on\.aws",
            r"public\.ecr\.aws",
        ),
        base=HTTPS_BASE,
        seed=True,
    ),
    Provider(
        type="quay",
        shape=options.QUAY,
        credentials=options.quay,
        hosts=_host("quay.io"),
        base=HTTPS_BASE,
        token_url="https://quay.io/v2/auth",
        token_for="credentialed",
        service="quay.io",
        realms=(r"quay\.io",),
        seed=True,
    ),
    Provider(
        type="gitlab",
        shape=options.GITLAB,
        credentials=options.gitlab,
        base="{url}/v2",
        url="https://registry.gitlab.com",
        authurl="https://gitlab.com",
        token_url="{authurl}/jwt/auth",
        service="container_registry",
    ),
    _self_hosted("gitea"),
    _self_hosted("forgejo"),
    Provider(
        type="codeberg",
        shape=options.BASIC,
        credentials=options.login,
        hosts=(r"codeberg\.org",),
        base="https://codeberg.org/v2",
        basic=True,
        seed=True,
    ),
    _self_hosted("harbor"),
    _self_hosted("nexus"),
    _self_hosted("artifactory"),
    _self_hosted("custom"),
    Provider(
        type="acr",
        shape=options.ACR,
        credentials=options.acr,
        hosts=(r"(?:[a-z0-9-]+\.)+azurecr\.(?:io|cn|us)",),
        base=HTTPS_BASE,
        basic=True,
    ),
    Provider(
        type="alicr",
        shape=options.BASIC,
        credentials=options.login,
        hosts=(
            r"registry(?:-intl)?\.[a-z0-9-]+\.aliyuncs\.com",
            r"(?:[a-z0-9-]+\.)*cr\.aliyuncs\.com(?:\.cn)?",
        ),
        base=HTTPS_BASE,
        basic=True,
        realms=(r"dockerauth[a-z0-9-]*\.{region}\.aliyuncs\.com",),
        seed=True,
    ),
    Provider(
        type="docr",
        shape=options.DOCR,
        credentials=options.docr,
        hosts=_host("registry.digitalocean.com"),
        base="https://registry.digitalocean.com/v2",
        basic=True,
        realms=(r"api\.digitalocean\.com",),
        seed=True,
    ),
    Provider(
        type="gar",
        shape=options.GOOGLE,
        credentials=options.google,
        hosts=(r"[a-z0-9-]+-docker\.pkg\.dev",),
        base=HTTPS_BASE,
        token_url="https://{host}/v2/token",
        token_for="credentialed",
        service="{host}",
        seed=True,
        page_size=None,
        lists_digests=True,
    ),
    Provider(
        type="gcr",
        shape=options.GOOGLE,
        credentials=options.google,
        hosts=_host("gcr.io"),
        base=HTTPS_BASE,
        token_url="https://gcr.io/v2/token",
        token_for="credentialed",
        realms=(r"gcr\.io",),
        seed=True,
        page_size=None,
        lists_digests=True,
    ),
    Provider(
        type="ibmcr",
        shape=options.IBMCR,
        credentials=options.ibm,
        hosts=_host("icr.io"),
        base=HTTPS_BASE,
        basic=True,
        seed=True,
    ),
    Provider(
        type="mau",
        shape=options.MAU,
        credentials=options.gitlab,
        hosts=_host("dock.mau.dev"),
        base=HTTPS_BASE,
        url="https://dock.mau.dev",
        authurl="https://dock.mau.dev",
        token_url="{authurl}/jwt/auth",
        service="container_registry",
        seed=True,
    ),
    Provider(
        type="ocir",
        shape=options.BASIC,
        credentials=options.login,
        hosts=_host("ocir.io"),
        base=HTTPS_BASE,
        basic=True,
        seed=True,
    ),
    Provider(
        type="trueforge",
        shape=options.USER_TOKEN,
        credentials=options.user_token,
        hosts=_host("oci.trueforge.org"),
        base=HTTPS_BASE,
        realms=(r"quay\.io", r"ghcr\.io"),
        seed=True,
    ),
)

AUTO = Provider(type="auto", shape=options.Shape(), base=HTTPS_BASE)
"""Serves hosts that no instance claims, anonymously and by challenge only (§3.5). Not configurable."""

BY_TYPE = {provider.type: provider for provider in (*PROVIDERS, AUTO)}
TYPES = tuple(sorted(provider.type for provider in PROVIDERS))
